//! The future of a call is dropped, at every point where it waits.

use std::{pin::pin, task::Poll, time::Duration};

use super::{
    answers::refused,
    trial::{Trial, text},
    waiter::{LONG, until},
};
use crate::{
    Bot, BotChanges, BotFilter, BotRelease, BotState, Condition, Domain, Ending, Error, Labels, LeaseRequest, NewBot,
    PageRequest, Result, Revocation,
};

/// Polls `call` at most `polls` times, whenever it is woken, and then drops it.
pub(super) async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    std::future::poll_fn(move |context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops calls after 1, 2, 3, … polls, until one comes to its end.
pub(super) async fn at_every_await<T>(mut call: impl AsyncFnMut(usize) -> Option<T>) {
    for polls in 1..1_000 {
        if call(polls).await.is_some() {
            return;
        }
    }
    panic!("a call comes to its end");
}

async fn try_acquires(trial: &Trial, bots: &[Bot], request: impl Fn() -> LeaseRequest) {
    at_every_await(async |polls| {
        let request = request();
        let answer = dropped_after(polls, trial.acquire(request.clone())).await;
        trial.settle(request).await;
        trial.prove_sound(bots).await;
        answer
    })
    .await;
}

pub async fn dropped_acquire_can_be_had_by_its_id_or_is_gone(trial: Trial) {
    let bots = trial.bots::<2>().await;
    try_acquires(&trial, &bots, || trial.ask(trial.any())).await;
    try_acquires(&trial, &bots, || trial.ask(trial.named(&bots[0]))).await;
    try_acquires(&trial, &bots, || trial.ask_many([trial.any(), trial.any()]).wait(LONG)).await;
}

pub async fn dropped_waiter_can_be_had_by_its_id_or_is_gone(trial: Trial) {
    let bots = trial.bots::<2>().await;
    for wanted in [1, 2] {
        at_every_await(async |polls| {
            let held = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
            let request = trial.ask_many(vec![trial.any(); wanted]);
            let farm = trial.farm();
            let release = tokio::spawn(async move {
                // The waiter is parked by then, or not: either must do.
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                farm.release(held.id, Ending::clean()).await
            });
            let answer = dropped_after(polls, trial.acquire(request.clone().wait(LONG))).await;
            release.await.expect("no release panics").expect("a lease in force is released");
            trial.settle(request).await;
            trial.prove_sound(&bots).await;
            answer
        })
        .await;
    }
}

pub async fn dropped_renewal_is_done_or_not(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    at_every_await(async |polls| {
        let ttl = Duration::from_secs(100 + u64::try_from(polls).expect("few"));
        let answer = dropped_after(polls, trial.renew(&lease, Some(ttl))).await;
        let seen = trial.lookup(&lease).await.expect("a lease outlives a renewal that was given up");
        let lives = trial.look(&bot).await.holding.expect("it is held").expires_at;
        assert!(lives >= seen.expires_at, "a renewal is done whole or not at all");
        answer
    })
    .await;
    trial.release(&lease).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn dropped_release_is_done_or_not(trial: Trial) {
    let bots = trial.bots::<2>().await;
    for by_bot in [false, true] {
        at_every_await(async |polls| {
            let lease = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
            let call = async {
                if by_bot {
                    let release = BotRelease { lease: Some(lease.id), ..BotRelease::default() };
                    trial.farm().release_bot(bots[0].id, release).await
                } else {
                    trial.farm().release(lease.id, Ending::clean()).await
                }
            };
            let answer = dropped_after(polls, call).await;
            trial.farm().release(lease.id, Ending::clean()).await.expect("a release may be repeated");
            trial.prove_sound(&bots).await;
            answer
        })
        .await;
    }
}

pub async fn dropped_revocation_is_done_or_not(trial: Trial) {
    at_every_await(async |polls| {
        let bots = trial.bots::<2>().await;
        let lease = trial.acquire(trial.ask_many(bots.iter().map(|bot| trial.named(bot)))).await.expect("free");
        let revocation = Revocation::new(text("given up"), trial.holder());
        let answer = dropped_after(polls, trial.farm().revoke(bots[1].id, revocation)).await;
        match trial.farm().release(lease.id, Ending::clean()).await {
            Ok(()) => {}
            done => drop(refused(done, "lease-lost", "a revocation is done whole or not at all")),
        }
        for bot in &bots {
            assert_eq!(trial.look(bot).await.holding, None, "a lease ends with all its bots");
        }
        // One that is still under way finds a bot that is free, or ends the lease of the proof: wait until it is over.
        until("bots of an ended lease can be leased", async || {
            let again = trial.acquire(trial.ask_many(bots.iter().map(|bot| trial.named(bot)))).await;
            if let Ok(again) = &again {
                let _ = trial.farm().release(again.id, Ending::clean()).await;
            }
            again.is_ok()
        })
        .await;
        answer
    })
    .await;
}

pub async fn dropped_creation_and_import_are_done_or_not(trial: Trial) {
    let own = BotFilter { project: Some(trial.project()), ..BotFilter::default() };
    let count = async |rows: &[NewBot]| {
        let listed = trial.farm().list(&own, &PageRequest::first(PageRequest::MAX)).await.expect("listed").items;
        listed.iter().filter(|bot| rows.iter().any(|row| row.login == bot.login)).count()
    };
    at_every_await(async |polls| {
        let new = trial.new_bot();
        let answer = dropped_after(polls, trial.farm().create(new.clone())).await;
        let again: Result<_> = trial.farm().create(new.clone()).await;
        match again {
            Ok(_) | Err(Error::LoginTaken { .. }) => {}
            other => panic!("a bot is kept or not: got {other:?}"),
        }
        assert_eq!(count(&[new]).await, 1, "a bot is kept once");
        answer
    })
    .await;
    at_every_await(async |polls| {
        let rows = [(); 3].map(|()| trial.new_bot());
        let answer = dropped_after(polls, trial.farm().import(rows.to_vec(), false)).await;
        let some = count(&rows).await;
        assert!(some == 0 || some == 3, "an import is done whole or not at all: {some} of 3 rows");
        trial.farm().import(rows.to_vec(), false).await.expect("an import may be repeated");
        assert_eq!(count(&rows).await, 3, "an import may be repeated");
        answer
    })
    .await;
}

pub async fn dropped_update_and_deletion_are_done_or_not(trial: Trial) {
    let labels = Labels::try_from([("k", "v")]).expect("valid");
    at_every_await(async |polls| {
        let bot = trial.bot().await;
        let changes = BotChanges {
            labels: Some(labels.clone()),
            condition: Some(Condition::Dirty),
            domain: Some(Domain::REGULAR),
            ..BotChanges::default()
        };
        let answer = dropped_after(polls, trial.farm().update(bot.id, changes)).await;
        let seen = trial.look(&bot).await;
        let done = Bot { labels: labels.clone(), condition: Condition::Dirty, domain: Domain::REGULAR, ..bot.clone() };
        assert!(seen == bot || seen == done, "an update is done whole or not at all: {seen:?}");

        let deleted = dropped_after(polls, trial.farm().delete(bot.id)).await;
        match trial.farm().delete(bot.id).await {
            Ok(()) => {}
            gone => drop(refused(gone, "no-such-user", "a deletion is done or not")),
        }
        refused(trial.farm().get(bot.id).await, "no-such-user", "a deleted bot is gone");
        answer.and(deleted)
    })
    .await;
}

pub async fn dropped_look_changes_nothing(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let lease = trial.take(trial.named(&bots[0])).await;
    at_every_await(async |polls| {
        let farm = trial.farm();
        let answers = [
            dropped_after(polls, farm.get(bots[0].id)).await.map(drop),
            dropped_after(polls, farm.lookup(lease.id)).await.map(drop),
            dropped_after(polls, farm.list(&BotFilter::default(), &PageRequest::default())).await.map(drop),
            dropped_after(polls, farm.leases(&PageRequest::default())).await.map(drop),
            dropped_after(polls, farm.history(bots[0].id, &PageRequest::default())).await.map(drop),
            dropped_after(polls, farm.stats()).await.map(drop),
            dropped_after(polls, farm.check()).await.map(drop),
        ];
        assert_eq!(trial.look(&bots[0]).await.state(), BotState::Leased, "a look changes nothing");
        let other = trial.take(trial.named(&bots[1])).await;
        trial.release(&other).await;
        answers.into_iter().collect::<Option<Vec<()>>>()
    })
    .await;
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}
