//! Those who want something else: they are in nobody's way.

use std::time::{Duration, Instant};

use botfarm_core::{BotFarm, Ending, Env, LeaseRequest, NewBot, ProjectId, Selector};
use postgres_lab::{Point, Proxy};
use sqlx::{AssertSqlSafe, Connection};
use tokio::task::JoinSet;

use crate::ground::{Ground, LONG, holder, in_time, labels, statement};

/// By id, by login, by a sticky key, and several at once: one statement, also while others wait for what does not fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_of_what_nobody_waits_for_takes_one_statement() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    let bots = ground.bots(&other, 3).await;
    let elsewhere = NewBot { env: Env::PREPROD, project: ProjectId::new(), ..ground.new_bot("elsewhere") };
    let elsewhere = other.create(elsewhere).await.unwrap();
    let admin = NewBot { labels: labels("role", "admin"), ..ground.new_bot("admin") };
    let admin = other.create(admin).await.unwrap();
    let mut waiters = JoinSet::new();
    for bot in [&elsewhere, &admin] {
        other.acquire(LeaseRequest::new(holder("holder"), Selector::bot(bot.id))).await.unwrap();
        let selector = Selector::any().project(bot.project.clone()).labels(bot.labels.clone());
        let (other, request) = (other.clone(), LeaseRequest::new(holder("stranger"), selector).wait(LONG));
        waiters.spawn(async move { other.acquire(request).await });
    }
    ground.until_waiting(2).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let login = Selector::any().login(bots[1].login.clone());
    for (name, selectors, sticky) in [
        ("any", vec![ground.any()], false),
        ("id", vec![Selector::bot(bots[0].id)], false),
        ("login", vec![login.clone()], false),
        ("sticky", vec![ground.any()], true),
        ("pair", vec![ground.any(), ground.any()], false),
        ("pair by name", vec![login, Selector::bot(bots[0].id)], true),
    ] {
        let mut request = LeaseRequest::many(holder(name), selectors);
        request.sticky = sticky.then(|| "key".parse().unwrap());
        let carried_out = async || {
            let statements = proxy.statements();
            statements
                .iter()
                .filter(|it| {
                    it.contains("select botfarm_")
                        || it.contains("from botfarm_acquire(")
                        || it.contains(statement::MATCH)
                })
                .count()
        };
        let before = carried_out().await;
        let lease = farm.acquire(request).await.unwrap();
        assert_eq!(carried_out().await - before, 1, "{name}");
        // At another process: a stranger may have waited for what comes free.
        other.release(lease.id, Ending::clean()).await.unwrap();
    }
    ground.until_waiting(2).await;
}

/// A request that does not wait has no say in what others get, while it looks and when it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_does_not_wait_keeps_no_bot_from_others() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    let bots = ground.bots(&other, 3).await;
    other.acquire(LeaseRequest::new(holder("holder"), Selector::bot(bots[0].id))).await.unwrap();
    // Somebody waits for that one, and for another that is free: it is kept for him, and makes the others queue up.
    let pair = LeaseRequest::many(holder("parked"), [Selector::bot(bots[0].id), Selector::bot(bots[1].id)]).wait(LONG);
    tokio::spawn({
        let other = other.clone();
        async move { other.acquire(pair).await }
    });
    ground.until_waiting(1).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    // Two are free. It may have the one that is not kept, but wants both.
    let stands = proxy.stop_at(Point::Reply, statement::ACQUIRE);
    let tries = tokio::spawn({
        let request = LeaseRequest::many(holder("in no hurry"), [ground.any(), ground.any()]);
        async move { farm.acquire(request).await }
    });
    in_time("it stands in the queue", stands.reached()).await;
    let lease = other.acquire(LeaseRequest::new(holder("next"), Selector::bot(bots[2].id))).await;
    let lease = lease.expect("nobody holds it, and nobody waits for it");
    stands.resume();
    assert_eq!(crate::ground::refusal(in_time("it is refused", tries).await.unwrap()), "exhausted");
    other.release(lease.id, Ending::clean()).await.unwrap();
    // Nor is anything kept for one that is not answered to the end.
    other.acquire(LeaseRequest::new(holder("next"), Selector::bot(bots[2].id))).await.unwrap();
    ground.until_waiting(1).await;
}

