//! Projects, envs and domains are called what the team calls them.

use super::{
    answers::{no_match, shortage},
    trial::{Trial, text},
};
use crate::{Bot, BotChanges, BotFilter, Domain, Ending, Env, ImportReport, NewBot, PageRequest, ProjectId, Selector};

/// A bot with names of its own; the project keeps it apart from those of other claims.
fn named(trial: &Trial, project: &str, env: &str, domain: &str) -> NewBot {
    let project: ProjectId = text(&format!("{project}.{}", &trial.project().as_str()[..8]));
    NewBot { project, env: text(env), domain: text(domain), ..trial.new_bot() }
}

pub async fn names_of_a_team_are_kept(trial: Trial) {
    let longest = "x".repeat(64);
    let rows = [
        named(&trial, "shop", "dev", "smoke"),
        named(&trial, "shop", "qa", "smoke"),
        named(&trial, "shop", "eu-west.stage", "regular"),
        NewBot { env: text(&longest), domain: text(&longest), ..named(&trial, "0_0", "dev", "smoke") },
    ];
    let mut bots: Vec<Bot> = Vec::new();
    for new in &rows[..2] {
        bots.push(trial.keep(new.clone()).await);
    }
    let report = trial.farm().import(rows.to_vec(), false).await.expect("a name of the team's own is no fault");
    assert_eq!(report, ImportReport { created: 2, updated: 0, unchanged: 2 }, "accounts are known by their env");
    for row in &rows {
        let selector = Selector::any().project(row.project.clone()).env(row.env.clone()).domain(row.domain.clone());
        let lease = trial.take(selector.clone()).await;
        let Bot { login, project, env, domain, .. } = lease.bot().bot.clone();
        assert_eq!(
            (&login, &project, &env, &domain),
            (&row.login, &row.project, &row.env, &row.domain),
            "a selector gets what it names: {selector}"
        );
        trial.release(&lease).await;
        let filter = BotFilter { project: Some(project), env: Some(env), domain: Some(domain), ..BotFilter::default() };
        let listed = trial.farm().list(&filter, &PageRequest::default()).await.expect("a list by names").items;
        assert_eq!(listed.iter().map(|bot| &bot.login).collect::<Vec<_>>(), [&login], "a list has what it names");
    }
    let moved = named(&trial, "blog", "dev", "nightly");
    let changes = BotChanges {
        project: Some(moved.project.clone()),
        domain: Some(moved.domain.clone()),
        ..BotChanges::default()
    };
    let bot = trial.farm().update(bots[0].id, changes).await.expect("a free bot may be moved");
    assert_eq!((&bot.project, &bot.domain), (&moved.project, &moved.domain));
    let stats = trial.farm().stats().await.expect("a farm counts its bots");
    let pools = stats.pools.into_iter().filter(|pool| pool.project == moved.project);
    let pools: Vec<_> = pools.map(|pool| (pool.env, pool.domain, pool.total)).collect();
    assert_eq!(pools, [(moved.env, moved.domain, 1)], "bots are counted by their names");
}

pub async fn prod_bot_is_leased_to_those_alone_who_name_it(trial: Trial) {
    let prod = trial.keep(NewBot { env: Env::PROD, ..trial.new_bot() }).await;
    no_match(trial.acquire(trial.ask(trial.any())).await, "who names neither env nor bot gets none of prod");
    let stage = trial.bot().await;
    for selector in [trial.any().env(Env::PROD), trial.any().login(prod.login.clone()), Selector::bot(prod.id)] {
        let lease = trial.take(selector.clone()).await;
        assert_eq!(lease.bot().bot.id, prod.id, "the env, the login or the id is name enough: {selector}");
        trial.release(&lease).await;
    }
    let held = trial.take(trial.any()).await;
    assert_eq!(held.bot().bot.id, stage.id, "an empty selector takes what is not of prod");
    let short = shortage(trial.acquire(trial.ask(trial.any())).await, "all that it could take is held");
    assert_eq!(short.matching, 1, "what must be named does not match who does not name it");

    // Neither is a waiter served with it, nor does one stand in the way of those who name it.
    let waiter = trial.park(trial.ask(trial.any())).await;
    let named = trial.take(trial.any().env(Env::PROD)).await;
    trial.end(&named, Ending::clean()).await;
    assert_eq!(
        trial.look(&prod).await.holding,
        None,
        "a prod bot that is given back goes to nobody who did not name it"
    );
    trial.release(&held).await;
    let served = waiter.lease("the bot that it waits for is free").await;
    assert_eq!(served.bot().bot.id, stage.id);
}

pub async fn misspelt_env_is_refused_at_once(trial: Trial) {
    trial.bot().await;
    for (env, domain) in [("stgae", None), ("stage", Some("cannary"))] {
        let selector = Selector { domain: domain.map(text::<Domain>), ..trial.any().env(text(env)) };
        no_match(trial.acquire(trial.ask(selector)).await, "no bot has that name, nor will one get it by itself");
    }
}
