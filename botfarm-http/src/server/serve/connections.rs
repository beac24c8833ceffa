//! The connections that are open: how many there may be, and which has to go when there are too many.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
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
const UNREAD: u64 = 32 << 20;

/// How long an answer must have waited to be worth cutting: whoever reads at all has read by then.
const HASTE: Duration = Duration::from_millis(100);

/// How long after one look at all answers the next may follow, so that no answer pays for the number of connections.
const LOOK: Duration = Duration::from_millis(10);

/// The connections that are open.
#[derive(Debug)]
pub(in crate::server) struct Connections {
    most: usize,
    open: Mutex<Open>,
    next: AtomicU64,
    /// How much of answers waits to be read, in bytes.
    unread: AtomicU64,
    /// When all answers were last looked at.
    looked: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Entry>,
    /// Those without a request that are not spare, by since when.
    idle: BTreeSet<(Instant, u64)>,
    /// The spare ones, the oldest first.
    spare: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// How many requests are under way, up to the end of their answers.
    requests: usize,
    /// Since when there is none.
    idle_since: Instant,
}

/// What is known of a connection.
#[derive(Debug)]
pub(in crate::server) struct Connection {
    all: Arc<Connections>,
    id: u64,
    opened: Instant,
    /// It is one too many: it is told whether the service is alive, and nothing else.
    pub(in crate::server) spare: bool,
    answers: Mutex<Answers>,
    close: Notify,
}

#[derive(Debug, Default)]
struct Answers {
    under_way: HashMap<u64, Unread>,
    next: u64,
}

/// An answer under way: its length in bytes, and since when it waits to be read; `None` while it waits for the service.
#[derive(Debug)]
struct Unread {
    bytes: u64,
    since: Option<Instant>,
}

/// A place among the connections. Given up when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Place(pub(in crate::server) Arc<Connection>);

impl Connections {
    pub(in crate::server) fn new() -> Arc<Self> {
        Self::of(OPEN.min(files()))
    }

    fn of(most: usize) -> Arc<Self> {
        let (open, next, unread, looked) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0), Instant::now());
        Arc::new(Self { most, open, next, unread, looked: Mutex::new(looked) })
    }

    /// A place for one more. When all are taken, the one that has done nothing for longest is closed; when all are at
    /// work, the place is a spare one.
    pub(in crate::server) fn enter(self: &Arc<Self>) -> Place {
        let mut open = self.open.lock();
        let full = open.connections.len() - open.spare.len() >= self.most;
        let spare = full && !open.close_idle();
        if spare && open.spare.len() >= SPARE {
            open.close_oldest_spare();
        }
        let (id, now) = (self.next.fetch_add(1, Ordering::Relaxed), Instant::now());
        let (answers, close) = (Mutex::default(), Notify::new());
        let connection = Arc::new(Connection { all: self.clone(), id, opened: now, spare, answers, close });
        open.connections.insert(id, Entry { connection: connection.clone(), requests: 0, idle_since: now });
        if spare {
            open.spare.insert(id);
        } else {
            open.idle.insert((now, id));
        }
        Place(connection)
    }

    /// Closes what has been open for too long without anything happening on it.
    pub(in crate::server) fn sweep(&self) {
        let now = Instant::now();
        for Entry { connection, requests, idle_since } in self.open.lock().connections.values() {
            let idle = *requests == 0 && now - *idle_since > IDLE;
            let unread = connection.unread_since().is_some_and(|since| now - since > READ);
            let spent = connection.spare && now - connection.opened > SPARE_TIME;
            if idle || unread || spent {
                connection.close.notify_one();
            }
        }
    }

    /// Closes the connections whose answers have waited longest, when too much of answers waits.
    fn relieve(&self) {
        let too_much = || self.unread.load(Ordering::Relaxed).saturating_sub(UNREAD);
        // Where somebody else looks, that is enough.
        let Some(mut looked) = self.looked.try_lock().filter(|_| too_much() > 0) else { return };
        let now = Instant::now();
        if now - *looked < LOOK {
            return;
        }
        *looked = now;
        let open = self.open.lock();
        let connections = open.connections.values().map(|entry| &entry.connection);
        let mut waiting: Vec<_> = connections
            .filter_map(|one| one.unread_since().map(|since| (since, one)))
            .filter(|(since, _)| now - *since > HASTE)
            .collect();
        waiting.sort_unstable_by_key(|(since, one)| Reverse((*since, one.id)));
        let mut left = too_much();
        while left > 0
            && let Some((_, longest)) = waiting.pop()
        {
            left = left.saturating_sub(longest.unread());
            tracing::warn!("too much of answers waits to be read: the connection that has read least is closed");
            longest.close.notify_one();
        }
    }
}

