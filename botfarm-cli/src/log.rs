//! Logs, to stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::failure::Failure;

/// How logs are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line, for programs
    Json,
}

/// Starts to log: what `RUST_LOG` says, or from the level of `LOG_LEVEL` on, or `info` and above. What is logged goes to `also`, too, which has a filter of
/// its own.
///
/// # Errors
/// When `RUST_LOG` or `LOG_LEVEL` cannot be read.
pub(crate) fn start<L>(format: LogFormat, also: Option<L>) -> Result<(), Failure>
where
    L: Layer<Registry> + Send + Sync,
{
    let level = match std::env::var("LOG_LEVEL").as_deref() {
        Err(_) | Ok("") => LevelFilter::INFO,
        Ok(level) => level_of(level).ok_or_else(|| {
            Failure::usage("LOG_LEVEL is no level; give error, warning, info, debug or trace, or set RUST_LOG")
        })?,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env()
        .map_err(|error| Failure::usage(format!("RUST_LOG: {error}; give a level, such as debug")))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours()).with_target(false).boxed(),
        // The span of a request has no other around it.
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(also).with(lines.with_filter(filter)).init();
    Ok(())
}

/// The level of this name, as the programs of other languages call them, too.
fn level_of(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "warning" => Some(LevelFilter::WARN),
        "critical" | "fatal" => Some(LevelFilter::ERROR),
        name => name.parse().ok(),
    }
}

/// Whether a person is looking who has not asked for plain text (`NO_COLOR`).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
