//! Where a test stops a connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::watch;

/// A point on the way of a statement through a [`Proxy`](super::Proxy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the server gets it: it is never carried out when the connection is cut here.
    Request,
    /// After the server has carried it out, and before it commits: its locks are held, and it is rolled back when the
    /// connection is cut here. A statement outside of a transaction, that is; and only one that was prepared: one of the
    /// simple protocol stops as at `Request`.
    Commit,
    /// After the server has carried it out, committed it if it was outside of a transaction, and answered; before any of
    /// the answer reaches the client.
    Reply,
    /// After this many messages of the answer have reached the client.
    Message(usize),
}

/// How to go on after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Cut,
}

/// A stop that a test has set. Dropping it lets pass what stands there, and whatever comes.
#[must_use = "a stop that is dropped stops nothing"]
#[derive(Debug)]
pub struct Stop {
    mark: Arc<Mark>,
    stops: Stops,
}

impl Stop {
    /// Waits until a connection stands there (or stood there, when it has been cut since).
    ///
    /// Cancel-safe.
    pub async fn reached(&self) {
        let _ = self.mark.reached.subscribe().wait_for(|reached| *reached).await;
    }

    /// Cuts the connection.
    pub fn cut(self) {
        self.mark.verdict.send_replace(Some(Verdict::Cut));
    }

    /// Lets it go on.
    pub fn resume(self) {}
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stops.remove(&self.mark);
        // Later than `cut`, which it must not undo.
        self.mark.verdict.send_if_modified(|verdict| verdict.is_none() && verdict.replace(Verdict::Pass).is_none());
    }
}

/// A stop as the connections see it.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) point: Point,
    text: String,
    /// How many such statements are yet to pass before it.
    before: AtomicUsize,
    executed: watch::Sender<bool>,
    reached: watch::Sender<bool>,
    verdict: watch::Sender<Option<Verdict>>,
}

impl Mark {
    /// Whether this statement is the one. One that is not, but is such a statement, is counted.
    fn is_for(&self, statement: &str) -> bool {
        statement.contains(&self.text)
            && self.before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }

    /// The server has carried out the statement.
    pub(super) fn set_executed(&self) {
        self.executed.send_replace(true);
    }

    /// Waits until the server has carried out the statement.
    pub(super) async fn executed(&self) {
        // The sender is within the mark, so that it is there as long as we are.
        let _ = self.executed.subscribe().wait_for(|executed| *executed).await;
    }

    /// Stands here until the test says how to go on.
    pub(super) async fn stand(&self) -> Verdict {
        self.reached.send_replace(true);
        match self.verdict.subscribe().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(verdict)) => *verdict,
            _ => Verdict::Pass,
        }
    }
}

/// The stops that no connection has come to yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Stops(Arc<Mutex<Vec<Arc<Mark>>>>);

impl Stops {
    pub(super) fn add(&self, point: Point, text: &str, before: usize, verdict: Option<Verdict>) -> Stop {
        let mark = Arc::new(Mark {
            point,
            text: text.to_owned(),
            before: AtomicUsize::new(before),
            executed: watch::Sender::new(false),
            reached: watch::Sender::new(false),
            verdict: watch::Sender::new(verdict),
        });
        self.0.lock().push(mark.clone());
        Stop { mark, stops: self.clone() }
    }

    /// The first that is meant for this statement. It is for this one alone.
    pub(super) fn take(&self, statement: &str) -> Option<Arc<Mark>> {
        let mut marks = self.0.lock();
        let index = marks.iter().position(|mark| mark.is_for(statement))?;
        Some(marks.remove(index))
    }

    fn remove(&self, mark: &Arc<Mark>) {
        self.0.lock().retain(|it| !Arc::ptr_eq(it, mark));
    }
}
