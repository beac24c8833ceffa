//! `/users`: the bots themselves.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{OriginalUri, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use botfarm_core::{BotFilter, BotId, ImportReport, Labels, Location, Origin};

use crate::{
    fields::{Fields, Read as _},
    import::Format,
    server::{
        BASE,
        auth::{Admin, Viewer},
        extract::{
            feed,
            input::{Id, Json as JsonBody, Query, media_type},
            list,
        },
        layers::shares::ImportTurn,
        refusal::Refusal,
    },
    wire::{Code, HistoryRow, NewUser, User, UserChanges},
};

pub(crate) async fn create(Admin(app, caller): Admin, JsonBody(body): JsonBody) -> Result<impl IntoResponse, Refusal> {
    let bot = NewUser::read(body, Location::whole())?.into();
    app.shared.options.names.check(&bot)?;
    let bot = app.farm.create(bot).await?;
    caller.witness().about("user", bot.id);
    let location = format!("{BASE}/users/{}", bot.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(User::from(bot))))
}

pub(crate) async fn import(
    Admin(app, caller): Admin,
    Query(mut query): Query,
    request: Request,
) -> Result<Json<ImportReport>, Refusal> {
    let dry_run = query.flag("dry_run");
    query.finish(())?;
    if dry_run {
        caller.witness().changes_nothing();
    }
    let (parts, body) = request.into_parts();
    let format = media_type(&parts.headers).and_then(|kind| Format::from_media_type(&kind)).ok_or_else(|| {
        let detail = "send the header Content-Type: application/json, application/x-ndjson or text/csv";
        Refusal::new(Code::UnsupportedMediaType, detail)
    })?;
    // One that has been waited for already, to read the body.
    let _turn = match parts.extensions.get::<ImportTurn>() {
        Some(turn) => turn.clone(),
        None => app.shared.shares.import().await?,
    };
    let mut rows = feed::rows(format, body, &app.shared.options).await?;
    let bots = rows.take();
    app.shared.options.names.check_all(&bots).map_err(|error| rows.located(error))?;
    let report = app.farm.import(bots, dry_run).await;
    Ok(Json(report.map_err(|error| rows.located(error))?))
}

pub(crate) async fn list(
    Viewer(app, _): Viewer,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query);
    let filter = BotFilter {
        project: query.optional("project_id"),
        env: query.optional("env"),
        domain: query.optional("domain"),
        login: query.optional("login"),
        condition: query.optional("condition"),
        state: query.optional("state"),
        labels: labels(&mut query),
    };
    let filter = query.finish(filter)?;
    let Some(page) = page else {
        return list::all::<_, User, _, _>(&app.share.clone(), move |page| {
            let (app, filter) = (app.clone(), filter.clone());
            async move { app.farm.list(&filter, &page).await }
        })
        .await;
    };
    let turn = app.share.page().await?;
    Ok(list::one_page::<_, User>(&uri, app.farm.list(&filter, &page).await?, turn))
}

/// `label=key:value` or `label=key=value`, any number of times.
fn labels(query: &mut Fields) -> Labels {
    let texts: Vec<String> = query.optional("label").unwrap_or_default();
    let mut labels = BTreeMap::new();
    for text in texts {
        let Some((key, value)) = Labels::split(&text) else {
            query.fault("label", "must be key:value or key=value");
            continue;
        };
        if labels.insert(key.to_owned(), value.to_owned()).is_some_and(|other| other != value) {
            query.fault("label", "must not ask for two values of one key");
        }
    }
    Labels::try_from(labels).unwrap_or_else(|why| {
        query.fault("label", why.to_string());
        Labels::none()
    })
}

pub(crate) async fn get(Viewer(app, _): Viewer, Id(id): Id<BotId>) -> Result<Json<User>, Refusal> {
    Ok(Json(app.farm.get(id).await?.into()))
}

pub(crate) async fn update(
    Admin(app, _): Admin,
    Id(id): Id<BotId>,
    JsonBody(body): JsonBody,
) -> Result<Json<User>, Refusal> {
    let changes = UserChanges::read(body, Location::whole())?.into();
    app.shared.options.names.check_changes(&changes)?;
    Ok(Json(app.farm.update(id, changes).await?.into()))
}

pub(crate) async fn delete(Admin(app, _): Admin, Id(id): Id<BotId>) -> Result<StatusCode, Refusal> {
    app.farm.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn history(
    Viewer(app, caller): Viewer,
    Id(id): Id<BotId>,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query).unwrap_or_default();
    query.finish(())?;
    let turn = app.share.page().await?;
    let records = app.farm.history(id, &page).await?.map(|record| {
        let mut record = record;
        if !caller.is_auditor() {
            Arc::make_mut(&mut record.terms).origin = Origin::default();
        }
        record
    });
    Ok(list::one_page::<_, HistoryRow>(&uri, records, turn))
}
