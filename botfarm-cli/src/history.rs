//! `botfarm history`: who had an account, and when.

use std::process::ExitCode;

use botfarm_core::{LeaseRecord, PageRequest};
use botfarm_http::wire;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, dated, lasting},
    user,
};

/// Lists who had an account, newest first, and how each lease ended
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The account: its login, its env and login as in stage/qa-7, or its id
    #[arg(value_name = "USER")]
    user: String,

    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    output: Output,
}

impl History {
    /// Lists it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let farm = client::connect(&config).await?;
        let bot = user::find(&*farm, &self.user).await?;
        let mut records: Vec<LeaseRecord> = Vec::new();
        let mut page = PageRequest::first(self.limit.clamp(1, PageRequest::MAX));
        while records.len() < self.limit {
            let listed = farm.history(bot.id, &page).await?;
            records.extend(listed.items);
            if listed.next.is_none() {
                break;
            }
            page = page.after(listed.next);
        }
        records.truncate(self.limit);
        let rows: Vec<_> = records.iter().map(row).collect();
        let json: Vec<_> = records.into_iter().map(wire::HistoryRow::from).collect();
        self.output.list(&json, ["FROM", "FOR", "HOLDER", "RUN", "OWNER", "ENDED", "NOTE", "URL"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(record: &LeaseRecord) -> [String; 8] {
    let (held, ended) = match &record.end {
        None => (String::new(), "in force".to_owned()),
        Some(end) => {
            let held = lasting(end.at.signed_duration_since(record.from).to_std().unwrap_or_default());
            let outcome = end.outcome.map(|outcome| format!(", {outcome}")).unwrap_or_default();
            let by = end.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            (held, format!("{}{by}{outcome}", end.reason))
        }
    };
    let notes = [record.terms.note.as_ref(), record.end.as_ref().and_then(|end| end.note.as_ref())];
    let notes: Vec<_> = notes.into_iter().flatten().map(ToString::to_string).collect();
    let url = record.terms.url.as_ref().map(ToString::to_string).unwrap_or_default();
    let owner = record.terms.owner.as_ref().map(ToString::to_string).unwrap_or_default();
    let run = record.terms.run.as_ref().map(ToString::to_string).unwrap_or_default();
    [dated(record.from), held, record.terms.holder.to_string(), run, owner, ended, notes.join("; "), url]
}
