//! What is otherwise in an env, for backends that take a policy.

use std::{sync::Arc, time::Duration};

use super::{answers::faults, trial::Trial, waiter::until};
use crate::{
    AfterExpiry, Bot, BotChanges, BotFarm, BotRelease, BotState, Condition, Ending, Env, EnvPolicy, LeasePolicy,
    NewBot, Revocation, Timestamp,
};

const HOUR: Duration = Duration::from_hours(1);

fn qa() -> Env {
    super::trial::text("qa")
}

fn checked() -> Env {
    super::trial::text("checked")
}

/// The policy of a farm for these claims: in qa, a minute at most, an hour of rest after a release, and two after an
/// expiry or a revocation; in checked, an expired lease leaves its bots dirty.
#[must_use]
pub fn policy() -> LeasePolicy {
    let brief = EnvPolicy {
        max_ttl: Some(Duration::from_mins(1)),
        reuse_delay: Some(HOUR),
        cooling: Some(2 * HOUR),
        ..EnvPolicy::default()
    };
    let looked_at = EnvPolicy { after_expiry: AfterExpiry::Dirty, ..EnvPolicy::default() };
    LeasePolicy { envs: [(qa(), brief), (checked(), looked_at)].into(), default_ttl: HOUR, ..super::policy() }
}

pub async fn expired_lease_leaves_its_bots_in_the_condition_that_the_env_says(farm: Arc<dyn BotFarm>) {
    let trial = Trial::on(&vec![farm.clone()]);
    let bot = trial.keep(NewBot { env: checked(), ..trial.new_bot() }).await;
    let other = trial.bot().await;
    let is_ready = async |bot| trial.look(bot).await.condition == Condition::Ready;
    let of_checked = || trial.named(&bot).env(checked());

    let lease = trial.take(of_checked()).await;
    assert_eq!(lease.bot().bot.condition, Condition::Ready);
    assert!(is_ready(&bot).await, "while it is leased it is what it was");
    trial.release(&lease).await;
    assert!(is_ready(&bot).await, "a release says how it is left");
    let lease = trial.take(of_checked()).await;
    let revocation = Revocation::new(super::trial::text("needed"), trial.holder());
    farm.revoke(bot.id, revocation).await.expect("it is held");
    assert!(is_ready(&bot).await, "and so does who revokes it: as it was");
    assert!(trial.lookup(&lease).await.is_err());

    // Granted at once, and after a wait.
    for waits in [false, true] {
        until("it is free", async || trial.look(&bot).await.state() == BotState::Free).await;
        let lease = if waits {
            let before = trial.take(of_checked()).await;
            let waiter = trial.park(trial.ask(of_checked()).wait(HOUR)).await;
            trial.release(&before).await;
            waiter.lease("it is next").await
        } else {
            trial.take(of_checked()).await
        };
        assert!(is_ready(&bot).await);
        trial.renew(&lease, Some(policy().min_ttl)).await.expect("it is in force");
        trial.until_ended(&lease).await;
        assert_eq!(trial.look(&bot).await.condition, Condition::Dirty, "nobody knows what was done to it");
        let ready = BotChanges { condition: Some(Condition::Ready), ..BotChanges::default() };
        farm.update(bot.id, ready).await.expect("nobody has it");
    }

    let lease = trial.take(trial.named(&other)).await;
    trial.renew(&lease, Some(policy().min_ttl)).await.expect("it is in force");
    trial.until_ended(&lease).await;
    assert!(is_ready(&other).await, "elsewhere it is kept as it was");
}

/// For how long a bot rests, in whole hours, after what happened at `at` or a moment later.
async fn rest(trial: &Trial, bot: &Bot, at: Timestamp) -> i64 {
    let until = trial.look(bot).await.cooling_until;
    until.map_or(0, |until| (until - at).num_hours())
}

pub async fn each_env_has_a_policy_of_its_own(farm: Arc<dyn BotFarm>) {
    let trial = Trial::on(&vec![farm.clone()]);
    let stage = trial.bot().await;
    let mut of_qa = Vec::new();
    for _ in 0..4 {
        of_qa.push(trial.keep(NewBot { env: qa(), ..trial.new_bot() }).await);
    }
    let long = Duration::from_mins(2);
    let refused = trial.acquire(trial.ask(trial.any().env(qa())).ttl(long)).await;
    assert_eq!(faults(refused, "it is too long in qa")[0].detail, "must be from 0.01 to 60 seconds, as qa has it");

    let lease = trial.take(trial.named(&stage)).await;
    assert_eq!(lease.ttl, Duration::from_mins(1), "who names no env gets what all allow that it could reach");
    trial.renew(&lease, Some(long)).await.expect("its bot is of stage");
    trial.release(&lease).await;
    assert_eq!(trial.look(&stage).await.cooling_until, None, "elsewhere nothing is otherwise");

    let lease = trial.take(trial.named(&of_qa[0]).env(qa())).await;
    faults(trial.renew(&lease, Some(long)).await, "a renewal is no longer than the env allows");
    trial.renew(&lease, None).await.expect("it is in force");
    trial.end(&lease, Ending::clean()).await;
    assert_eq!(rest(&trial, &of_qa[0], lease.acquired_at).await, 1, "its bot rests after a release");

    let lease = trial.take(trial.named(&of_qa[1])).await;
    farm.release_bot(of_qa[1].id, BotRelease::default()).await.expect("it is held");
    assert_eq!(rest(&trial, &of_qa[1], lease.acquired_at).await, 1, "and after one by its id");

    let lease = trial.take(trial.named(&of_qa[2])).await;
    let revocation = Revocation::new(super::trial::text("stuck"), trial.holder());
    farm.revoke(of_qa[2].id, revocation).await.expect("it is held");
    assert_eq!(rest(&trial, &of_qa[2], lease.acquired_at).await, 2, "and longer after a revocation");

    let brief = trial.ask_many([trial.named(&of_qa[3]).env(qa()), trial.any().env(Env::STAGE)]).ttl(policy().min_ttl);
    let lease = trial.acquire(brief).await.expect("both are free");
    trial.until_ended(&lease).await;
    for bot in [&of_qa[3], &stage] {
        assert_eq!(rest(&trial, bot, lease.expires_at).await, 2, "the bots of one lease rest as long as any of them");
    }
}

pub async fn bot_that_is_left_dirty_or_broken_does_not_rest(farm: Arc<dyn BotFarm>) {
    let trial = Trial::on(&vec![farm.clone()]);
    for (ending, condition) in [(Ending::dirty(), Condition::Dirty), (Ending::broken(), Condition::Broken)] {
        let bot = trial.keep(NewBot { env: qa(), ..trial.new_bot() }).await;
        let lease = trial.take(trial.named(&bot)).await;
        trial.end(&lease, ending.clone()).await;
        let left = trial.look(&bot).await;
        assert_eq!((left.condition, left.state()), (condition, BotState::Free), "somebody is to look at it");

        let named = trial.named(&bot).condition(condition);
        let lease = trial.take(named).await;
        farm.release_bot(bot.id, BotRelease { ending, ..BotRelease::default() }).await.expect("it is held");
        assert!(trial.lookup(&lease).await.is_err());
        assert_eq!(trial.look(&bot).await.state(), BotState::Free, "nor after a release by its id");
    }
}
