//! What grows with use is cleared away, a little at a time.

use botfarm_core::{BotFarm, Ending, LeaseRequest, PageRequest, Selector};

use crate::ground::{Ground, LONG, holder, labels, options, refusal};

/// So much history for a bot, the youngest of it so old.
async fn add_history(ground: &Ground, bot: &str, rows: u32, days: u32) {
    let added = ground
        .run(&format!(
            "insert into history (bot_id, fence, lease_id, terms, leased_at, ended_at, reason)
            select {bot}, n, gen_random_uuid(), '{{\"holder\": \"holder\"}}', at - interval '1 second', at, 'released'
            from generate_series(1, {rows}) n
            cross join lateral (select now() - interval '{days} days' - ({rows} - n) * interval '1 second' as at) a"
        ))
        .await;
    assert_eq!(added, u64::from(rows));
}

/// 90 days by default, and the last hundred of each bot that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_history_goes_and_the_last_hundred_of_each_bot_stay() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 3).await;
    let [busy, calm, young] = [0, 1, 2].map(|index: usize| format!("'{}'", bots[index].id));
    add_history(&ground, &busy, 2_500, 91).await;
    add_history(&ground, &calm, 90, 91).await;
    add_history(&ground, &young, 250, 89).await;
    // Of an account that is gone: its leases stay ended while anybody may ask for them.
    add_history(&ground, "'00000000-0000-4000-8000-000000000001'", 150, 91).await;
    add_history(&ground, "'00000000-0000-4000-8000-000000000002'", 150, 1).await;
    assert_eq!(farm.prune().await.unwrap(), 2_400 + 150);
    for (bot, left, first) in [(&busy, 100, 2_401), (&calm, 90, 1), (&young, 250, 1)] {
        let kept = format!("from history where bot_id = {bot}");
        assert_eq!(ground.value::<i64>(&format!("select count(*) {kept}")).await, left);
        assert_eq!(ground.value::<i64>(&format!("select min(fence) {kept}")).await, first, "the last ones stay");
    }
    assert_eq!(ground.value::<i64>("select count(*) from history").await, 100 + 90 + 250 + 150);
    assert_eq!(farm.prune().await.unwrap(), 0, "there is nothing left to do");
    assert_eq!(farm.history(bots[0].id, &PageRequest::default()).await.unwrap().items[0].fence.0, 2_500);
    // For as long as is asked.
    let short =
        ground.open(options(&ground.database.url()).keep_history(std::time::Duration::from_hours(24 * 30))).await;
    assert_eq!(short.prune().await.unwrap(), 150);
}

/// One step removes no more than it is told to, and the next goes on where it stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_pruned_in_steps_of_bounded_size() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 2).await;
    for bot in &bots {
        add_history(&ground, &format!("'{}'", bot.id), 600, 91).await;
    }
    let step = "select botfarm_prune_history(now() - interval '90 days', 100, 300)";
    let mut removed = Vec::new();
    while let Some(rows) = ground.value::<Option<i32>>(step).await {
        removed.push(rows);
        assert!(removed.len() < 20, "it comes to an end: {removed:?}");
    }
    assert!(removed.iter().all(|rows| *rows <= 300), "{removed:?}");
    assert_eq!(removed.iter().sum::<i32>(), 1_000);
    // A single bot at a time.
    for bot in &bots {
        let gone = format!("delete from history where bot_id = '{}'", bot.id);
        ground.run(&gone).await;
        add_history(&ground, &format!("'{}'", bot.id), 150, 91).await;
    }
    let step = step.replace("100, 300", "1, 300");
    assert_eq!(ground.value::<Option<i32>>(&step).await, Some(50));
    assert_eq!(ground.value::<i64>("select count(*) from history").await, 250);
}

