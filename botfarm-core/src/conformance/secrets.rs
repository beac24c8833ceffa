//! What is secret stays so.

use std::fmt::{Debug, Write};

use super::{
    policy,
    trial::{Trial, text},
};
use crate::{
    BotChanges, BotFilter, Condition, Domain, Ending, Error, LeaseId, NewBot, PageRequest, Result, Revocation,
};

/// Whatever a farm shows, as people and logs would see it.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn add(&mut self, what: &impl Debug) {
        writeln!(self.0, "{what:?}\n{what:#?}").expect("a text has room");
    }

    fn add_error<T: Debug>(&mut self, answer: Result<T>) {
        let error = answer.expect_err("this call is refused");
        self.add(&error);
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            writeln!(self.0, "{error}\n{error:?}").expect("a text has room");
            cause = error.source();
        }
    }

    fn prove_clean(&self, passwords: &[&NewBot], ids: &[LeaseId]) {
        for bot in passwords {
            let shows = self.0.contains(bot.password.expose());
            assert!(!shows, "a password is never listed, never in an error, and redacted in `Debug`");
        }
        for id in ids {
            let id = id.as_uuid();
            let shows = self.0.contains(&id.to_string()) || self.0.contains(&id.simple().to_string());
            assert!(!shows, "a lease id is its holder's secret, and shown to nobody else");
        }
    }
}

pub async fn secrets_are_shown_to_the_holder_alone(trial: Trial) {
    let new = [trial.new_bot(), trial.new_bot()];
    let bots = [trial.keep(new[0].clone()).await, trial.keep(new[1].clone()).await];
    let lease = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
    assert_eq!(lease.bots[0].password, new[0].password, "the holder gets the real password");
    let farm = trial.farm();
    let mut shown = Shown::default();
    shown.add(&new);
    shown.add(&lease);
    shown.add(&farm.lookup(lease.id).await.expect("it is in force"));
    shown.add(&farm.get(bots[0].id).await.expect("it is there"));
    let own = BotFilter { project: Some(trial.project()), ..BotFilter::default() };
    shown.add(&farm.list(&own, &PageRequest::default()).await.expect("bots can be listed"));
    shown.add(&farm.leases(&PageRequest::first(PageRequest::MAX)).await.expect("leases can be listed"));
    shown.add(&farm.history(bots[0].id, &PageRequest::default()).await.expect("it can be read"));
    shown.add(&farm.stats().await.expect("a farm counts its bots"));
    for farm in trial.farms() {
        shown.add(farm);
    }
    shown.prove_clean(&[&new[0], &new[1]], &[lease.id]);
}

pub async fn errors_keep_secrets(trial: Trial) {
    let [known, other] = [trial.new_bot(), trial.new_bot()];
    let bot = trial.keep(known.clone()).await;
    let farm = trial.farm();
    let expired = trial.ask(trial.any()).ttl(policy().min_ttl);
    farm.acquire(expired.clone()).await.expect("it is free");
    let held = trial.take_in_time(trial.any()).await;
    let retry = trial.ask(trial.any()).id(expired.id);
    let mut shown = Shown::default();
    shown.add_error(farm.create(NewBot { password: other.password.clone(), ..known.clone() }).await);
    shown.add_error(farm.import(vec![other.clone(), other.clone()], false).await);
    shown.add_error(farm.import(vec![NewBot { domain: Domain::REGULAR, ..known.clone() }], false).await);
    let changes = BotChanges {
        password: Some(other.password.clone()),
        condition: Some(Condition::Broken),
        ..BotChanges::default()
    };
    shown.add_error(farm.update(bot.id, changes).await);
    shown.add_error(farm.delete(bot.id).await);
    shown.add_error(farm.lookup(expired.id).await);
    shown.add_error(farm.renew(expired.id, None).await);
    shown.add_error(farm.release(expired.id, Ending::clean()).await);
    shown.add_error(farm.acquire(retry).await);
    shown.add_error(farm.acquire(trial.ask(trial.any())).await);
    shown.add_error(farm.acquire(trial.ask(trial.named(&bot))).await);
    shown.add_error(farm.acquire(trial.ask(trial.any().domain(Domain::REGULAR))).await);
    shown.add_error(farm.acquire(trial.ask_many([])).await);
    shown.add_error(farm.renew(held.id, Some(policy().max_ttl * 2)).await);
    let unknown = LeaseId::new();
    shown.add_error(farm.lookup(unknown).await);
    let revocation = Revocation::new(text("needed"), trial.holder());
    farm.revoke(bot.id, revocation).await.expect("a held bot can be taken away");
    let lost = farm.renew(held.id, None).await;
    assert!(matches!(lost, Err(Error::LeaseLost(_))), "a revoked lease is lost: {lost:?}");
    shown.add_error(lost);
    shown.prove_clean(&[&known, &other], &[held.id, expired.id, unknown]);
}
