//! A lease is taken away.

use super::{
    answers::{lost, shortage},
    policy,
    trial::{Trial, text},
    waiter::until,
};
use crate::{Bot, BotState, EndReason, Ending, Revocation};

async fn revoke(trial: &Trial, bot: &Bot, reason: &str) {
    let revocation = Revocation::new(text(reason), trial.holder());
    trial.farm().revoke(bot.id, revocation).await.expect("a bot of the farm can be taken away");
}

pub async fn revoked_holder_is_told_why(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let before = trial.now().await;
    revoke(&trial, &bot, "needed for a demo").await;
    let after = trial.now().await;
    let answers = [
        trial.renew(&lease, None).await.map(drop),
        trial.lookup(&lease).await.map(drop),
        trial.farm().release(lease.id, Ending::broken()).await,
    ];
    for answer in answers {
        let told = lost(answer, "a revoked lease is lost");
        assert_eq!(told.reason, EndReason::Revoked, "the holder is told that the lease was revoked");
        assert_eq!(told.note.as_deref(), Some("needed for a demo"), "the holder is told why");
        assert!(told.by.is_some(), "the holder is told by whom");
        assert!(told.at >= before && told.at <= after, "the holder is told when");
    }
    assert_eq!(trial.look(&bot).await.condition, bot.condition, "a refused call has changed nothing");
}

pub async fn revoked_bot_rests_before_the_next_holder(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let waiter = trial.park(trial.ask(trial.any())).await;
    revoke(&trial, &bot, "hangs").await;
    let told = lost(trial.lookup(&lease).await, "a revoked lease is lost");
    let next = waiter.lease("a revocation frees the bot for who waits").await;
    assert!(next.acquired_at >= told.at + policy().cooling, "a bot rests after a revocation, for its holder to notice");
    assert!(next.bot().fence > lease.bot().fence, "each hand-out carries a strictly larger fence");
    trial.release(&next).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn bot_that_rests_is_seen_to_and_counted(trial: Trial) {
    // A rest is short, and a machine may sleep through it; not twenty times.
    for _ in 0..20 {
        let bot = trial.bot().await;
        let lease = trial.take(trial.named(&bot)).await;
        revoke(&trial, &bot, "to see it rest").await;
        let ends = lost(trial.lookup(&lease).await, "a revoked lease is lost").at + policy().cooling;
        let told = trial.acquire(trial.ask_many([trial.named(&bot)])).await;
        let pool = trial.pool().await;
        let seen = trial.look(&bot).await;
        if seen.state() == BotState::Cooling {
            assert_eq!(seen.cooling_until, Some(ends), "a bot rests from the end of its lease on");
            let busy = super::answers::busy(told, "nobody gets a bot that rests");
            assert_eq!((busy.holder, busy.expires_at), (None, Some(ends)), "the error says until when the bot rests");
            assert_eq!((pool.cooling, pool.leased), (1, 0), "a bot that rests is counted as such");
            return;
        }
        if let Ok(lease) = told {
            assert!(lease.acquired_at >= ends, "nobody gets a bot before it has rested");
            trial.release(&lease).await;
        }
        assert!(trial.now().await >= ends, "a bot is not free before it has rested");
        trial.farm().delete(bot.id).await.expect("a bot that nobody holds may be deleted");
    }
    panic!("a bot that rests is shown as cooling");
}

pub async fn revocation_ends_the_whole_lease(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let lease = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
    let other = trial.take(trial.any()).await;
    revoke(&trial, &bots[1], "one of two").await;
    for leased in &lease.bots {
        assert_eq!(trial.look(&leased.bot).await.holding, None, "all bots of a revoked lease are taken away");
    }
    lost(trial.renew(&lease, None).await, "a revoked lease is lost");
    trial.renew(&other, None).await.expect("other leases stay in force");
    until("bots of a revoked lease can be had again", async || {
        let again = trial.acquire(trial.ask_many([trial.named(&bots[0]), trial.named(&bots[1])])).await;
        if let Ok(again) = &again {
            trial.release(again).await;
        }
        again.is_ok()
    })
    .await;
    trial.release(&other).await;
    trial.prove_sound(&bots).await;
}

pub async fn to_revoke_a_free_bot_changes_nothing(trial: Trial) {
    let bot = trial.bot().await;
    revoke(&trial, &bot, "nobody has it").await;
    assert_eq!(trial.look(&bot).await, bot, "to revoke a free bot changes nothing");
    let lease = trial.take(trial.any()).await;
    shortage(trial.acquire(trial.ask(trial.any())).await, "it is leased");
    trial.release(&lease).await;
    revoke(&trial, &bot, "nobody has it any more").await;
    let end = trial.history(bot.id).await[0].end.clone().expect("it has ended");
    assert_eq!(end.reason, EndReason::Released, "a lease ends once");
    trial.prove_sound(&[bot]).await;
}
