//! What the service counts, and `/metrics`, where Prometheus reads it.
//!
//! Labels are words of few values and ids of projects: never a login, a holder, or the id of a lease or a bot.

use std::time::Duration;

use axum::{
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use botfarm_core::{EndReason, PoolStats, Stats};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use crate::{
    server::{
        auth::Viewer,
        extract::held::held,
        health::PATIENCE,
        refusal::{Refusal, explained},
    },
    wire::Code,
};

/// The format that Prometheus and everything like it reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// In seconds, from an answer out of memory to the longest wait.
const REQUEST_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// In seconds, up to the longest wait of one request.
const WAIT_BUCKETS: [f64; 11] = [0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0];

/// In seconds, from a short test to the longest lease.
const HOLD_BUCKETS: [f64; 12] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 7_200.0, 86_400.0];

/// The status that a request is counted under whose caller hung up before the answer, as nginx has it.
pub(crate) const HUNG_UP: &str = "499";

/// What one service counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    granted: IntCounter,
    exhausted: IntCounter,
    ended: IntCounterVec,
    wait: Histogram,
    hold: Histogram,
    store_errors: IntCounter,
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let build = IntGauge::with_opts(
            opts("botfarm_build_info", "Always 1; the label says which version runs.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        );
        register(&registry, build.expect("is a metric")).set(1);
        let counter = |name, help| register(&registry, IntCounter::with_opts(opts(name, help)).expect("is a metric"));
        let counters = |name, help, labels: &[&str]| {
            register(&registry, IntCounterVec::new(opts(name, help), labels).expect("is a metric"))
        };
        let histogram = |name, help, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, Histogram::with_opts(opts).expect("is a metric"))
        };
        let durations = HistogramOpts::new(
            "botfarm_http_request_duration_seconds",
            "From the head of a request to the head of its answer; a request for a lease may wait in the queue meanwhile.",
        );
        let durations = HistogramVec::new(durations.buckets(REQUEST_BUCKETS.to_vec()), &["method", "route"]);
        let metrics = Self {
            granted: counter(
                "botfarm_leases_granted_total",
                "Leases that this process granted. The same lease asked for again counts once.",
            ),
            exhausted: counter(
                "botfarm_leases_exhausted_total",
                "Requests for a lease that this process answered with exhausted or busy: nothing became free in time.",
            ),
            ended: counters(
                "botfarm_leases_ended_total",
                "How the leases ended that this process granted, whichever process they ended through. An end that was \
                 not seen here is learnt of at a scrape after the lease's time to live.",
                &["reason"],
            ),
            wait: histogram(
                "botfarm_lease_wait_seconds",
                "How long requests took that this process granted a lease; nearly nothing when a bot was free.",
                &WAIT_BUCKETS,
            ),
            hold: histogram(
                "botfarm_lease_hold_seconds",
                "From grant to end, of the leases that botfarm_leases_ended_total counts.",
                &HOLD_BUCKETS,
            ),
            store_errors: counter(
                "botfarm_store_errors_total",
                "Calls of the farm that failed because its store could not be reached, or failed unexpectedly.",
            ),
            requests: counters(
                "botfarm_http_requests_total",
                "Requests, by the pattern of their route. Status 499: the caller hung up before the answer.",
                &["method", "route", "status"],
            ),
            durations: register(&registry, durations.expect("is a metric")),
            registry,
        };
        // Present from the start, so that a rate over the first of them is right.
        for reason in EndReason::ALL {
            metrics.ended.with_label_values(&[reason.as_str()]);
        }
        metrics
    }

    pub(crate) fn granted(&self, wait: Duration) {
        self.granted.inc();
        self.wait.observe(wait.as_secs_f64());
    }

    pub(crate) fn exhausted(&self) {
        self.exhausted.inc();
    }

    pub(crate) fn ended(&self, reason: EndReason, hold: Duration) {
        self.ended.with_label_values(&[reason.as_str()]).inc();
        self.hold.observe(hold.as_secs_f64());
    }

    pub(crate) fn store_failed(&self) {
        self.store_errors.inc();
    }

    /// Counts a request that took this long; `None` when the caller hung up.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: Option<StatusCode>, took: Duration) {
        let method = known(method);
        let status = status.as_ref().map_or(HUNG_UP, StatusCode::as_str);
        self.requests.with_label_values(&[method, route, status]).inc();
        self.durations.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// All of it, as Prometheus reads it; without the farm's own counts when they are not known.
    fn text(&self, stats: Option<&Stats>) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        if let Some(stats) = stats {
            // Made anew each time: a project that has gone is not to be shown on.
            families.extend(bots(stats).collect());
            families.extend(waiters(stats).collect());
        }
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("no two metrics have the same name");
    collector
}

/// A method as a label: callers may make up others.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The bots of the farm: every replica gives the same.
fn bots(stats: &Stats) -> IntGaugeVec {
    let help = "Bots of the farm, each counted once. The same from every process that shares the farm.";
    let bots = IntGaugeVec::new(opts("botfarm_bots", help), &["project_id", "env", "state"]).expect("is a metric");
    let add = |pool: &PoolStats, state: &str, count: u64| {
        let gauge = bots.with_label_values(&[pool.project.as_str(), pool.env.as_str(), state]);
        gauge.add(i64::try_from(count).unwrap_or(i64::MAX));
    };
    for pool in &stats.pools {
        add(pool, "free", pool.free);
        add(pool, "leased", pool.leased);
        add(pool, "cooling", pool.cooling);
        add(pool, "dirty", pool.dirty);
        add(pool, "broken", pool.broken);
    }
    bots
}

fn waiters(stats: &Stats) -> IntGauge {
    let help = "Requests that stand in the farm's queue. The same from every process that shares the farm.";
    let waiters = IntGauge::with_opts(opts("botfarm_waiters", help)).expect("is a metric");
    waiters.set(i64::try_from(stats.waiting).unwrap_or(i64::MAX));
    waiters
}

/// Of the whole farm, hence not for callers who are confined to a part of it.
pub(crate) async fn metrics(Viewer(app, caller): Viewer) -> Result<Response, Refusal> {
    if caller.is_confined() {
        let detail = "the metrics are of the whole farm, and this token is confined to a project or an env";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let turn = app.share.page().await?;
    app.shared.metered.settle().await;
    let stats = match tokio::time::timeout(PATIENCE, app.farm.stats()).await {
        Ok(Ok(stats)) => Some(stats),
        Ok(Err(error)) => {
            tracing::warn!(cause = explained(&error), "the metrics are without the farm's own counts");
            None
        }
        Err(_) => None,
    };
    let text = app.shared.metrics.text(stats.as_ref()).map_err(botfarm_core::Error::backend)?;
    Ok(held(([(header::CONTENT_TYPE, TEXT)], text).into_response(), turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_nobody_knows_makes_no_series_of_its_own() {
        let metrics = Metrics::new();
        for name in ["BREW", "WHEN", "GET"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            metrics.answered(&method, "/health", Some(StatusCode::OK), Duration::ZERO);
        }
        let text = metrics.text(None).unwrap();
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("botfarm_http_requests_total")).collect();
        assert_eq!(
            series,
            [
                r#"botfarm_http_requests_total{method="GET",route="/health",status="200"} 1"#,
                r#"botfarm_http_requests_total{method="other",route="/health",status="200"} 2"#,
            ]
        );
    }
}
