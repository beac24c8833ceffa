//! The proof, from what the clients saw and what the database wrote down.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use uuid::Uuid;

use crate::{
    order,
    record::{Moment, Record},
};

/// A hand-out in the database's books, with times of the database's clock in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandOut {
    pub(crate) bot: Uuid,
    pub(crate) fence: i64,
    pub(crate) lease: Uuid,
    pub(crate) since: i64,
    /// `None`: in force.
    pub(crate) until: Option<i64>,
    pub(crate) reason: Option<String>,
}

impl HandOut {
    /// It was taken back before anybody had been told of it.
    fn undone(&self) -> bool {
        self.reason.as_deref() == Some("undone")
    }
}

/// The database's books, by bot and fence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books(pub(crate) Vec<HandOut>);

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<String>,
    pub(crate) grants: usize,
    pub(crate) released: usize,
    pub(crate) expired: usize,
    pub(crate) revoked: usize,
    pub(crate) sets: usize,
    /// Statements or replies that were lost.
    pub(crate) lost: usize,
    /// Waiters whose order was compared.
    pub(crate) ordered: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, grants, released, expired, revoked, sets, lost, ordered } = self;
        write!(f, "{grants} grants seen; in the books {released} released, {expired} expired, {revoked} revoked, ")?;
        write!(f, "{sets} leases of several; {ordered} waiters compared; {lost} replies lost; {} faults", faults.len())
    }
}

/// For how long a client believed that it had a bot: not at all, when the grant came to it after its end.
#[derive(Debug, Clone, Copy)]
struct Belief {
    lease: Uuid,
    from: Moment,
    until: Moment,
}

/// Who stood in the queue, by what the database said, and a moment at which each had stood for certain.
pub(crate) type Standing = HashMap<Uuid, Moment>;

/// Proves that each bot had one holder at a time with fences that grow, in the eyes of the clients and in the books, and
/// that these agree; that every answer was whole; and that nobody who came later was served before who stood in the queue.
pub(crate) fn check(records: &[Record], books: &Books, standing: &Standing) -> Report {
    let mut report = Report::default();
    check_books(books, &mut report);
    check_answers(records, &mut report);
    order::check(records, standing, &mut report);
    let beliefs = beliefs(records, books, &mut report);
    check_beliefs(&beliefs, books, &mut report);
    report
}

fn check_books(books: &Books, report: &mut Report) {
    let mut leases: HashMap<Uuid, Vec<&HandOut>> = HashMap::new();
    for hand_out in &books.0 {
        if hand_out.undone() {
            // Nobody has had it, and its id may stand for another hand-out by now.
            continue;
        }
        match hand_out.reason.as_deref() {
            Some("released") => report.released += 1,
            Some("expired") => report.expired += 1,
            Some("revoked") => report.revoked += 1,
            _ => {}
        }
        if hand_out.until.is_some_and(|until| until < hand_out.since) {
            report.faults.push(format!("it ends before it begins: {hand_out:?}"));
        }
        leases.entry(hand_out.lease).or_default().push(hand_out);
    }
    for pair in books.0.windows(2).filter(|pair| pair[0].bot == pair[1].bot) {
        if pair[1].fence <= pair[0].fence {
            report.faults.push(format!("the fence does not grow in the books: {pair:?}"));
        }
        if pair[0].until.is_none_or(|until| until > pair[1].since) {
            report.faults.push(format!("two hand-outs at a time in the books: {pair:?}"));
        }
    }
    for hand_outs in leases.values() {
        if hand_outs.len() > 1 {
            report.sets += 1;
        }
        let bots: HashSet<_> = hand_outs.iter().map(|it| it.bot).collect();
        let ends: HashSet<_> = hand_outs.iter().map(|it| (it.since, it.until, &it.reason)).collect();
        if bots.len() < hand_outs.len() || ends.len() > 1 {
            report.faults.push(format!("a lease was not granted or ended whole, or twice: {hand_outs:?}"));
        }
    }
}

