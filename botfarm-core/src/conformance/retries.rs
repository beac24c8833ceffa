//! The same lease id again: never a second bot.

use futures_util::future::join_all;

use super::{
    answers::lost,
    policy,
    trial::Trial,
    waiter::{LONG, until},
};
use crate::{BotState, EndReason, Lease, Revocation};

/// The lease apart from how much of it is left.
fn but_for_the_time_left(lease: Lease) -> Lease {
    Lease { remaining: std::time::Duration::ZERO, ..lease }
}

pub async fn same_lease_id_gets_the_same_lease(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let request = trial.ask_many([trial.any(), trial.any()]);
    let lease = trial.acquire(request.clone()).await.expect("both are free");
    let other = trial.take(trial.any()).await;
    for wait in [std::time::Duration::ZERO, LONG] {
        let again = trial.acquire(request.clone().wait(wait)).await.expect("a lease in force is given again");
        assert!(again.remaining <= lease.remaining, "to ask again is not to renew");
        let (again, lease) = (but_for_the_time_left(again), but_for_the_time_left(lease.clone()));
        assert_eq!(again, lease, "acquiring again with the same id returns the same lease");
    }
    trial.release(&other).await;
    let again = trial.acquire(request).await.expect("a lease in force is given again");
    assert_eq!(but_for_the_time_left(again), but_for_the_time_left(lease.clone()), "no second bot is taken");
    let third = trial.look(&other.bot().bot).await;
    assert_eq!(third.state(), BotState::Free, "no second bot is taken");
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}

pub async fn renewed_lease_is_given_again_as_renewed(trial: Trial) {
    trial.bot().await;
    let request = trial.ask(trial.any());
    let lease = trial.acquire(request.clone()).await.expect("it is free");
    let renewed = trial.renew(&lease, Some(policy().default_ttl * 2)).await.expect("it is in force");
    let again = trial.acquire(request).await.expect("a lease in force is given again");
    assert_eq!((again.expires_at, again.ttl), (renewed.expires_at, renewed.ttl), "a lease is given again as it is now");
}

pub async fn ended_lease_id_is_refused(trial: Trial) {
    let bot = trial.bot().await;
    let [released, revoked, expired] = [(); 3].map(|()| trial.ask(trial.any()));
    let lease = trial.acquire(released.clone()).await.expect("it is free");
    trial.release(&lease).await;
    trial.acquire(revoked.clone()).await.expect("it is free");
    let revocation = Revocation::new(super::trial::text("needed"), trial.holder());
    trial.farm().revoke(bot.id, revocation).await.expect("a held bot can be taken away");
    let expired = expired.ttl(policy().min_ttl);
    until("a bot that has rested is free", async || trial.acquire(expired.clone()).await.is_ok()).await;
    until("a lease that nobody renews ends", async || trial.farm().lookup(expired.id).await.is_err()).await;
    for (request, reason) in
        [(released, EndReason::Released), (revoked, EndReason::Revoked), (expired, EndReason::Expired)]
    {
        let told = lost(trial.acquire(request.wait(LONG)).await, "the id of an ended lease is refused");
        assert_eq!(told.reason, reason, "the error says how it ended");
    }
    assert_eq!(trial.look(&bot).await.holding, None, "a refused call has changed nothing");
    let next = trial.take_in_time(trial.any()).await;
    trial.release(&next).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn twins_in_flight_get_one_lease(trial: Trial) {
    let bots = trial.bots::<3>().await;
    for wait in [std::time::Duration::ZERO, LONG] {
        for _ in 0..5 {
            let request = trial.ask(trial.any()).wait(wait);
            let twins = (0..6).map(|_| {
                let (farm, request) = (trial.farm(), request.clone());
                tokio::spawn(async move { farm.acquire(request).await })
            });
            let twins = join_all(twins.collect::<Vec<_>>()).await;
            let twins: Vec<_> = twins.into_iter().map(|twin| twin.expect("no twin panics")).collect();
            let leases: Vec<_> = twins
                .into_iter()
                .map(|twin| but_for_the_time_left(twin.expect("every twin is given the lease")))
                .collect();
            for twin in &leases {
                assert_eq!(*twin, leases[0], "all who ask under one id are given one lease");
            }
            let mut held = 0;
            for bot in &bots {
                held += usize::from(trial.look(bot).await.state() == BotState::Leased);
            }
            assert_eq!(held, 1, "all who ask under one id get one bot");
            trial.release(&leases[0]).await;
        }
    }
    trial.prove_sound(&bots).await;
}

pub async fn twins_in_the_queue_get_one_lease(trial: Trial) {
    let bot = trial.bot().await;
    for gone in [false, true] {
        let lease = trial.take(trial.any()).await;
        let request = trial.ask(trial.any());
        let [one, other] = [trial.start(request.clone()), trial.start(request)];
        until("twins wait", async || trial.waiting().await > 0).await;
        if gone {
            // Whichever of them stands in the queue: the request is not given up while one of them asks.
            let answer = one.hang_up().await;
            assert!(answer.is_none(), "it is leased");
            trial.release(&lease).await;
        } else {
            trial.release(&lease).await;
            let one = one.lease("each twin is given the lease").await;
            assert_eq!(one.id, other.id, "they asked under one id");
        }
        let served = other.lease("a twin is given the lease, also when the other has gone").await;
        trial.lookup(&served).await.expect("a lease that somebody has received is not undone");
        trial.release(&served).await;
    }
    assert_eq!(trial.history(bot.id).await.len(), 4, "twins are handed one bot, once");
    trial.prove_sound(&[bot]).await;
}

pub async fn twin_that_hangs_up_takes_nothing_from_the_other(trial: Trial) {
    let bot = trial.bot().await;
    for turn in 0..20 {
        let request = trial.ask(trial.any());
        let [gone, stays] = [trial.start(request.clone()), trial.start(request)];
        for _ in 0..turn {
            tokio::task::yield_now().await;
        }
        drop(gone.hang_up().await);
        let lease = match stays.answer("each twin is answered").await {
            Ok(lease) => lease,
            // The other was granted and undone before this one asked.
            undone => {
                lost(undone, "a twin is given the lease, unless it was undone before");
                continue;
            }
        };
        // What the other leaves behind may come late.
        for _ in 0..5 {
            trial.now().await;
            trial.lookup(&lease).await.expect("a lease that somebody has received is not undone");
        }
        trial.release(&lease).await;
    }
    trial.prove_sound(&[bot]).await;
}
