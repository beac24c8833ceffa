//! `botfarm leases`: who holds what.

use std::process::ExitCode;

use botfarm_core::PageRequest;
use botfarm_http::wire;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, ago, ahead, named},
};

/// Lists who holds which accounts, and since when
#[derive(Debug, Args)]
pub(crate) struct Leases {
    #[command(flatten)]
    output: Output,
}

impl Leases {
    /// Lists them, those held longest first.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let farm = client::connect(&config).await?;
        let (mut leases, mut page) = (Vec::new(), PageRequest::first(PageRequest::MAX));
        loop {
            let listed = farm.leases(&page).await?;
            leases.extend(listed.items);
            if listed.next.is_none() {
                break;
            }
            page = page.after(listed.next);
        }
        leases.sort_by_key(|lease| lease.acquired_at);
        let rows: Vec<_> = leases
            .iter()
            .map(|lease| {
                let users = lease.bots.iter().map(|(alias, bot)| match alias {
                    Some(alias) => format!("{alias}: {}", named(bot)),
                    None => named(bot),
                });
                [
                    users.collect::<Vec<_>>().join(", "),
                    lease.terms.holder.to_string(),
                    lease.terms.run.as_ref().map(ToString::to_string).unwrap_or_default(),
                    ago(lease.acquired_at),
                    ahead(lease.expires_at),
                    lease.terms.url.as_ref().map(ToString::to_string).unwrap_or_default(),
                    lease.terms.note.as_ref().map(ToString::to_string).unwrap_or_default(),
                ]
            })
            .collect();
        let json: Vec<_> = leases.into_iter().map(wire::ActiveLease::from).collect();
        self.output.list(&json, ["USERS", "HOLDER", "RUN", "TAKEN", "EXPIRES", "URL", "NOTE"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}
