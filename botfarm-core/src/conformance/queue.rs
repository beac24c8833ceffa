//! First come, first served among those whom the freed bot fits.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    answers::{no_match, shortage},
    trial::Trial,
    waiter::{LONG, until},
};
use crate::{Bot, BotChanges, Condition, Ending, Labels, LeaseId, NewBot, ProjectId, Selector};

async fn of_kind(trial: &Trial, kind: &str) -> Bot {
    trial.keep(trial.new_bot().labels(Labels::try_from([("kind", kind)]).expect("valid"))).await
}

pub async fn waiters_are_served_first_come_first_served(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let mut waiters = Vec::new();
    for turn in 0..6 {
        // Whoever names the bot stands in the same line.
        let selector = if turn % 2 == 0 { trial.any() } else { trial.named(&bot) };
        waiters.push(trial.park(trial.ask(selector)).await);
    }
    let mut current = lease;
    for waiter in waiters {
        trial.release(&current).await;
        let next = waiter.lease("waiters are served first come first served").await;
        assert!(next.bot().fence > current.bot().fence, "waiters are served in the order in which they came");
        current = next;
    }
    let records = trial.history(bot.id).await;
    assert_eq!(records.len(), 7, "nobody else had the bot in between: {records:?}");
    trial.release(&current).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn waiter_whom_a_bot_does_not_fit_lets_the_next_pass(trial: Trial) {
    let bots = [of_kind(&trial, "a").await, of_kind(&trial, "b").await];
    let [a, b] = [trial.take(trial.named(&bots[0])).await, trial.take(trial.named(&bots[1])).await];
    let kind = |kind| trial.any().labels(Labels::try_from([("kind", kind)]).expect("valid"));
    let first = trial.park(trial.ask(kind("a"))).await;
    let second = trial.park(trial.ask(trial.any())).await;
    let third = trial.park(trial.ask(kind("b"))).await;
    trial.release(&b).await;
    let second = second.lease("of those whom a freed bot fits, the one who came first gets it").await;
    assert!(first.still_waits() && third.still_waits(), "one bot serves one waiter");
    trial.release(&second).await;
    let third = third.lease("who wants what was freed is served, whoever waits for something else").await;
    assert!(first.still_waits(), "a waiter gets nothing that does not fit");
    trial.release(&a).await;
    let first = first.lease("a waiter gets what fits as soon as it is free").await;
    trial.release(&first).await;
    trial.release(&third).await;
    trial.prove_sound(&bots).await;
}

pub async fn nobody_who_asks_passes_a_waiter(trial: Trial) {
    let bot = trial.bot().await;
    for _ in 0..10 {
        let lease = trial.take(trial.any()).await;
        let waiter = trial.park(trial.ask(trial.any())).await;
        let try_once = async |selector: &Selector| {
            if let Ok(lease) = trial.acquire(trial.ask(selector.clone())).await {
                trial.release(&lease).await;
            }
        };
        let selectors = [trial.any(), trial.named(&bot)];
        let barge = join_all((0..4).map(async |turn| {
            for _ in 0..5 {
                try_once(&selectors[turn % 2]).await;
                tokio::task::yield_now().await;
            }
        }));
        let release = async {
            trial.release(&lease).await;
            // Nobody is quicker than who has just given it back.
            try_once(&selectors[0]).await;
        };
        tokio::join!(barge, release);
        let served = waiter.lease("a waiter is served").await;
        let records = trial.history(bot.id).await;
        let held = records.iter().position(|record| record.fence == lease.bot().fence).expect("it stands there");
        assert_eq!(
            records[held - 1].fence,
            served.bot().fence,
            "nobody who asks passes a waiter who wants the same bot"
        );
        trial.release(&served).await;
    }
    trial.prove_sound(&[bot]).await;
}

pub async fn waiter_who_has_gone_blocks_nobody(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let gone = trial.park(trial.ask(trial.any())).await;
    let stays = trial.park(trial.ask(trial.any())).await;
    let last = trial.park(trial.ask(trial.any())).await;
    trial.unpark(gone).await;
    trial.release(&lease).await;
    let served = stays.lease("a waiter who has gone blocks nobody behind it").await;
    trial.unpark(last).await;
    trial.release(&served).await;
    // Nobody is left, though the places of the two who went are kept.
    let served = trial.take(trial.any()).await;
    trial.release(&served).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn waiter_who_goes_as_it_is_served_blocks_nobody(trial: Trial) {
    let bot = trial.bot().await;
    for turn in 0..20 {
        let lease = trial.take(trial.any()).await;
        let request = trial.ask(trial.any());
        let gone = trial.park(request.clone()).await;
        let stays = trial.start(trial.ask(trial.any()));
        let hang_up = async {
            for _ in 0..turn {
                tokio::task::yield_now().await;
            }
            drop(gone.hang_up().await);
        };
        tokio::join!(trial.release(&lease), hang_up);
        let serve = async {
            let served = stays.lease("a waiter who has gone blocks nobody behind it").await;
            trial.release(&served).await;
        };
        tokio::join!(trial.settle(request), serve);
    }
    trial.prove_sound(&[bot]).await;
}

pub async fn place_is_kept_for_a_waiter_who_returns(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let first = trial.ask(trial.any());
    let (gone, second) = (trial.park(first.clone()).await, trial.park(trial.ask(trial.any())).await);
    trial.unpark(gone).await;
    let first = trial.park(first).await;
    trial.release(&lease).await;
    let first = first.lease("who asks again under the same lease id has the place that it had").await;
    assert!(second.still_waits(), "who came later is served later");
    trial.release(&first).await;
    let second = second.lease("waiters are served").await;
    trial.release(&second).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn place_is_kept_for_a_waiter_whose_time_was_up(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let request = trial.ask(trial.any());
    let patience = Duration::from_millis(200);
    let start = Instant::now();
    let told = trial.acquire(request.clone().wait(patience)).await;
    let told = shortage(told, "who waits in vain is told so");
    assert!(start.elapsed() >= patience, "who waits in vain waits for as long as it asked to");
    assert_eq!(told.waiting, 0, "a request does not count itself among those who wait");
    let second = trial.park(trial.ask(trial.any())).await;
    let first = trial.park(request).await;
    trial.release(&lease).await;
    let first = first.lease("who asks again under the same lease id has the place that it had").await;
    assert!(second.still_waits(), "who came later is served later");
    trial.release(&first).await;
    trial.release(&second.lease("waiters are served").await).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn new_bot_serves_a_waiter(trial: Trial) {
    let old = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let waiter = trial.park(trial.ask(trial.any())).await;
    let new = trial.bot().await;
    let served = waiter.lease("a new bot serves who waits for one").await;
    assert_eq!(served.bot().bot.id, new.id, "a new bot serves who waits for one");
    trial.release(&served).await;
    trial.release(&lease).await;
    trial.prove_sound(&[old, new]).await;
}

pub async fn update_serves_the_waiters(trial: Trial) {
    let labels = Labels::try_from([("kind", "wanted")]).expect("valid");
    let [held, dirty, other] = trial.bots().await;
    let elsewhere = trial.keep(NewBot { project: ProjectId::new(), ..trial.new_bot() }).await;
    let relabel = BotChanges { labels: Some(labels.clone()), ..BotChanges::default() };
    trial.farm().update(held.id, relabel.clone()).await.expect("a free bot may change");
    let spoil = BotChanges { condition: Some(Condition::Dirty), ..BotChanges::default() };
    trial.farm().update(dirty.id, spoil).await.expect("a free bot may change");
    let lease = trial.take(trial.any().labels(labels.clone())).await;
    let taken = trial.take(trial.any()).await;
    assert_eq!(taken.bot().bot.id, other.id, "a bot made dirty is not granted as ready");
    trial.release(&taken).await;

    let waiter = trial.park(trial.ask(trial.any().labels(labels))).await;
    trial.farm().update(other.id, relabel).await.expect("a free bot may change");
    let relabelled = waiter.lease("a bot that fits since it was changed serves who waits for it").await;
    assert_eq!(relabelled.bot().bot.id, other.id, "it is the one that was changed");

    let waiter = trial.park(trial.ask(trial.any())).await;
    let mend = BotChanges { condition: Some(Condition::Ready), ..BotChanges::default() };
    trial.farm().update(dirty.id, mend).await.expect("a free bot may change");
    let mended = waiter.lease("a bot made ready serves who waits for one").await;

    let waiter = trial.park(trial.ask(trial.any())).await;
    let moved = BotChanges { project: Some(trial.project()), ..BotChanges::default() };
    trial.farm().update(elsewhere.id, moved).await.expect("a free bot may change");
    let moved = waiter.lease("a bot that has moved here serves who waits for one").await;
    assert_eq!(moved.bot().bot.id, elsewhere.id, "it is the one that has moved");
    for lease in [lease, relabelled, mended, moved] {
        trial.release(&lease).await;
    }
    trial.prove_sound(&[held, dirty, other, elsewhere]).await;
}

pub async fn deletion_frees_what_an_impossible_set_was_waiting_with(trial: Trial) {
    let [held, free, dirty] = trial.bots().await;
    let spoil = BotChanges { condition: Some(Condition::Dirty), ..BotChanges::default() };
    trial.farm().update(dirty.id, spoil).await.expect("a free bot may change");
    let lease = trial.take(trial.named(&held)).await;
    let set = trial.park(trial.ask_many([trial.named(&free), trial.named(&dirty)])).await;
    let single = trial.start(trial.ask(trial.named(&free)));
    until("a request waits or is served", async || !single.still_waits() || trial.waiting().await == 2).await;
    trial.farm().delete(dirty.id).await.expect("a free bot may be deleted");
    let served = single.lease("a deletion serves the waiters: nothing is kept for a set that can never be").await;
    drop(set.hang_up().await);
    trial.release(&served).await;
    trial.release(&lease).await;
    trial.prove_sound(&[held, free]).await;
}

pub async fn waiter_whose_bots_have_gone_is_refused(trial: Trial) {
    let [held, dirty] = trial.bots().await;
    let lease = trial.take(trial.named(&dirty)).await;
    trial.end(&lease, Ending::dirty()).await;
    let lease = trial.take(trial.named(&held)).await;
    let waiter = trial.park(trial.ask_many([trial.any(), trial.any()])).await;
    trial.farm().delete(dirty.id).await.expect("a free bot may be deleted");
    let promise = "a request that no bots could satisfy any more is refused, not waited for";
    assert_eq!(no_match(waiter.answer(promise).await, promise), 1, "the error names what cannot be had");
    trial.release(&lease).await;
    trial.prove_sound(&[held]).await;
}

pub async fn try_once_does_not_join_the_queue(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    for _ in 0..3 {
        let told = shortage(trial.acquire(trial.ask(trial.any())).await, "it is leased");
        assert_eq!(told.waiting, 0, "who tries once does not wait");
    }
    trial.release(&lease).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn shortage_and_stats_count_who_waits(trial: Trial) {
    let bots = [of_kind(&trial, "a").await, of_kind(&trial, "b").await];
    let kind = |kind| trial.any().labels(Labels::try_from([("kind", kind)]).expect("valid"));
    let leases = [trial.take(kind("a")).await, trial.take(kind("b")).await];
    let waiters = [trial.park(trial.ask(kind("a"))).await, trial.park(trial.ask_many([kind("b"), kind("a")])).await];
    let [a, b] = [kind("a"), kind("b")].map(|selector| trial.acquire(trial.ask(selector)));
    let promise = "a shortage counts the requests that wait for the same bots";
    assert_eq!(shortage(a.await, promise).waiting, 2, "{promise}");
    assert_eq!(shortage(b.await, promise).waiting, 1, "{promise}");
    let all = trial.farm().stats().await.expect("a farm counts its queue").waiting;
    assert!(all >= 2, "the farm's queue has all requests that wait: {all}");
    for waiter in waiters {
        trial.unpark(waiter).await;
    }
    until("those who have gone are counted no longer", async || trial.waiting().await == 0).await;
    for lease in leases {
        trial.release(&lease).await;
    }
    trial.prove_sound(&bots).await;
}

pub async fn waiters_of_many_pools_are_all_served(trial: Trial) {
    let mut bots = Vec::new();
    for n in 0..5 {
        bots.push(of_kind(&trial, &n.to_string()).await);
    }
    let kind = |n: usize| trial.any().labels(Labels::try_from([("kind", n.to_string().as_str())]).expect("valid"));
    let turns = (0..20).map(async |n| {
        let request = trial.ask(kind(n % 5)).id(LeaseId::new()).wait(LONG);
        let lease = trial.start(request).lease("everybody who waits is served").await;
        assert_eq!(lease.bot().bot.id, bots[n % 5].id, "everybody gets what fits");
        trial.release(&lease).await;
    });
    join_all(turns).await;
    trial.prove_sound(&bots).await;
}
