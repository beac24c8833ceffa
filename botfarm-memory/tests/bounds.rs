//! What is remembered is bounded, and as much as is promised.

use botfarm_core::{
    BotFarm, BotFarmExt, BotFilter, Cursor, EndReason, Ending, Env, Error, Fence, Labels, LeaseId, LeaseRequest,
    NewBot, PageRequest, ProjectId, Selector,
};
use botfarm_memory::MemoryFarm;

fn bots(count: usize) -> impl Iterator<Item = NewBot> {
    let project = ProjectId::new();
    (0..count).map(move |number| {
        let login = format!("bot-{number}").parse().unwrap();
        NewBot::new(login, "hunter2".try_into().unwrap(), project.clone(), Env::STAGE)
    })
}

fn ask() -> LeaseRequest {
    LeaseRequest::new("somebody".parse().unwrap(), Selector::any())
}

async fn pair(farm: &MemoryFarm) -> LeaseId {
    let lease = farm.acquire(ask()).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    lease.id
}

#[tokio::test]
async fn ended_lease_is_remembered_until_100_000_others_have_ended() {
    let farm = MemoryFarm::with_bots(bots(1)).unwrap();
    let first = pair(&farm).await;
    for _ in 0..99_999 {
        pair(&farm).await;
    }
    let Err(Error::LeaseLost(lost)) = farm.acquire(ask().id(first)).await else { panic!("its id is used up") };
    assert_eq!(lost.reason, EndReason::Released);
    farm.release(first, Ending::clean()).await.unwrap();
    pair(&farm).await;
    assert_eq!(farm.lookup(first).await.unwrap_err().code(), "no-such-lease");
}

#[tokio::test]
async fn lease_is_found_however_many_came_after_it() {
    const BOTS: usize = 1_000;
    let farm = MemoryFarm::with_bots(bots(BOTS)).unwrap();
    let mut leases = Vec::new();
    for _ in 0..BOTS {
        leases.push(farm.acquire(ask()).await.unwrap());
    }
    for lease in &leases {
        let again = farm.acquire(ask().id(lease.id)).await.unwrap();
        assert_eq!((again.bot().bot.id, again.bot().fence), (lease.bot().bot.id, lease.bot().fence));
        let longer = farm.renew(lease.id, Some(lease.ttl * 2)).await.unwrap();
        assert_eq!(longer.ttl, lease.ttl * 2);
    }
    let (odd, even): (Vec<_>, Vec<_>) = leases.iter().enumerate().partition(|(number, _)| number % 2 == 1);
    for (_, lease) in odd {
        farm.release(lease.id, Ending::clean()).await.unwrap();
        assert_eq!(farm.lookup(lease.id).await.unwrap_err().code(), "lease-lost");
    }
    assert_eq!(farm.stats().await.unwrap().pools[0].leased, even.len() as u64);
    for (_, lease) in even {
        assert_eq!(farm.lookup(lease.id).await.unwrap().bot().bot.id, lease.bot().bot.id);
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    assert_eq!(farm.stats().await.unwrap().pools[0].free, BOTS as u64);
}

#[tokio::test]
async fn bots_of_many_labels_are_told_apart() {
    let labelled = bots(3_000).enumerate().map(|(number, bot)| bot.labels(labels(&number.to_string())));
    let farm = MemoryFarm::with_bots(labelled).unwrap();
    for number in [0, 1_023, 1_024, 2_999] {
        let wanted = labels(&number.to_string());
        let request = LeaseRequest::new("somebody".parse().unwrap(), Selector::any().labels(wanted.clone()));
        let lease = farm.acquire(request).await.unwrap();
        assert_eq!((lease.bot().bot.login.as_str(), &lease.bot().bot.labels), (&*format!("bot-{number}"), &wanted));
    }
}

#[tokio::test]
async fn latest_100_hand_outs_are_remembered_and_the_one_in_force() {
    let farm = MemoryFarm::with_bots(bots(1)).unwrap();
    for _ in 0..103 {
        pair(&farm).await;
    }
    let bot = farm.acquire(ask()).await.unwrap().bot().bot.id;
    let page = farm.history(bot, &PageRequest::first(PageRequest::MAX)).await.unwrap();
    let fences: Vec<_> = page.items.iter().map(|record| record.fence.0).collect();
    assert_eq!(fences, (4..=104).rev().collect::<Vec<_>>());
    assert_eq!(page.items.iter().filter(|record| record.end.is_none()).count(), 1);
    let older = PageRequest::first(5).after(Some(Cursor::before_fence(Fence(8))));
    assert_eq!(farm.history(bot, &older).await.unwrap().items.len(), 4);
}

#[tokio::test]
async fn bots_are_listed_in_the_order_of_their_making_a_million_or_not() {
    let farm = MemoryFarm::with_bots(bots(10_000)).unwrap();
    let listed = farm.list_all(&BotFilter::default()).await.unwrap();
    assert!(listed.is_sorted_by(|one, next| one.id < next.id));
    let numbers: Vec<_> = (0..10_000).map(|number| format!("bot-{number}")).collect();
    assert_eq!(listed.iter().map(|bot| bot.login.as_str()).collect::<Vec<_>>(), numbers);
    // A list that goes on from turn to turn, since few pass its filter.
    let last = listed.last().unwrap();
    let changes = botfarm_core::BotChanges { labels: Some(labels("last")), ..Default::default() };
    farm.update(last.id, changes).await.unwrap();
    let filter = BotFilter { labels: labels("last"), ..BotFilter::default() };
    let found = farm.list(&filter, &PageRequest::first(1)).await.unwrap();
    assert_eq!((found.items.len(), found.items[0].id, found.next), (1, last.id, None));
}

fn labels(value: &str) -> Labels {
    Labels::try_from([("k", value)]).unwrap()
}

#[test]
fn farm_of_two_bots_of_one_account_is_refused() {
    let twins = bots(3).map(|bot| NewBot { login: "Ada".parse().unwrap(), ..bot });
    let Err(Error::Invalid { faults }) = MemoryFarm::with_bots(twins) else { panic!("they are one account") };
    assert_eq!(faults.iter().map(|fault| fault.at.to_string()).collect::<Vec<_>>(), ["row 2, login", "row 3, login"]);
}

#[tokio::test]
async fn debug_of_a_farm_shows_counts_alone() {
    let farm = MemoryFarm::with_bots(bots(2)).unwrap();
    farm.acquire(ask()).await.unwrap();
    assert_eq!(format!("{farm:?}"), "MemoryFarm { bots: 2, leases: 1, waiting: 0 }");
}
