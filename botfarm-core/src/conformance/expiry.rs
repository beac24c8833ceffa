//! No lease is forever, and none ends early.

use std::time::Duration;

use super::{
    answers::{faults, lost},
    policy,
    trial::Trial,
    waiter::{LONG, in_time, until},
};
use crate::{BotState, EndReason, Ending, Field, Lease, LeaseId, LostLease};

/// A lease that ends very soon.
async fn brief(trial: &Trial) -> Lease {
    trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("a bot that is free and fits is granted")
}

fn expired(lease: &Lease) -> LostLease {
    LostLease { reason: EndReason::Expired, at: lease.expires_at, by: None, note: None }
}

pub async fn expired_lease_frees_the_bot(trial: Trial) {
    let bot = trial.bot().await;
    let first = brief(&trial).await;
    let second = trial.take_in_time(trial.any()).await;
    assert_eq!(second.bot().bot.id, bot.id, "nobody has to tidy up for a lease to end");
    let rested = first.expires_at + policy().cooling;
    assert!(second.acquired_at >= rested, "a bot rests after an expiry: {} < {rested}", second.acquired_at);
    assert!(second.bot().fence > first.bot().fence, "each hand-out carries a strictly larger fence");
    trial.release(&second).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn lease_is_over_at_its_end_though_nobody_wants_the_bot(trial: Trial) {
    let bot = trial.bot().await;
    let lease = brief(&trial).await;
    trial.until_after(lease.expires_at).await;
    let told = "an ended lease says how and when it ended";
    assert_eq!(lost(trial.renew(&lease, None).await, "a late renewal is refused"), expired(&lease), "{told}");
    assert_eq!(lost(trial.lookup(&lease).await, "an ended lease is lost"), expired(&lease), "{told}");
    let release = trial.farm().release(lease.id, Ending::broken()).await;
    assert_eq!(lost(release, "a late release is refused"), expired(&lease), "{told}");
    let seen = trial.look(&bot).await;
    assert_eq!((seen.holding, seen.condition), (None, bot.condition), "a refused call has changed nothing");
}

pub async fn stale_holder_cannot_harm_the_next(trial: Trial) {
    let bot = trial.bot().await;
    let stale = brief(&trial).await;
    let current = trial.take_in_time(trial.any()).await;
    let holding = trial.look(&bot).await.holding;
    assert_eq!(lost(trial.renew(&stale, Some(policy().max_ttl)).await, "a late renewal is refused"), expired(&stale));
    let release = trial.farm().release(stale.id, Ending::broken()).await;
    assert_eq!(lost(release, "a late release is refused"), expired(&stale));
    let seen = trial.lookup(&current).await.expect("the lease in force stays so");
    assert_eq!(seen.expires_at, current.expires_at, "the lease in force stays as it was");
    let seen = trial.look(&bot).await;
    assert_eq!((seen.holding, seen.condition), (holding, bot.condition), "a stale holder changes nothing");
    trial.release(&current).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn nobody_gets_a_bot_before_its_leases_end(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.acquire(trial.ask(trial.any()).ttl(Duration::from_millis(700))).await.expect("it is free");
    let contenders = (0..6).map(|turn| {
        let (farm, request) = (trial.farm(), trial.ask(trial.any()));
        tokio::spawn(async move {
            loop {
                // Some wait, the others ask again and again.
                let wait = if turn % 2 == 0 { LONG } else { Duration::ZERO };
                if let Ok(lease) = farm.acquire(request.clone().id(LeaseId::new()).wait(wait)).await {
                    farm.release(lease.id, Ending::clean()).await.expect("its holder releases it");
                    return lease;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    for contender in contenders.collect::<Vec<_>>() {
        let next = in_time("an expired lease frees the bot", contender).await.expect("no contender panics");
        assert!(next.acquired_at >= lease.expires_at + policy().cooling, "nobody gets a bot before its lease's end");
    }
    trial.prove_sound(&[bot]).await;
}

pub async fn parked_waiter_is_served_when_the_lease_expires(trial: Trial) {
    let bot = trial.bot().await;
    // Long enough for the waiter to be parked in, on a slow machine too; then cut short.
    let lease = trial.take(trial.any()).await;
    let waiter = trial.park(trial.ask(trial.any())).await;
    let renewed = trial.renew(&lease, Some(policy().min_ttl)).await.expect("the lease is in force");
    assert!(renewed.expires_at < lease.expires_at, "a renewal counts from now on, for a shorter TTL too");
    let served = waiter.lease("a waiter is woken when the lease that it waits for expires, renewed or not").await;
    assert!(served.acquired_at >= renewed.expires_at + policy().cooling, "a bot rests after an expiry");
    trial.release(&served).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn renewal_counts_from_now_on(trial: Trial) {
    trial.bot().await;
    let lease = trial.acquire(trial.ask(trial.any()).ttl(Duration::from_secs(90))).await.expect("it is free");
    for (ttl, wanted) in [(None, 90), (Some(3_600), 3_600), (None, 3_600), (Some(60), 60)] {
        let before = trial.now().await;
        let renewed = trial.renew(&lease, ttl.map(Duration::from_secs)).await.expect("the lease is in force");
        let after = trial.now().await;
        let wanted = Duration::from_secs(wanted);
        assert_eq!(renewed.ttl, wanted, "a renewal is for the TTL that it names, or for the one that the lease has");
        let ends = before + wanted..=after + wanted;
        assert!(ends.contains(&renewed.expires_at), "a renewal counts from now on: {} in {ends:?}", renewed.expires_at);
        assert!(renewed.remaining <= wanted && renewed.remaining > Duration::ZERO, "some of it is left: {renewed:?}");
        assert_eq!(renewed.acquired_at, lease.acquired_at, "a renewal is not another grant");
        assert_eq!(renewed.bot().fence, lease.bot().fence, "a renewal is not another hand-out");
        let seen = trial.lookup(&lease).await.expect("the lease is in force");
        assert_eq!(seen.expires_at, renewed.expires_at, "a look-up shows the renewal");
    }
}

pub async fn renewed_lease_outlives_its_first_ttl(trial: Trial) {
    // On a machine too slow for one TTL, a longer one is tried: what is lost in time proves nothing.
    let mut ttl = Duration::from_millis(500);
    let (bot, lease, renewed) = loop {
        assert!(ttl < Duration::from_mins(1), "a renewal within the TTL succeeds");
        let bot = trial.bot().await;
        let lease = trial.acquire(trial.ask(trial.named(&bot)).ttl(ttl)).await.expect("it is free");
        match trial.renew(&lease, Some(policy().default_ttl)).await {
            Ok(renewed) => break (bot, lease, renewed),
            late => assert_eq!(lost(late, "a renewal succeeds, or the lease is lost"), expired(&lease)),
        }
        assert!(trial.now().await >= lease.expires_at, "no lease ends before its TTL");
        ttl *= 2;
    };
    let waiter = trial.park(trial.ask(trial.named(&bot))).await;
    trial.until_after(lease.expires_at + policy().cooling).await;
    let seen = trial.lookup(&lease).await.expect("a renewed lease lives on");
    assert_eq!(seen.expires_at, renewed.expires_at, "a renewed lease lives for as long as the renewal said");
    assert!(waiter.still_waits(), "nobody gets a bot before its lease's end");
    trial.release(&lease).await;
    trial.release(&waiter.lease("a released bot serves who waits").await).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn renewal_outside_the_limits_is_refused(trial: Trial) {
    trial.bot().await;
    let lease = trial.take(trial.any()).await;
    for ttl in [policy().min_ttl / 2, policy().max_ttl + Duration::from_secs(1)] {
        let faults = faults(trial.renew(&lease, Some(ttl)).await, "a TTL outside the limits is refused");
        assert_eq!(faults[0].at, Field::Ttl.into(), "the fault says where it is: {faults:?}");
        assert_eq!(faults.len(), 1, "nothing else is wrong: {faults:?}");
    }
    let seen = trial.lookup(&lease).await.expect("a refused call has changed nothing");
    assert_eq!(seen.expires_at, lease.expires_at, "a refused call has changed nothing");
}

pub async fn bot_rests_after_expiry_and_is_seen_to(trial: Trial) {
    // A rest is short, and a machine may sleep through it; not twenty times.
    for _ in 0..20 {
        let bot = trial.bot().await;
        let lease = trial.acquire(trial.ask(trial.named(&bot)).ttl(policy().min_ttl)).await.expect("it is free");
        trial.until_ended(&lease).await;
        let seen = trial.look(&bot).await;
        assert_eq!(seen.holding, None, "nobody holds a bot whose lease is over");
        let ends = lease.expires_at + policy().cooling;
        if seen.state() == BotState::Cooling {
            assert_eq!(seen.cooling_until, Some(ends), "a bot rests from the end of its lease on");
            return;
        }
        assert!(trial.now().await >= ends, "a bot is not free before it has rested");
    }
    panic!("a bot that rests is shown as cooling");
}

pub async fn set_expires_and_is_renewed_as_one(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let lease = trial.acquire(trial.ask_many([(); 3].map(|()| trial.any()))).await.expect("all are free");
    let renewed = trial.renew(&lease, Some(Duration::from_mins(5))).await.expect("the lease is in force");
    assert_eq!(renewed.bots.len(), 3, "a renewal is of all bots");
    for leased in &renewed.bots {
        let holding = leased.bot.holding.clone().expect("it is held");
        assert_eq!(holding.expires_at, renewed.expires_at, "all bots of a lease are renewed together");
    }
    let renewed = trial.renew(&lease, Some(policy().min_ttl)).await.expect("the lease is in force");
    trial.until_after(renewed.expires_at).await;
    for bot in &bots {
        assert_eq!(trial.look(bot).await.holding, None, "all bots of a lease are free together");
    }
    until("all bots of an expired lease can be had again", async || {
        let again = trial.acquire(trial.ask_many([(); 3].map(|()| trial.any()))).await;
        if let Ok(again) = &again {
            trial.release(again).await;
        }
        again.is_ok()
    })
    .await;
    trial.prove_sound(&bots).await;
}