/// The row of one bot is locked, by an import for instance: the others are had, one or several at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_bot_hides_no_other() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 4).await;
    let mut session = ground.connection().await;
    let mut transaction = session.begin().await.unwrap();
    // The one that would be taken first.
    let locked = format!("select from bot_slots where bot_id = '{}' for update", bots[0].id);
    sqlx::query(AssertSqlSafe(locked)).execute(&mut *transaction).await.unwrap();
    for count in 1..=3 {
        let request = LeaseRequest::many(holder("passes it by"), vec![ground.any(); count]);
        let asked = Instant::now();
        let lease = in_time("it is not waited for", farm.acquire(request)).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert!(lease.bots.iter().all(|leased| leased.bot.id != bots[0].id));
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    transaction.rollback().await.unwrap();
    let all = farm.acquire(LeaseRequest::many(holder("all"), vec![ground.any(); 4])).await.unwrap();
    assert_eq!(all.bots.len(), 4);
}

/// 1,500 wait in one project, and one of its bots is given back again and again: to lease in another takes one statement, as if
/// nobody waited, and none of the crowd is asked about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd_of_one_project_is_in_nobody_s_way_in_another() {
    const CROWD: usize = 1_500;
    let ground = Ground::new().await;
    let crowded = ground.farm().await;
    ground.bot(&crowded).await;
    let elsewhere = ProjectId::new();
    for name in ["here", "there"] {
        crowded.create(NewBot { project: elsewhere.clone(), ..ground.new_bot(name) }).await.unwrap();
    }
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let pairs = async || {
        let (selector, mut took) = (Selector::any().project(elsewhere.clone()), Vec::new());
        for _ in 0..200 {
            let since = Instant::now();
            let lease = farm.acquire(LeaseRequest::new(holder("stranger"), selector.clone())).await.unwrap();
            took.push(since.elapsed());
            farm.release(lease.id, Ending::clean()).await.unwrap();
        }
        took.sort_unstable();
        took[took.len() / 2]
    };
    let idle = pairs().await;

    let held = crowded.acquire(ground.ask("holder")).await.unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (crowded, request) = (crowded.clone(), ground.ask("crowd").wait(LONG));
        crowd.spawn(async move { crowded.acquire(request).await });
    }
    ground.until_waiting(i64::try_from(CROWD).unwrap()).await;
    let asked = |of: &str| proxy.statements().iter().filter(|it| it.contains(of)).count();
    let before = [statement::ACQUIRE, statement::MATCH].map(asked);
    let parked = pairs().await;
    let after = [statement::ACQUIRE, statement::MATCH].map(asked);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [200, 0], "one statement each, and no pass over a queue");
    ground.until_waiting(i64::try_from(CROWD).unwrap()).await;

    // Now the crowd is served, one after the other, meanwhile.
    crowded.release(held.id, Ending::clean()).await.unwrap();
    let served = tokio::spawn({
        let crowded = crowded.clone();
        async move {
            for _ in 0..50 {
                let lease = crowd.join_next().await.unwrap().unwrap().unwrap();
                crowded.release(lease.id, Ending::clean()).await.unwrap();
            }
        }
    });
    let busy = pairs().await;
    assert_eq!(asked(statement::ACQUIRE) - after[0], 200, "nor while the crowd is served");
    in_time("the crowd is served", served).await.unwrap();
    println!(
        "a lease takes {idle:?}, while {CROWD} wait in another project {parked:?}, while they are served {busy:?}"
    );
}
