//! The trait, call by call.

use std::time::Duration;

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, BotState, Condition, EndedRun, Ending, Error,
    Fault, HandOut, HandOutFilter, ImportReport, Lease, LeaseId, LeaseRecord, LeaseRequest, NewBot, Page, PageRequest,
    QueuedRequest, Result, Revocation, Run, RunEnding, Stats, Timestamp,
};
use form_urlencoded::Serializer;
use http::Method;

use super::{HttpFarm, retry::Repeat, send::Call};
use crate::wire;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BotFarm for HttpFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        let call = Call::new(Method::POST, "/api/v1/users").json(&wire::NewUser::from(bot))?.once();
        Ok(self.service.send(call).await?.json::<wire::User>()?.into())
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        let users: Vec<_> = bots.into_iter().map(wire::NewUser::from).collect();
        let call = Call::new(Method::POST, format!("/api/v1/users/import?dry_run={dry_run}")).json(&users)?.once();
        // A large one takes a while to arrive and to be stored.
        let patience = Duration::from_secs(call.len() as u64 >> 16);
        let report = self.service.send(call.patience(patience)).await;
        report.map_err(without_row_numbers)?.json()
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        Ok(self.service.send(Call::new(Method::GET, user(id, ""))).await?.json::<wire::User>()?.into())
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        let call = Call::new(Method::GET, format!("/api/v1/users?{}", filtered(filter, page)));
        self.service.send(call).await?.page::<wire::User, _>()
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        let call = Call::new(Method::PATCH, user(id, "")).json(&wire::UserChanges::from(changes))?.once();
        Ok(self.service.send(call).await?.json::<wire::User>()?.into())
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.service.send(Call::new(Method::DELETE, user(id, "")).once()).await.map(drop)
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let service = self.service.clone();
        self.service.run(async move { service.acquire(request).await }).await
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        Ok(self.service.send(Call::new(Method::GET, lease(id, ""))).await?.json::<wire::Lease>()?.into())
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let body = wire::Renewal { ttl_seconds: ttl.map(wire::Seconds) };
        let call = Call::new(Method::POST, lease(id, "/renew")).json(&body)?;
        Ok(self.service.send(call).await?.json::<wire::Lease>()?.into())
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        let call = Call::new(Method::DELETE, lease(id, &format!("?{}", ended(&ending))));
        self.service.send(call).await.map(drop)
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        let call = Call::new(Method::POST, user(bot, "/release")).json(&wire::UserRelease::from(release))?.once();
        self.service.send(call).await.map(drop)
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        let call = Call::new(Method::POST, user(bot, "/revoke")).json(&wire::RevokeRequest::from(revocation))?.once();
        self.service.send(call).await.map(drop)
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        let call = Call::new(Method::POST, format!("{}/end", of_run(run))).json(&wire::RunEnd::from(ending))?.once();
        Ok(self.service.send(call).await?.json::<wire::EndedRun>()?.into())
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let call = Call::new(Method::GET, format!("{}?{}", of_run(run), paged(page).finish()));
        self.service.send(call).await?.page::<wire::ActiveLease, _>()
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let call = Call::new(Method::GET, format!("/api/v1/leases?{}", paged(page).finish()));
        self.service.send(call).await?.page::<wire::ActiveLease, _>()
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let call = Call::new(Method::GET, user(bot, &format!("/history?{}", paged(page).finish())));
        self.service.send(call).await?.page::<wire::HistoryRow, _>()
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        let call = Call::new(Method::GET, format!("/api/v1/history?{}", which(filter, page)));
        self.service.send(call).await?.page::<wire::HandOutRow, _>()
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        let call = Call::new(Method::GET, format!("/api/v1/waiters?{}", paged(page).finish()));
        self.service.send(call).await?.page::<wire::Waiter, _>()
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(self.service.send(Call::new(Method::GET, "/api/v1/stats")).await?.json::<wire::Stats>()?.into())
    }

    async fn check(&self) -> Result<()> {
        self.service.send(Call::new(Method::GET, "/health").repeat(Repeat::Briefly)).await.map(drop)
    }
}

fn user(id: BotId, rest: &str) -> String {
    format!("/api/v1/users/{id}{rest}")
}

fn lease(id: LeaseId, rest: &str) -> String {
    format!("/api/v1/leases/{}{rest}", id.as_uuid())
}

/// Names of runs have blanks and slashes in them.
fn of_run(run: &Run) -> String {
    run.bytes().fold("/api/v1/runs/".to_owned(), |path, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
            path + char::from(byte).encode_utf8(&mut [0; 4])
        }
        other => format!("{path}%{other:02X}"),
    })
}

pub(super) fn paged(page: &PageRequest) -> Serializer<'static, String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &page.limit.to_string());
    if let Some(cursor) = &page.cursor {
        query.append_pair("cursor", cursor.as_str());
    }
    query
}

fn filtered(filter: &BotFilter, page: &PageRequest) -> String {
    let mut query = paged(page);
    let BotFilter { project, env, domain, login, condition, state, labels } = filter;
    let words = [
        ("project_id", project.as_deref()),
        ("env", env.as_deref()),
        ("domain", domain.as_deref()),
        ("condition", condition.map(Condition::as_str)),
        ("state", state.map(BotState::as_str)),
        ("login", login.as_deref()),
    ];
    query.extend_pairs(words.into_iter().filter_map(|(name, word)| Some((name, word?))));
    query.extend_pairs(labels.iter().map(|(key, value)| ("label", format!("{key}:{value}"))));
    query.finish()
}

fn which(filter: &HandOutFilter, page: &PageRequest) -> String {
    let mut query = paged(page);
    let HandOutFilter { holder, run, bot, project, env, since, until, outcome, .. } = filter;
    let time = |at: &Option<Timestamp>| at.map(|at| wire::Time(at).to_string());
    let words = [
        ("holder", holder.as_ref().map(ToString::to_string)),
        ("run", run.as_ref().map(ToString::to_string)),
        ("user", bot.map(|bot| bot.to_string())),
        ("project_id", project.as_ref().map(ToString::to_string)),
        ("env", env.as_ref().map(ToString::to_string)),
        ("since", time(since)),
        ("until", time(until)),
        ("outcome", outcome.map(|outcome| outcome.to_string())),
    ];
    query.extend_pairs(words.into_iter().filter_map(|(name, word)| Some((name, word?))));
    query.finish()
}

fn ended(ending: &Ending) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("outcome", ending.outcome.as_str());
    if let Some(note) = &ending.note {
        query.append_pair("note", note);
    }
    query.finish()
}

/// The service counts rows for people; the farm behind it does not.
fn without_row_numbers(error: Error) -> Error {
    let Error::Invalid { mut faults } = error else { return error };
    for Fault { at, detail } in &mut faults {
        let plain = at.as_row().and_then(|row| detail.strip_prefix(&format!("row {}: ", row + 1)));
        if let Some(plain) = plain {
            *detail = plain.to_owned();
        }
    }
    Error::Invalid { faults }
}
