//! How holders give bots back, and in what state.

use super::{
    answers::{busy, lost, refused, shortage},
    policy,
    trial::{Trial, text},
};
use crate::{BotRelease, BotState, Condition, EndReason, Ending, Holder, LeaseId, Outcome};

pub async fn released_bot_is_free_at_once(trial: Trial) {
    let bot = trial.bot().await;
    let mut fence = None;
    for _ in 0..5 {
        let lease = trial.take(trial.any()).await;
        assert!(fence < Some(lease.bot().fence), "each hand-out carries a strictly larger fence");
        fence = Some(lease.bot().fence);
        trial.release(&lease).await;
        assert_eq!(trial.look(&bot).await, bot, "after a clean release a bot is free at once");
    }
    trial.prove_sound(&[bot]).await;
}

pub async fn release_succeeds_again_and_changes_nothing(trial: Trial) {
    let bot = trial.bot().await;
    let first = trial.take(trial.any()).await;
    trial.release(&first).await;
    trial.end(&first, Ending::broken().note(text("again"))).await;
    assert_eq!(trial.look(&bot).await.condition, Condition::Ready, "the first release counts");
    let end = trial.history(bot.id).await[0].end.clone().expect("it has ended");
    assert_eq!((end.outcome, end.note), (Some(Outcome::Clean), None), "the first one counts");
    let second = trial.take(trial.any()).await;
    let holding = trial.look(&bot).await.holding;
    trial.end(&first, Ending::dirty()).await;
    let seen = trial.look(&bot).await;
    assert_eq!((seen.holding, seen.condition), (holding, Condition::Ready), "a release again harms no other holder");
    trial.lookup(&second).await.expect("the lease in force stays so");
    trial.release(&second).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn released_lease_is_lost_to_all_but_release(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    trial.release(&lease).await;
    let ended = trial.history(bot.id).await[0].end.as_ref().expect("it has ended").at;
    for answer in [trial.renew(&lease, None).await, trial.lookup(&lease).await] {
        let lost = lost(answer, "a released lease is lost");
        assert_eq!(
            (lost.reason, lost.at, lost.by),
            (EndReason::Released, ended, None),
            "it says how and when it ended"
        );
    }
    assert_eq!(trial.look(&bot).await.holding, None, "a late renewal takes nothing back");
}

pub async fn dirty_bot_is_for_the_cleaner_alone(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    trial.end(&lease, Ending::dirty().note(text("left a cart behind"))).await;
    let seen = trial.look(&bot).await;
    assert_eq!((seen.condition, seen.state()), (Condition::Dirty, BotState::Free), "a dirty bot is free, and dirty");
    shortage(trial.acquire(trial.ask(trial.any())).await, "who wants a ready bot does not get a dirty one");
    let cleaner = trial.take(trial.any().condition(Condition::Dirty)).await;
    assert_eq!(cleaner.bot().bot.condition, Condition::Dirty, "a cleaner sees what it got");
    trial.release(&cleaner).await;
    assert_eq!(trial.look(&bot).await, bot, "a bot that was cleaned is ready");
    trial.prove_sound(&[bot]).await;
}

pub async fn broken_bot_rests_until_somebody_has_mended_it(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    trial.end(&lease, Ending::broken()).await;
    assert_eq!(trial.look(&bot).await.condition, Condition::Broken, "a bot is left as its holder says");
    for condition in [Condition::Ready, Condition::Dirty] {
        let ask = trial.ask(trial.any().condition(condition));
        shortage(trial.acquire(ask).await, "nobody is granted a bot in another condition than was asked for");
    }
    let mender = trial.take(trial.any().condition(Condition::Broken)).await;
    trial.end(&mender, Ending::dirty()).await;
    assert_eq!(trial.look(&bot).await.condition, Condition::Dirty, "the latest outcome counts");
}

pub async fn outcome_is_of_all_bots_of_the_lease(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let lease = trial.acquire(trial.ask_many([(); 3].map(|()| trial.any()))).await.expect("all are free");
    trial.end(&lease, Ending::dirty()).await;
    for bot in &bots {
        assert_eq!(trial.look(bot).await.condition, Condition::Dirty, "an outcome is of all bots of the lease");
    }
}

pub async fn dirty_release_serves_a_waiting_cleaner(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let tester = trial.park(trial.ask(trial.any())).await;
    let cleaner = trial.park(trial.ask(trial.any().condition(Condition::Dirty))).await;
    trial.end(&lease, Ending::dirty()).await;
    let cleaner = cleaner.lease("a bot left dirty serves the cleaner who waits for one").await;
    assert!(tester.still_waits(), "who wants a ready bot does not get a dirty one");
    trial.release(&cleaner).await;
    let tester = tester.lease("a bot that was cleaned serves who waits for a ready one").await;
    trial.release(&tester).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn release_of_a_bot_ends_the_lease_that_holds_it(trial: Trial) {
    let [one, other] = trial.bots().await;
    let lease = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
    let release = BotRelease { ending: Ending::dirty().note(text("by hand")), ..BotRelease::default() };
    trial.farm().release_bot(other.id, release).await.expect("a held bot can be released");
    for bot in [&one, &other] {
        let seen = trial.look(bot).await;
        assert_eq!(
            (seen.state(), seen.condition),
            (BotState::Free, Condition::Dirty),
            "all of the lease ends, as told"
        );
    }
    let told = lost(trial.renew(&lease, None).await, "the lease has ended");
    assert_eq!(told.reason, EndReason::Released, "a release of the bot is a release of its lease");
    trial.farm().release(lease.id, Ending::clean()).await.expect("a released lease may be released again");
    trial.farm().release_bot(one.id, BotRelease::default()).await.expect("a bot that nobody holds may be released");
    assert_eq!(trial.look(&one).await.condition, Condition::Dirty, "to release a free bot changes nothing");
}

pub async fn release_of_a_bot_spares_other_leases_than_the_named(trial: Trial) {
    let bot = trial.bot().await;
    let by = |id| BotRelease { ending: Ending::broken(), lease: Some(id), ..BotRelease::default() };
    let promise = "a lease that does not hold the bot is lost";
    let brief = trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("it is free");
    let released = trial.take_in_time(trial.any()).await;
    trial.release(&released).await;
    let elsewhere = trial.bot().await;
    let elsewhere = trial.take(trial.named(&elsewhere)).await;
    let current = trial.take(trial.named(&bot)).await;
    for (id, reason) in [
        (LeaseId::new(), EndReason::Released),
        (elsewhere.id, EndReason::Released),
        (released.id, EndReason::Released),
        (brief.id, EndReason::Expired),
    ] {
        let told = lost(trial.farm().release_bot(bot.id, by(id)).await, promise);
        assert_eq!(told.reason, reason, "the error says how the named lease ended");
    }
    let seen = trial.look(&bot).await;
    assert_eq!(
        seen.holding.map(|holding| holding.terms.holder.clone()),
        Some(current.terms.holder.clone()),
        "a refusal changes nothing"
    );
    trial.lookup(&elsewhere).await.expect("a lease that was named for the wrong bot stays in force");

    trial.farm().release_bot(bot.id, by(current.id)).await.expect("the lease that holds the bot was named");
    assert_eq!(trial.look(&bot).await.condition, Condition::Broken, "a bot is left as told");
    lost(trial.farm().release_bot(bot.id, by(current.id)).await, promise);
    refused(trial.lookup(&current).await, "lease-lost", "a released lease has ended");
}

pub async fn released_lease_shows_its_holder_the_remark(trial: Trial) {
    trial.bot().await;
    let lease = trial.take(trial.any()).await;
    trial.end(&lease, Ending::clean().note(text("the cart is empty"))).await;
    for answer in [trial.renew(&lease, None).await, trial.lookup(&lease).await] {
        let told = lost(answer, "a released lease is lost");
        assert_eq!(told.note, Some(text("the cart is empty")), "who knows the id is shown the remark of the release");
    }
}

pub async fn lease_that_never_held_the_bot_is_told_as_released(trial: Trial) {
    let [bot, elsewhere] = trial.bots().await;
    let brief = trial.ask(trial.named(&elsewhere)).ttl(policy().min_ttl);
    let brief = trial.acquire(brief).await.expect("it is free");
    trial.until_ended(&brief).await;
    let told = lost(trial.lookup(&brief).await, "nobody renewed it");
    assert_eq!(told.reason, EndReason::Expired, "its own end is another matter");
    let release = BotRelease { lease: Some(brief.id), ..BotRelease::default() };
    let told = lost(trial.farm().release_bot(bot.id, release).await, "a lease that does not hold the bot is lost");
    assert_eq!(told.reason, EndReason::Released, "a lease that never held the bot is told as released");
}

pub async fn late_release_ends_no_lease_of_another_holder(trial: Trial) {
    let bot = trial.bot().await;
    let by = |holder: &Holder| BotRelease { holder: Some(holder.clone()), ..BotRelease::default() };
    let late = trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("it is free");
    trial.until_after(late.expires_at + policy().cooling).await;
    trial.farm().release_bot(bot.id, by(&late.terms.holder)).await.expect("nobody holds the bot");
    let next = trial.take(trial.any()).await;
    let told =
        busy(trial.farm().release_bot(bot.id, by(&late.terms.holder)).await, "the bot is somebody else's by now");
    assert_eq!((told.bot, told.holder.as_ref()), (bot.id, Some(&next.terms.holder)), "who has it is told");
    assert_eq!(told.expires_at, Some(next.expires_at), "and until when");
    trial.lookup(&next).await.expect("the lease of somebody else is in force");
    trial.farm().release_bot(bot.id, by(&next.terms.holder)).await.expect("it is the holder's own");
    assert_eq!(trial.look(&bot).await.holding, None, "who holds the bot gives it back by name");
}