/// Names that once had bots, what was once waited for, and processes that have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_labels_selectors_places_and_processes_without_use_go() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bot = ground.bot(&farm).await;
    let lease = farm.acquire(LeaseRequest::new(holder("holder"), Selector::bot(bot.id))).await.unwrap();
    let waiter = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("waits").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let counts = async || {
        ground
            .value::<Vec<i64>>(
                "select array[
                    (select count(*) from pools), (select count(*) from label_sets), (select count(*) from selectors),
                    (select count(*) from processes), (select count(*) from waiters), (select count(*) from wants),
                    (select count(*) from listeners)
                ]",
            )
            .await
    };
    let before = counts().await;
    assert_eq!(before, [1, 0, 1, 1, 1, 1, 1]);
    for statement in [
        "insert into pools (project, env, domain) select 'gone-' || n, 'stage', 'default' from generate_series(1, 50) n",
        "insert into label_sets (key, labels) select n::text::bytea, array['role:' || n] from generate_series(1, 50) n",
        "insert into processes (id, alive_until)
        select gen_random_uuid(), now() - interval '2 hours' from generate_series(1, 50)",
        // Half of them keep their places for nobody; the others' processes have gone without a word.
        "insert into waiters (lease_id, parked, until, kept_until, avoid, terms, ttl)
        select gen_random_uuid(), true, now() + interval '1 hour', case when n % 2 = 0 then now() - interval '1 second' end,
            '{}', '{}', '1 minute'
        from generate_series(1, 50) n",
        "insert into listeners (lease_id, call, process)
        select w.lease_id, gen_random_uuid(), p.id
        from (select lease_id, row_number() over () from waiters where terms = '{}' and kept_until is null) w
        join (select id, row_number() over () from processes where alive_until < now()) p using (row_number)",
        "insert into selectors (key, project, env, domain, labels, condition)
        select n::text::bytea, 'gone-' || n, '*', '*', '{}', 'ready' from generate_series(1, 50) n",
        "insert into wants (selector_id, ticket, lease_id, ord, size)
        select s.id, w.ticket, w.lease_id, 0, 1
        from (select id, row_number() over () from selectors where project like 'gone-%') s
        join (select ticket, lease_id, row_number() over () from waiters where terms = '{}') w using (row_number)",
    ] {
        assert!(ground.run(statement).await > 0, "{statement}");
    }
    assert_eq!(counts().await, [51, 50, 51, 51, 51, 51, 26]);
    let step = "select botfarm_prune_queue(20, interval '1 hour', interval '1 day')";
    assert!(ground.value::<i32>(step).await <= 5 * 50, "a step is bounded");
    assert!(counts().await.iter().zip(&before).any(|(now, before)| now > before), "and not all is done in one");
    // What waited is gone with the places, and what it waited for after that.
    for _ in 0..2 {
        farm.prune().await.unwrap();
    }
    assert_eq!(counts().await, before, "what is in use stays");
    farm.release(lease.id, Ending::clean()).await.unwrap();
    let lease = crate::ground::in_time("it is served", waiter).await.unwrap().unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    farm.delete(bot.id).await.unwrap();
    farm.prune().await.unwrap();
    assert_eq!(ground.value::<i64>("select count(*) from pools").await, 0);
}

/// A bot comes into a pool, with labels, of which the last was taken away at this moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bot_may_come_while_its_pool_is_cleared_away() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    for round in 0..20 {
        let bot = botfarm_core::NewBot { labels: labels("role", "admin"), ..ground.new_bot(&format!("bot-{round}")) };
        let (pruned, created) = tokio::join!(farm.prune(), farm.create(bot));
        pruned.unwrap();
        let id = created.unwrap().id;
        let lease =
            farm.acquire(LeaseRequest::new(holder("holder"), ground.any().labels(labels("role", "admin")))).await;
        farm.release(lease.unwrap().id, Ending::clean()).await.unwrap();
        farm.delete(id).await.unwrap();
        assert_eq!(refusal(farm.acquire(ground.ask("nobody")).await), "no-match");
    }
}
