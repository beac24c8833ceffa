//! `/history` and `/waiters`: what is seen of all users together.

use std::sync::Arc;

use axum::{extract::OriginalUri, response::Response};
use botfarm_core::{BotFarm, BotFilter, BotId, Env, HandOutFilter, Login, Origin, PageRequest, Result};

use crate::{
    fields::Fields,
    server::{
        auth::Viewer,
        extract::{input::Query, list},
        refusal::Refusal,
    },
    wire::{HandOutRow, Time, Waiter},
};

/// `GET /history`.
pub(crate) async fn history(
    Viewer(app, caller): Viewer,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query).unwrap_or_default();
    let user: Option<String> = query.optional("user");
    let mut filter = HandOutFilter::default();
    filter.holder = query.optional("holder");
    filter.run = query.optional("run");
    filter.project = query.optional("project_id");
    filter.env = query.optional("env");
    filter.since = query.optional("since").map(|Time(since)| since);
    filter.until = query.optional("until").map(|Time(until)| until);
    filter.outcome = query.optional("outcome");
    // Taken before the farm is asked whom this means.
    let turn = app.share.page().await?;
    if let Some(user) = user {
        filter.bot = named(&*app.farm, &user, &mut query).await?;
    }
    let filter = query.finish(filter)?;
    let found = app.farm.hand_outs(&filter, &page).await?.map(|mut hand_out| {
        if !caller.is_auditor() {
            Arc::make_mut(&mut hand_out.record.terms).origin = Origin::default();
        }
        hand_out
    });
    Ok(list::one_page::<_, HandOutRow>(&uri, found, turn))
}

/// The user that is named by its id, its login, or its env and login: `stage/qa-7`.
async fn named(farm: &dyn BotFarm, user: &str, query: &mut Fields) -> Result<Option<BotId>> {
    if let Ok(id) = user.parse() {
        return Ok(Some(id));
    }
    let with_env = user.split_once('/').and_then(|(env, login)| Some((env.parse::<Env>().ok()?, login.parse().ok()?)));
    let (env, login): (_, Option<Login>) = match with_env {
        Some((env, login)) => (Some(env), Some(login)),
        None => (None, user.parse().ok()),
    };
    let mut found = Vec::new();
    for filter in [
        BotFilter { env, login, ..BotFilter::default() },
        BotFilter { login: user.parse().ok(), ..BotFilter::default() },
    ] {
        if found.is_empty() && filter.login.is_some() {
            // A login is unique within an env, so a page is all.
            found = farm.list(&filter, &PageRequest::default()).await?.items;
        }
    }
    match &found[..] {
        [bot] => return Ok(Some(bot.id)),
        [] => query
            .fault("user", "must be the id of a user, its login, or its env and login as in stage/qa-7; there is none"),
        several => {
            let names: Vec<_> = several.iter().take(5).map(|bot| format!("{}/{}", bot.env, bot.login)).collect();
            query.fault("user", format!("is the login of several users; say which: {}", names.join(", ")));
        }
    }
    Ok(None)
}

/// `GET /waiters`.
pub(crate) async fn waiters(
    Viewer(app, _): Viewer,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query);
    query.finish(())?;
    let Some(page) = page else {
        return list::all::<_, Waiter, _, _>(&app.share.clone(), move |page| {
            let app = app.clone();
            async move { app.farm.queue(&page).await }
        })
        .await;
    };
    let turn = app.share.page().await?;
    Ok(list::one_page::<_, Waiter>(&uri, app.farm.queue(&page).await?, turn))
}
