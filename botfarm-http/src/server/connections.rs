//! The connections that are open: how many there may be, and which has to go when there are too many.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// How many connections there may be. One that does nothing takes some 15 KB.
const OPEN: usize = 4_096;

/// How many more there may be for a moment, to hear whether the service is alive.
const SPARE: usize = 64;

/// How long a spare connection may take.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// How long a connection may be open without a request.
const IDLE: Duration = Duration::from_secs(90);

/// How long an answer may wait for who has asked for it to read on.
const READ: Duration = Duration::from_secs(30);

/// How much of answers may wait to be read, in bytes, of all connections together; when it is more, those go first
/// whose answers have waited longest.
const UNREAD: usize = 32 << 20;

/// How long an answer must have waited to be worth cutting: whoever reads at all has read by then.
const HASTE: Duration = Duration::from_millis(100);

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    /// How much of answers waits to be read.
    unread: AtomicU64,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    id: u64,
    opened: Instant,
    /// It is one too many: it is told whether the service is alive, and nothing else.
    pub(super) spare: bool,
    work: Mutex<Work>,
    close: Notify,
}

#[derive(Debug)]
struct Work {
    /// How many requests are under way, up to the end of their answers.
    requests: usize,
    /// Since when there is none.
    idle_since: Instant,
    /// The answers under way: since when each waits to be read; `None` while it waits for the service.
    answers: HashMap<u64, Option<Instant>>,
    next: u64,
}

/// A place among the connections. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place(pub(super) Arc<Connection>);

impl Connections {
    pub(super) fn new() -> Arc<Self> {
        Self::of(OPEN.min(files()))
    }

    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default(), next: AtomicU64::new(0), unread: AtomicU64::new(0) })
    }

    /// A place for one more. When all are taken, the one that has done nothing for longest is closed; when all are at
    /// work, the place is a spare one.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let mut open = self.open.lock();
        let full = open.len() >= self.most && open.values().filter(|one| !one.spare).count() >= self.most;
        let spare = full && !Self::close_idle(&open);
        if spare {
            let oldest = open.values().filter(|one| one.spare).min_by_key(|one| one.id);
            if open.values().filter(|one| one.spare).count() >= SPARE
                && let Some(oldest) = oldest
            {
                oldest.close.notify_one();
            }
        }
        let (id, now) = (self.next.fetch_add(1, Ordering::Relaxed), Instant::now());
        let work = Work { requests: 0, idle_since: now, answers: HashMap::new(), next: 0 };
        let (work, close) = (Mutex::new(work), Notify::new());
        let connection = Arc::new(Connection { all: self.clone(), id, opened: now, spare, work, close });
        open.insert(id, connection.clone());
        Place(connection)
    }

    /// Closes the connection that has done nothing for longest, if there is one.
    fn close_idle(open: &HashMap<u64, Arc<Connection>>) -> bool {
        let idle = open.values().filter(|one| !one.spare);
        let idle = idle.filter_map(|one| one.idle_since().map(|since| (since, one.id, one)));
        let Some((.., longest)) = idle.min_by_key(|(since, id, _)| (*since, *id)) else { return false };
        longest.leave();
        true
    }

    /// Closes what has been open for too long without anything happening on it.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for connection in self.open.lock().values() {
            let idle = connection.idle_since().is_some_and(|since| now - since > IDLE);
            let unread = connection.unread_since().is_some_and(|since| now - since > READ);
            let spent = connection.spare && now - connection.opened > SPARE_TIME;
            if idle || unread || spent {
                connection.close.notify_one();
            }
        }
    }

    /// Closes the connections whose answers have waited longest, when too much of answers waits.
    fn relieve(&self) {
        if self.unread.load(Ordering::Relaxed) <= UNREAD as u64 {
            return;
        }
        let now = Instant::now();
        let open = self.open.lock();
        let waiting = open.values().filter_map(|one| one.unread_since().map(|since| (since, one)));
        if let Some((since, longest)) = waiting.min_by_key(|(since, _)| *since)
            && now - since > HASTE
        {
            tracing::warn!("too much of answers waits to be read: the connection that has read least is closed");
            longest.close.notify_one();
        }
    }
}