impl Open {
    /// Closes the connection that has done nothing for longest, if there is one. It counts as busy until it is gone, so
    /// that the next one in need of a place closes another.
    fn close_idle(&mut self) -> bool {
        let longest = self.idle.pop_first().and_then(|(_, id)| self.connections.get_mut(&id));
        longest.is_some_and(|longest| {
            longest.requests += 1;
            longest.connection.close.notify_one();
            true
        })
    }

    /// Closes a spare connection, which counts as spare until it is gone.
    fn close_oldest_spare(&self) {
        if let Some(oldest) = self.spare.first().and_then(|id| self.connections.get(id)) {
            oldest.connection.close.notify_one();
        }
    }

    /// A request begins on a connection.
    fn begin(&mut self, id: u64) {
        if let Some(entry) = self.connections.get_mut(&id) {
            entry.requests += 1;
            self.idle.remove(&(entry.idle_since, id));
        }
    }

    /// A request on a connection has ended.
    fn end(&mut self, id: u64) {
        if let Some(entry) = self.connections.get_mut(&id) {
            entry.requests -= 1;
            entry.idle_since = Instant::now();
            if entry.requests == 0 && !entry.connection.spare {
                self.idle.insert((entry.idle_since, id));
            }
        }
    }

    fn leave(&mut self, id: u64) {
        if let Some(entry) = self.connections.remove(&id) {
            self.idle.remove(&(entry.idle_since, id));
            self.spare.remove(&id);
        }
    }
}

impl Connection {
    /// A request is under way from now on, until what this gives is dropped.
    pub(in crate::server) fn request(self: &Arc<Self>) -> UnderWay {
        self.all.open.lock().begin(self.id);
        UnderWay(self.clone())
    }

    /// Resolves when the connection is to be closed.
    pub(in crate::server) async fn is_closed(&self) {
        self.close.notified().await;
    }

    fn unread_since(&self) -> Option<Instant> {
        self.answers.lock().under_way.values().filter_map(|answer| answer.since).min()
    }

    /// How much of its answers waits, in bytes.
    fn unread(&self) -> u64 {
        self.answers.lock().under_way.values().map(|answer| answer.bytes).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.open.lock().leave(self.0.id);
    }
}

/// A request under way.
#[derive(Debug)]
pub(in crate::server) struct UnderWay(Arc<Connection>);

impl UnderWay {
    /// An answer of so many bytes begins to wait for being read.
    pub(in crate::server) fn answer(self, bytes: u64) -> Answer {
        let id = {
            let mut answers = self.0.answers.lock();
            answers.next += 1;
            let id = answers.next;
            answers.under_way.insert(id, Unread { bytes, since: Some(Instant::now()) });
            id
        };
        self.0.all.unread.fetch_add(bytes, Ordering::Relaxed);
        self.0.all.relieve();
        Answer { request: self, id, bytes }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.all.open.lock().end(self.0.id);
    }
}

/// An answer under way.
#[derive(Debug)]
pub(in crate::server) struct Answer {
    request: UnderWay,
    id: u64,
    bytes: u64,
}

impl Answer {
    /// The answer waits to be read on, or else for the service.
    pub(in crate::server) fn waits_to_be_read(&self, waits: bool) {
        if let Some(answer) = self.request.0.answers.lock().under_way.get_mut(&self.id) {
            answer.since = waits.then(Instant::now);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.request.0.answers.lock().under_way.remove(&self.id);
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
        let _unread = first.0.request().answer(UNREAD);
        tokio::time::advance(Duration::from_millis(1)).await;
        let _one_more = second.0.request().answer(1);
        assert_eq!(closed(&[&first, &second]).await, [false, false], "they have had no time to read");
        tokio::time::advance(2 * HASTE).await;
        let _and_another = second.0.request().answer(1);
        assert_eq!(closed(&[&first, &second]).await, [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_go_as_it_takes_and_all_are_looked_at_once_in_a_while() {
        let all = Connections::of(10);
        let places: Vec<_> = (0..4).map(|_| all.enter()).collect();
        let unread: Vec<_> = places[..3].iter().map(|place| place.0.request().answer(UNREAD / 2)).collect();
        tokio::time::advance(2 * HASTE).await;
        let _unread = places[3].0.request().answer(UNREAD / 2);
        let closed_now = async || closed(&places.iter().collect::<Vec<_>>()).await;
        assert_eq!(closed_now().await, [true, true, false, false]);
        drop(unread);
        let [_first, _second] = [places[0].0.request().answer(UNREAD / 2), places[1].0.request().answer(UNREAD)];
        tokio::time::advance(LOOK / 2).await;
        let _third = places[2].0.request().answer(1);
        assert_eq!(closed_now().await, [false; 4], "it has just been looked");
        tokio::time::advance(2 * HASTE).await;
        let _fourth = places[2].0.request().answer(1);
        assert_eq!(closed_now().await, [true, true, false, false]);
    }
}
