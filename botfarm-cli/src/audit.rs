//! `botfarm audit`: who did what.

use std::process::ExitCode;

use botfarm_core::{
    Holder, Page, PageRequest, Subject,
    audit::{AuditEntry, AuditFilter},
};
use botfarm_http::wire::AuditRow;
use chrono::{TimeDelta, Utc};
use clap::Args;

use crate::{
    config::Config,
    directory::Directory,
    failure::Failure,
    output::{Output, dated},
    span::with_unit,
};

/// Lists who did what, newest first: writes, logins, looks at passwords, refusals
///
/// Who was given which account, and how that ended, is in `botfarm history`. --farm postgres://… and sqlite:… read the
/// store itself, --farm http(s)://… asks a service, with an admin's BOTFARM_TOKEN.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Of this one: its name, or operator or token and its id
    #[arg(long, value_name = "WHO")]
    principal: Option<Holder>,

    /// Of this method and route, such as "DELETE /users/{id}"
    #[arg(long, value_name = "ACTION")]
    action: Option<Subject>,

    /// About this: user, operator or token and its id
    #[arg(long, value_name = "OBJECT")]
    object: Option<Subject>,

    /// Of the time since then, such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = with_unit)]
    since: Option<std::time::Duration>,

    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    output: Output,
}

impl Audit {
    /// Lists it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Self { principal, action, object, since, limit, output } = self;
        let since = since.and_then(|since| Utc::now().checked_sub_signed(TimeDelta::from_std(since).ok()?));
        let filter = AuditFilter { principal, action, object, since };
        let directory = Directory::open(&config).await?;
        let mut entries: Vec<AuditEntry> = Vec::new();
        let mut page = PageRequest::first(limit.clamp(1, PageRequest::MAX));
        while entries.len() < limit {
            let Page { items, next } = directory.audit(&filter, &page).await?;
            entries.extend(items);
            if next.is_none() {
                break;
            }
            page = page.after(next);
        }
        entries.truncate(limit);
        let rows: Vec<_> = entries.iter().map(row).collect();
        let json: Vec<_> = entries.into_iter().map(AuditRow::from).collect();
        output.list(&json, ["AT", "WHO", "ACTION", "OBJECT", "RESULT", "TIMES", "ADDRESS", "REQUEST"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(AuditEntry { at, act }: &AuditEntry) -> [String; 8] {
    let shown = |text: Option<&str>| text.unwrap_or_default().to_owned();
    [
        dated(*at),
        act.name.as_deref().or(act.principal.as_deref()).unwrap_or("anonymous").to_owned(),
        act.action.to_string(),
        shown(act.object.as_deref()),
        act.result.to_string(),
        act.count.to_string(),
        act.origin.address.map(|address| address.to_string()).unwrap_or_default(),
        shown(act.origin.request.as_deref()),
    ]
}
