//! `botfarm history`: who had which accounts, and when.

use std::{process::ExitCode, time::Duration};

use botfarm_core::{BotFarm, HandOutFilter, Holder, LeaseRecord, Outcome, Page, PageRequest, Run, Timestamp};
use botfarm_http::wire;
use chrono::{TimeDelta, Utc};
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, dated, lasting},
    span::with_unit,
    user,
};

/// Lists who had accounts, those given back last first, and how each lease ended
///
/// Of one account, the lease in force is listed, too; `botfarm leases` lists those of all.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Of this account: its login, its env and login as in stage/qa-7, or its id
    #[arg(value_name = "USER")]
    user: Option<String>,

    /// Of this holder
    #[arg(long, value_name = "NAME")]
    holder: Option<Holder>,

    /// Of this run
    #[arg(long, value_name = "RUN")]
    run: Option<Run>,

    /// Of leases that ended since then, such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = with_unit)]
    since: Option<Duration>,

    /// Of leases that began before then, such as 30m
    #[arg(long, value_name = "TIME", value_parser = with_unit)]
    until: Option<Duration>,

    /// Of leases that left the account like this: clean, dirty or broken
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<Outcome>,

    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    output: Output,
}

impl History {
    /// Lists it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Self { user, holder, run, since, until, outcome, limit, output } = self;
        let farm = client::connect(&config).await?;
        let bot = match &user {
            Some(user) => Some(user::find(&*farm, user).await?.id),
            None => None,
        };
        let mut filter = HandOutFilter::default();
        (filter.holder, filter.run, filter.outcome) = (holder, run, outcome);
        (filter.since, filter.until) = (since.and_then(before_now), until.and_then(before_now));
        if let Some(bot) = bot.filter(|_| filter == HandOutFilter::default()) {
            let records = take(limit, async |page| farm.history(bot, &page).await).await?;
            let rows: Vec<_> = records.iter().map(row).collect();
            let json: Vec<_> = records.into_iter().map(wire::HistoryRow::from).collect();
            output.list(&json, COLUMNS, rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        filter.bot = bot;
        let hand_outs = take(limit, async |page| farm.hand_outs(&filter, &page).await).await?;
        let rows = hand_outs.iter().map(|hand_out| {
            let [from, held, holder, run, owner, ended, note, url] = row(&hand_out.record);
            [format!("{}/{}", hand_out.env, hand_out.login), from, held, holder, run, owner, ended, note, url]
        });
        let rows: Vec<_> = rows.collect();
        let json: Vec<_> = hand_outs.into_iter().map(wire::HandOutRow::from).collect();
        output.list(&json, ["USER", "FROM", "FOR", "HOLDER", "RUN", "OWNER", "ENDED", "NOTE", "URL"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

const COLUMNS: [&str; 8] = ["FROM", "FOR", "HOLDER", "RUN", "OWNER", "ENDED", "NOTE", "URL"];

fn before_now(time: Duration) -> Option<Timestamp> {
    Utc::now().checked_sub_signed(TimeDelta::from_std(time).ok()?)
}

/// The first items of a list, page by page.
async fn take<T>(
    limit: usize,
    list: impl AsyncFn(PageRequest) -> botfarm_core::Result<Page<T>>,
) -> Result<Vec<T>, Failure> {
    let (mut items, mut page) = (Vec::new(), PageRequest::first(limit.clamp(1, PageRequest::MAX)));
    while items.len() < limit {
        let listed = list(page.clone()).await?;
        items.extend(listed.items);
        if listed.next.is_none() {
            break;
        }
        page = page.after(listed.next);
    }
    items.truncate(limit);
    Ok(items)
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
