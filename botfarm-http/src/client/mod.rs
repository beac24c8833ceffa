//! A farm over the network.

mod acquire;
mod audit;
mod builder;
mod farm;
mod operators;
mod retry;
mod send;

use std::{fmt, sync::Arc};

use botfarm_core::Result;

pub use self::builder::HttpFarmBuilder;
use self::send::Service;

/// The farm behind a service, over REST. It rebuilds the very values and errors of that farm.
///
/// Calls may come from any runtime: the connections live on botfarm's own (see [`botfarm_core::background`]). A clone
/// shares them. `Debug` does not show the token.
///
/// # Networks fail
///
/// What gets no answer, half of one, or a `502`, `503`, `504`, `408` or `429` is sent again, after pauses that grow and
/// are up to chance, or as long as the service asks for in `Retry-After`. That is safe, since done twice it is as if
/// done once:
///
/// | calls | why |
/// |---|---|
/// | `get`, `list`, `lookup`, `leases`, `history`, `stats` | look, and change nothing |
/// | `acquire`, `renew`, `release` | name the lease, whose id the caller chose: the same lease is given again |
/// | `create`, `import`, `update`, `delete`, `release_bot`, `revoke` | carry an `Idempotency-Key`: the service gives the first answer again, for ten minutes |
///
/// A key is known to the process that answered. If that one is gone, or another replica gets the second request, the
/// call is done again, and its answer tells of what the first has done: `LoginTaken` for the bot that was just
/// created, `NoSuchBot` for the one just deleted, `unchanged` for rows just imported.
///
/// What the admins' calls change here (operators, tokens) is sent again only when the service has not seen it,
/// `check` for a moment. A call that is dropped sends nothing more.
///
/// A lease whose TTL is over before a lost answer was asked for again has ended, and `acquire` says so by `LeaseLost`.
///
/// ```no_run
/// # use botfarm_core::{BotFarmExt, Env, LeaseRequest, Selector};
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// let farm = botfarm_http::HttpFarm::new("http://127.0.0.1:8000")?;
/// let lease = farm.lease(LeaseRequest::new("checkout test".parse()?, Selector::any().env(Env::STAGE))).await?;
/// println!("logging in as {}", lease.bot().bot.login);
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpFarm {
    service: Arc<Service>,
}

impl HttpFarm {
    /// The farm at this URL, with or without `/api/v1`, asked without a token. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when it is not the URL of a service.
    pub fn new(url: &str) -> Result<Self> {
        Self::builder(url).build()
    }

    /// The farm at this URL, with more to be said about it.
    pub fn builder(url: &str) -> HttpFarmBuilder {
        HttpFarmBuilder::new(url)
    }
}

impl fmt::Debug for HttpFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFarm").field("url", &self.service.root).finish_non_exhaustive()
    }
}
