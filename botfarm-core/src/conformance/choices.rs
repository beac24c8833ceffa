//! Which of the bots that fit: sticky is a preference, avoid is not.

use super::{
    answers::{busy, no_match, shortage},
    trial::{Trial, text},
};
use crate::StickyKey;

fn key(trial: &Trial, name: &str) -> StickyKey {
    text(&format!("{name} {}", trial.project()))
}

pub async fn sticky_key_gets_its_last_bot(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let keys = [key(&trial, "worker 0"), key(&trial, "worker 1")];
    for (key, bot) in keys.iter().zip([&bots[2], &bots[1]]) {
        let lease = trial.acquire(trial.ask(trial.named(bot)).sticky(key.clone())).await.expect("it is free");
        trial.release(&lease).await;
    }
    for (key, bot) in keys.iter().zip([&bots[2], &bots[1]]).cycle().take(4) {
        let lease = trial.acquire(trial.ask(trial.any()).sticky(key.clone())).await.expect("it is free");
        assert_eq!(lease.bot().bot.id, bot.id, "a sticky key gets the bot last leased with it, if it is free");
        trial.release(&lease).await;
    }
    let lease = trial.take(trial.any()).await;
    assert_eq!(lease.bot().bot.id, bots[0].id, "without a key, the least recently used bot is granted");
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}

pub async fn sticky_key_does_not_wait_while_others_fit(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let key = key(&trial, "worker");
    let lease = trial.acquire(trial.ask(trial.named(&bots[1])).sticky(key.clone())).await.expect("it is free");
    let other = trial.acquire(trial.ask(trial.any()).sticky(key)).await.expect("another fits");
    assert_eq!(other.bot().bot.id, bots[0].id, "a sticky request takes another bot rather than wait");
    trial.release(&lease).await;
    trial.release(&other).await;
    trial.prove_sound(&bots).await;
}

pub async fn sticky_set_gets_its_last_bots(trial: Trial) {
    let bots = trial.bots::<4>().await;
    let key = key(&trial, "worker");
    let wanted = [&bots[3], &bots[2]];
    let request = trial.ask_many(wanted.map(|bot| trial.named(bot))).sticky(key.clone());
    let lease = trial.acquire(request).await.expect("both are free");
    trial.release(&lease).await;
    let again = trial.acquire(trial.ask_many([trial.any(), trial.any()]).sticky(key)).await.expect("all are free");
    let mut ids: Vec<_> = again.bots.iter().map(|leased| leased.bot.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [bots[2].id, bots[3].id], "a sticky set gets the bots last leased with its key");
    trial.release(&again).await;
    trial.prove_sound(&bots).await;
}

pub async fn avoided_bot_is_not_granted(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let key = key(&trial, "worker");
    let lease = trial.acquire(trial.ask(trial.named(&bots[0])).sticky(key.clone())).await.expect("it is free");
    trial.release(&lease).await;
    let request = || trial.ask(trial.any()).avoid([bots[0].id]);
    let lease = trial.acquire(request().sticky(key)).await.expect("the other one fits");
    assert_eq!(lease.bot().bot.id, bots[1].id, "a bot to avoid is not granted, sticky or not");
    let told =
        shortage(trial.acquire(request()).await, "a bot to avoid is not granted, though it is the only free one");
    assert_eq!((told.matching, told.leased), (1, 1), "a bot to avoid does not match: {told:?}");
    busy(trial.acquire(trial.ask(trial.named(&bots[1]))).await, "it is leased");
    let none_left = trial.ask(trial.any()).avoid([bots[0].id, bots[1].id]);
    no_match(trial.acquire(none_left).await, "bots to avoid do not match");
    no_match(trial.acquire(trial.ask(trial.named(&bots[0])).avoid([bots[0].id])).await, "bots to avoid do not match");
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}

pub async fn waiter_is_not_served_with_what_it_avoids(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let [bad, good] = [trial.take(trial.named(&bots[0])).await, trial.take(trial.named(&bots[1])).await];
    let waiter = trial.park(trial.ask(trial.any()).avoid([bots[0].id])).await;
    let next = trial.park(trial.ask(trial.any())).await;
    trial.release(&bad).await;
    let next = next.lease("a bot that the first waiter avoids serves the next").await;
    assert_eq!(next.bot().bot.id, bots[0].id, "it is the bot that was freed");
    assert!(waiter.still_waits(), "a waiter gets no bot that it avoids");
    trial.release(&good).await;
    let served = waiter.lease("a waiter gets what it does not avoid").await;
    assert_eq!(served.bot().bot.id, bots[1].id, "it is the bot that was freed");
    trial.release(&next).await;
    trial.release(&served).await;
    trial.prove_sound(&bots).await;
}

pub async fn sticky_key_prefers_the_bot_last_leased_with_it(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let key = key(&trial, "worker");
    let mut leases = Vec::new();
    for bot in [&bots[1], &bots[2]] {
        leases.push(trial.acquire(trial.ask(trial.named(bot)).sticky(key.clone())).await.expect("it is free"));
    }
    for lease in &leases {
        trial.release(lease).await;
    }
    let lease = trial.acquire(trial.ask(trial.any()).sticky(key)).await.expect("all are free");
    assert_eq!(
        lease.bot().bot.id,
        bots[2].id,
        "of the bots leased with a key, the one last leased with it is preferred"
    );
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}
