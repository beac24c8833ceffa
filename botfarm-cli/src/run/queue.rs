//! Stands in the queue, and says why.

use std::{fmt, time::Duration};

use botfarm_core::{
    BootTime, BotFarm, Ending, Error, Lease, LeaseId, LeaseRequest, Page, PageRequest, Shortage, meant_by,
};
use rustix::process::Signal;

use super::{say, signals::Signals, stopped};
use crate::{
    failure::Failure,
    output::{ago, lasting},
};

/// How often the reason is given.
const SLICE: Duration = Duration::from_secs(10);

/// How long the first attempt takes before the reason is given for the first time.
const FIRST_SLICE: Duration = Duration::from_secs(1);

/// How long a farm may be out of reach while somebody stands in its queue: as long as it keeps the place.
const OUTAGE: Duration = Duration::from_secs(30);

/// How long a release may take that ends nothing any more, or at worst a lease that nobody has.
const LEAVING: Duration = Duration::from_secs(1);

/// How long it may take to find out who holds what.
const EXPLAINING: Duration = Duration::from_secs(2);

/// How many holders are named.
const NAMED: usize = 5;

/// Leases what `request` says within `wait`. Asks in slices under one lease id, which keeps the place in the queue.
/// Gives the lease, and when it was asked for.
///
/// A signal ends the wait and leaves the queue.
///
/// # Errors
/// With the exit code: 124 when nothing became free in time, 128 + n for a signal, 125 for everything else.
pub(crate) async fn acquire(
    farm: &dyn BotFarm,
    request: LeaseRequest,
    wait: Duration,
    signals: &mut Signals,
) -> Result<(Lease, BootTime), Failure> {
    let until = BootTime::now().after(wait);
    let mut slice = FIRST_SLICE;
    let mut unreachable_since = None;
    // What was said, and when.
    let mut said: Option<(&str, BootTime)> = None;
    loop {
        let asked = BootTime::now();
        let next = asked.after(slice.min(until.left()));
        let attempt = farm.acquire(request.clone().wait(next.left()));
        let error = tokio::select! {
            granted = attempt => match granted {
                Ok(lease) => return Ok((lease, asked)),
                Err(error) => error,
            },
            signal = signals.next() => return Err(left(farm, request.id, signal).await),
        };
        let next = match &error {
            Error::Busy(_) | Error::Exhausted(_) if until.left().is_zero() => {
                let hint = if wait.is_zero() { " (--wait 5m stands in the queue for 5 minutes)" } else { "" };
                return Err(Failure::coded(124, format!("{error}{hint}")));
            }
            Error::Busy(_) | Error::Exhausted(_) => {
                unreachable_since = None;
                // A farm may count the wait in whole seconds, and be early.
                next
            }
            Error::Unavailable { retry_after, .. } => {
                let since = *unreachable_since.get_or_insert(asked);
                if BootTime::now().since(since) >= OUTAGE || until.left().is_zero() {
                    return Err(Failure::from(error));
                }
                BootTime::now().after((*retry_after).clamp(Duration::from_millis(500), Duration::from_secs(5)))
            }
            Error::NoMatch { .. } => return Err(hopeless(farm, &request, error).await),
            _ => return Err(Failure::from(error)),
        };
        slice = SLICE;
        let now = BootTime::now();
        if said.is_none_or(|(code, at)| code != error.code() || now.since(at) > SLICE * 9 / 10) {
            tokio::select! {
                _ = tokio::time::timeout(EXPLAINING, explain(farm, &request, &error, until)) => {}
                signal = signals.next() => return Err(left(farm, request.id, signal).await),
            }
            said = Some((error.code(), now));
        }
        tokio::select! {
            () = next.min(until).come() => {}
            signal = signals.next() => return Err(left(farm, request.id, signal).await),
        }
    }
}

/// That no account could ever match, and what may have been meant, unless a service has said so already.
async fn hopeless(farm: &dyn BotFarm, request: &LeaseRequest, error: Error) -> Failure {
    let meant = match &error {
        Error::NoMatch { selector, detail } if !detail.contains("did you mean") => {
            match request.selectors.get(*selector) {
                Some(selector) => tokio::time::timeout(EXPLAINING, meant_by(selector, farm)).await.ok().flatten(),
                None => None,
            }
        }
        _ => None,
    };
    match meant {
        Some(meant) => Failure::new(format!("{error}; did you mean {meant}?")),
        None => Failure::from(error),
    }
}

/// Leaves the queue: the call is dropped by now. Should its grant be on the way all the same, it is given back.
async fn left(farm: &dyn BotFarm, id: LeaseId, signal: Signal) -> Failure {
    let _ = tokio::time::timeout(LEAVING, farm.release(id, Ending::clean())).await;
    stopped(signal, "left the queue")
}

/// Says what is waited for, and who has it.
async fn explain(farm: &dyn BotFarm, request: &LeaseRequest, error: &Error, until: BootTime) {
    let more = lasting(until.left());
    let Error::Exhausted(shortage) = error else { return say(format_args!("waiting, {more} more at most: {error}")) };
    let Some(selector) = request.selectors.get(shortage.selector) else { return };
    say(format_args!("waiting for {selector}, {more} more at most: {}", Counts(shortage)));
    // Whoever may not list leases waits all the same.
    let Ok(Page { items, .. }) = farm.leases(&PageRequest::first(PageRequest::MAX)).await else { return };
    let mut holders: Vec<_> = items
        .iter()
        .flat_map(|lease| lease.bots.iter().map(move |(_, bot)| (lease, bot)))
        .filter(|(_, bot)| request.could_take(selector, bot))
        .collect();
    holders.sort_by_key(|(lease, _)| lease.acquired_at);
    for (lease, bot) in holders.iter().take(NAMED) {
        let url = lease.terms.url.as_ref().map(|url| format!(", {url}")).unwrap_or_default();
        say(format_args!("  {} is held by {}, taken {}{url}", bot.login, lease.terms.holder, ago(lease.acquired_at)));
    }
    if let more @ 1.. = holders.len().saturating_sub(NAMED) {
        say(format_args!("  and {more} more"));
    }
}

/// The counts of a shortage, without advice.
struct Counts<'a>(&'a Shortage);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { matching, leased, cooling, out_of_service, waiting, place, .. } = self.0;
        write!(f, "{matching} match, {leased} leased")?;
        for (count, what) in [(cooling, "cooling (at rest after their last lease)"), (out_of_service, "out of service")]
        {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match place {
            Some(place) => write!(f, "; place {place} of {}", waiting.saturating_add(1)),
            None => write!(f, "; {waiting} waiting"),
        }
    }
}