/// Every answer has all bots of the lease.
fn check_answers(records: &[Record], report: &mut Report) {
    let mut sizes: HashMap<Uuid, (usize, HashSet<Uuid>)> = HashMap::new();
    for record in records {
        match *record {
            Record::Grant { lease, size, bot, .. } => {
                let (asked, bots) = sizes.entry(lease).or_insert((size, HashSet::new()));
                bots.insert(bot);
                if *asked != size {
                    report.faults.push(format!("lease {lease} is of {asked} and of {size}"));
                }
            }
            Record::Lost { .. } => report.lost += 1,
            _ => {}
        }
    }
    for (lease, (size, bots)) in &sizes {
        if *size != bots.len() {
            report.faults.push(format!("lease {lease} of {size} was answered with {}", bots.len()));
        }
    }
    for record in records {
        if let Record::Renewed { lease, size, .. } = record
            && sizes.get(lease).is_some_and(|(asked, _)| asked != size)
        {
            report.faults.push(format!("lease {lease} was renewed with {size} bots"));
        }
    }
}

/// How long a call whose end nobody saw may have been under way, in nanoseconds: longer than a statement lasts.
const LONGEST_CALL: Moment = 40_000_000_000;

/// What the clients believed, by bot and fence.
fn beliefs(records: &[Record], books: &Books, report: &mut Report) -> BTreeMap<(Uuid, i64), Belief> {
    let mut until: HashMap<Uuid, Moment> = HashMap::new();
    let mut ended: HashMap<Uuid, Moment> = HashMap::new();
    let mut revoking: HashMap<Uuid, Vec<(Uuid, Moment)>> = HashMap::new();
    let mut over: HashMap<Uuid, Moment> = HashMap::new();
    for record in records {
        match *record {
            Record::Grant { lease, until: end, .. } | Record::Renewed { lease, until: end, .. } => {
                until.entry(lease).and_modify(|until| *until = end.max(*until)).or_insert(end);
            }
            Record::Ended { lease, at } => {
                ended.entry(lease).and_modify(|ended| *ended = at.min(*ended)).or_insert(at);
            }
            Record::Revoking { call, bot, at } => revoking.entry(bot).or_default().push((call, at)),
            Record::Revoked { call, at } => drop(over.insert(call, at)),
            Record::Asked { .. } | Record::HungUp { .. } | Record::Lost { .. } => {}
        }
    }
    // A lease that was revoked ends when somebody revoked one of its bots, whenever its holder hears of it.
    let mut revoked: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for hand_out in books.0.iter().filter(|it| it.reason.as_deref() == Some("revoked")) {
        revoked.entry(hand_out.lease).or_default().push(hand_out.bot);
    }
    let mut beliefs = BTreeMap::new();
    for record in records {
        let Record::Grant { lease, bot, fence, sent, from, .. } = *record else { continue };
        report.grants += 1;
        let mut until = until[&lease];
        until = until.min(ended.get(&lease).copied().unwrap_or(until));
        if let Some(bots) = revoked.get(&lease) {
            // It may even be over before the holder receives the grant that it ended, but not before that was asked for.
            let calls = bots.iter().filter_map(|bot| revoking.get(bot)).flatten();
            let of_this = calls.filter(|(call, at)| over.get(call).copied().unwrap_or(*at + LONGEST_CALL) >= sent);
            until = until.min(of_this.map(|(_, at)| *at).min().unwrap_or(until));
        }
        let belief = beliefs.entry((bot, fence)).or_insert(Belief { lease, from, until });
        // Of several who were told, the first.
        belief.from = from.min(belief.from);
        if belief.lease != lease {
            report.faults.push(format!("two leases with one fence: bot {bot}, fence {fence}"));
        }
    }
    beliefs
}

fn check_beliefs(beliefs: &BTreeMap<(Uuid, i64), Belief>, books: &Books, report: &mut Report) {
    let known: HashMap<(Uuid, i64), &HandOut> = books.0.iter().map(|it| ((it.bot, it.fence), it)).collect();
    for (hand_out, belief) in beliefs {
        match known.get(hand_out) {
            Some(book) if book.lease == belief.lease && book.undone() => {
                report.faults.push(format!("undone though it was seen: {book:?}"));
            }
            Some(book) if book.lease == belief.lease => {}
            _ => report.faults.push(format!("neither ended nor in force: bot {}, fence {}", hand_out.0, hand_out.1)),
        }
    }
    let all: Vec<_> = beliefs.iter().filter(|(_, belief)| belief.from < belief.until).collect();
    for pair in all.windows(2).filter(|pair| pair[0].0.0 == pair[1].0.0) {
        let ((bot, fence), one) = pair[0];
        let ((_, next), other) = pair[1];
        if other.from < one.until {
            report.faults.push(format!(
                "two holders at a time: bot {bot}, fences {fence} and {next}, for {} µs",
                (one.until - other.from) / 1_000
            ));
        }
    }
}

#[cfg(test)]
mod tests;
