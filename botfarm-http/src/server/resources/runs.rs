//! `/runs`: what one CI run or test session has leased, and its end.

use axum::{Json, extract::OriginalUri, response::Response};
use botfarm_core::{Ending, Location, Run, RunEnding};

use crate::{
    fields::Read as _,
    server::{
        auth::{Tester, Viewer},
        extract::{
            input::{Named, OptionalJson, Query},
            list,
        },
        refusal::Refusal,
    },
    wire::{ActiveLease, EndedRun, RunEnd},
};

/// Ends what the caller has leased as a part of the run; an admin who is not confined ends all of it.
pub(crate) async fn end(
    Tester(app, caller): Tester,
    Named(run): Named<Run>,
    OptionalJson(body): OptionalJson,
) -> Result<Json<EndedRun>, Refusal> {
    let RunEnd { outcome, note, by } = RunEnd::read(body, Location::whole())?;
    // The history is to be trusted: whoever is known does not choose a name.
    let by = by.filter(|_| !caller.is_known()).unwrap_or_else(|| caller.name());
    let ending = RunEnding::new(by).ending(Ending { outcome, note }).owner(if caller.is_confined() {
        caller.owner()
    } else {
        caller.releases()
    });
    let ended = app.farm.end_run(&run, ending).await?;
    caller.witness().about("run", &run);
    Ok(Json(ended.into()))
}

pub(crate) async fn list(
    Viewer(app, _): Viewer,
    Named(run): Named<Run>,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query);
    query.finish(())?;
    let Some(page) = page else {
        return list::all::<_, ActiveLease, _, _>(&app.share.clone(), move |page| {
            let (app, run) = (app.clone(), run.clone());
            async move { app.farm.leases_of_run(&run, &page).await }
        })
        .await;
    };
    let turn = app.share.page().await?;
    Ok(list::one_page::<_, ActiveLease>(&uri, app.farm.leases_of_run(&run, &page).await?, turn))
}