impl Connection {
    /// A request is under way from now on, until what this gives is dropped.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        self.work.lock().requests += 1;
        UnderWay(self.clone())
    }

    /// Resolves when the connection is to be closed.
    pub(super) async fn is_closed(&self) {
        self.close.notified().await;
    }

    fn idle_since(&self) -> Option<Instant> {
        let work = self.work.lock();
        (work.requests == 0).then_some(work.idle_since)
    }

    fn unread_since(&self) -> Option<Instant> {
        self.work.lock().answers.values().flatten().min().copied()
    }

    /// Closes it, and counts it as busy until it is gone, so that the next one in need of a place closes another.
    fn leave(&self) {
        self.work.lock().requests += 1;
        self.close.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.open.lock().remove(&self.0.id);
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Connection>);

impl UnderWay {
    /// An answer of so many bytes begins to wait for being read.
    pub(super) fn answer(self, bytes: u64) -> Answer {
        let id = {
            let mut work = self.0.work.lock();
            work.next += 1;
            let id = work.next;
            work.answers.insert(id, Some(Instant::now()));
            id
        };
        self.0.all.unread.fetch_add(bytes, Ordering::Relaxed);
        self.0.all.relieve();
        Answer { request: self, id, bytes }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.requests -= 1;
        work.idle_since = Instant::now();
    }
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Answer {
    request: UnderWay,
    id: u64,
    bytes: u64,
}

impl Answer {
    /// The answer waits to be read on, or else for the service.
    pub(super) fn waits_to_be_read(&self, waits: bool) {
        let since = waits.then(Instant::now);
        self.request.0.work.lock().answers.insert(self.id, since);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.request.0.work.lock().answers.remove(&self.id);
        self.request.0.all.unread.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How many connections the process may open, with some files left for the rest.
fn files() -> usize {
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limit.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(OPEN, |soft| soft.saturating_sub(SPARE + 100).max(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of them is to be closed.
    async fn closed(places: &[&Place]) -> Vec<bool> {
        let mut closed = Vec::new();
        for place in places {
            closed.push(tokio::time::timeout(Duration::ZERO, place.0.is_closed()).await.is_ok());
        }
        closed
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_idled_longest_makes_room() {
        let all = Connections::of(3);
        let [first, second, third] = [all.enter(), all.enter(), all.enter()];
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first.0.request());
        let fourth = all.enter();
        assert_eq!(closed(&[&first, &second, &third, &fourth]).await, [false, true, false, false]);
        assert!(!fourth.0.spare);
        let fifth = all.enter();
        assert_eq!(closed(&[&first, &third, &fourth, &fifth]).await, [false, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_at_work_there_are_a_few_spare_places_for_a_moment() {
        let all = Connections::of(2);
        let [first, second] = [all.enter(), all.enter()];
        let _work = [first.0.request(), second.0.request()];
        let spare: Vec<_> = (0..SPARE).map(|_| all.enter()).collect();
        assert!(spare.iter().all(|place| place.0.spare));
        let _one_more = all.enter();
        assert_eq!(closed(&[&first, &second, &spare[0], &spare[1]]).await, [false, false, true, false]);
        all.sweep();
        assert_eq!(closed(&[&spare[1]]).await, [false]);
        tokio::time::advance(SPARE_TIME + Duration::from_secs(1)).await;
        all.sweep();
        assert_eq!(closed(&[&first, &spare[1]]).await, [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_an_answer_is_closed_and_who_waits_for_one_is_not() {
        let all = Connections::of(10);
        let [reads, waits, idle] = [all.enter(), all.enter(), all.enter()];
        let [unread, unsent] = [reads.0.request().answer(1), waits.0.request().answer(1)];
        unsent.waits_to_be_read(false);
        tokio::time::advance(READ + Duration::from_secs(1)).await;
        all.sweep();
        assert_eq!(closed(&[&reads, &waits, &idle]).await, [true, false, false]);
        drop(unread);
        tokio::time::advance(IDLE).await;
        all.sweep();
        assert_eq!(closed(&[&waits, &idle]).await, [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_much_waits_to_be_read_the_longest_unread_goes() {
        let all = Connections::of(10);
        let [first, second] = [all.enter(), all.enter()];
        let _unread = first.0.request().answer(UNREAD as u64);
        tokio::time::advance(Duration::from_millis(1)).await;
        let _one_more = second.0.request().answer(1);
        assert_eq!(closed(&[&first, &second]).await, [false, false], "they have had no time to read");
        tokio::time::advance(2 * HASTE).await;
        let _and_another = second.0.request().answer(1);
        assert_eq!(closed(&[&first, &second]).await, [true, false]);
    }
}
