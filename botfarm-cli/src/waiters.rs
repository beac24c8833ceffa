//! `botfarm waiters`: who waits, and why.

use std::process::ExitCode;

use botfarm_core::{PageRequest, QueuedRequest};
use botfarm_http::wire;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, ago},
};

/// Lists who waits for accounts, in the order of the queue, and what keeps them
#[derive(Debug, Args)]
pub(crate) struct Waiters {
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    output: Output,
}

impl Waiters {
    /// Lists them.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let farm = client::connect(&config).await?;
        let mut waiting: Vec<QueuedRequest> = Vec::new();
        // What keeps them is told for the first fifty of a page.
        let mut page = PageRequest::first(self.limit.clamp(1, 50));
        while waiting.len() < self.limit {
            let listed = farm.queue(&page).await?;
            waiting.extend(listed.items);
            if listed.next.is_none() {
                break;
            }
            page = page.after(listed.next);
        }
        waiting.truncate(self.limit);
        let rows: Vec<_> = waiting.iter().map(row).collect();
        let json: Vec<_> = waiting.into_iter().map(wire::Waiter::from).collect();
        self.output.list(&json, ["PLACE", "HOLDER", "RUN", "HOLDS", "SINCE", "WANTS", "WHY", "URL"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(request: &QueuedRequest) -> [String; 8] {
    let wants: Vec<_> = request.selectors.iter().map(ToString::to_string).collect();
    let reason = request.reason.clone().unwrap_or_default();
    let since = if request.alive { ago(request.since) } else { format!("{}, gone", ago(request.since)) };
    [
        request.place.to_string(),
        request.terms.holder.to_string(),
        request.terms.run.as_ref().map(ToString::to_string).unwrap_or_default(),
        request.holds.to_string(),
        since,
        wants.join(" and "),
        reason,
        request.terms.url.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}
