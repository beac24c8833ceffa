//! A farm over REST: the service, and the client that is a farm again.
//!
//! - [`router`] and [`serve`] (feature `server`, the default) answer for any [`BotFarm`](botfarm_core::BotFarm).
//! - [`HttpFarm`] (feature `client`) is a farm over the network: it rebuilds the very values and errors of the farm
//!   behind the service.
//! - [`wire`] is what goes between the two, for both ends.
//!
//! ```
//! # #[cfg(feature = "server")]
//! # async fn doc(farm: std::sync::Arc<dyn botfarm_core::BotFarm>) -> std::io::Result<()> {
//! use botfarm_http::{Options, router, serve};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! let interrupted = async { drop(tokio::signal::ctrl_c().await) };
//! serve(listener, router(farm, Options::default()), interrupted).await
//! # }
//! ```
//!
//! # Layout
//! `wire` has the structs. `server` has a file for each kind of thing at the paths (`users`, `locks`, `leases`,
//! `health`), and what they share: `input` reads requests, `refusal` answers those that fail, `list` gives lists,
//! `replay` makes an idempotency key a lease id, `once` does what is sent twice under such a key once, `observe` logs,
//! `audit` records who did what, `auth` finds out who is calling and what they may do, `open` whom to answer where nobody
//! is asked that. `routes` is the table of all paths; `openapi` describes them, and
//! `docs` shows that. `import` reads files of bots, `fields` JSON objects field by field, and `json` refuses objects that
//! have a field twice. `client` has the farm; `send`, the one place where its requests leave; and `retry`, which says when
//! they leave again.
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod fields;
#[cfg(feature = "server")]
pub mod import;
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod server;
#[cfg(any(feature = "client", feature = "server"))]
mod version;
pub mod wire;

#[cfg(feature = "client")]
pub use client::{HttpFarm, HttpFarmBuilder};
#[cfg(feature = "server")]
pub use server::{Hosts, NoOrigin, Options, Origin, ReplaySecret, auth, router, serve, serve_with_notice};
