//! The proof, from what the clients saw and what the database wrote down.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use uuid::Uuid;

use crate::record::{Moment, Record};

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
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, grants, released, expired, revoked, sets } = self;
        write!(f, "{grants} grants seen; in the books {released} released, {expired} expired, {revoked} revoked, ")?;
        write!(f, "{sets} leases of several; {} faults", faults.len())
    }
}

/// For how long a client believed that it had a bot: not at all, when the grant came to it after its end.
#[derive(Debug, Clone, Copy)]
struct Belief {
    lease: Uuid,
    from: Moment,
    until: Moment,
}

/// Proves that each bot had one holder at a time with fences that grow, in the eyes of the clients and in the books, and
/// that these agree.
pub(crate) fn check(records: &[Record], books: &Books) -> Report {
    let mut report = Report::default();
    check_books(books, &mut report);
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
            Record::Grant { lease, until: end, .. } | Record::Renewed { lease, until: end } => {
                until.entry(lease).and_modify(|until| *until = end.max(*until)).or_insert(end);
            }
            Record::Ended { lease, at } => {
                ended.entry(lease).and_modify(|ended| *ended = at.min(*ended)).or_insert(at);
            }
            Record::Revoking { call, bot, at } => revoking.entry(bot).or_default().push((call, at)),
            Record::Revoked { call, at } => drop(over.insert(call, at)),
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
        if let Some(other) = beliefs.insert((bot, fence), Belief { lease, from, until })
            && other.lease != lease
        {
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

/// That it finds what is wrong.
#[cfg(test)]
mod tests {
    use super::*;

    const BOT: Uuid = Uuid::from_u128(1);
    const OTHER_BOT: Uuid = Uuid::from_u128(2);
    const LEASE: Uuid = Uuid::from_u128(11);
    const NEXT: Uuid = Uuid::from_u128(12);

    /// Asked for five nanoseconds before it was received.
    fn grant(lease: Uuid, fence: i64, from: Moment, until: Moment) -> Record {
        Record::Grant { lease, bot: BOT, fence, sent: from - 5, from, until }
    }

    fn hand_out(lease: Uuid, fence: i64, since: i64, until: i64, reason: &str) -> HandOut {
        HandOut { bot: BOT, fence, lease, since, until: Some(until), reason: Some(reason.into()) }
    }

    /// Two hand-outs as they should be.
    fn sound() -> (Vec<Record>, Books) {
        let records = vec![grant(LEASE, 1, 10, 100), Record::Ended { lease: LEASE, at: 50 }, grant(NEXT, 2, 60, 90)];
        let books = Books(vec![hand_out(LEASE, 1, 5, 55, "released"), hand_out(NEXT, 2, 57, 95, "expired")]);
        (records, books)
    }

    fn faults(records: &[Record], books: &Books) -> String {
        check(records, books).faults.join("\n")
    }

    #[test]
    fn what_is_sound_has_no_fault() {
        let (records, books) = sound();
        let report = check(&records, &books);
        assert_eq!(report.faults, [""; 0]);
        assert_eq!((report.grants, report.released, report.expired), (2, 1, 1));
    }

    #[test]
    fn two_holders_at_a_time_are_found() {
        let (mut records, books) = sound();
        records[1] = Record::Ended { lease: LEASE, at: 61 };
        assert!(faults(&records, &books).contains("two holders at a time"));
        // Nor may one who never said that it ended believe in it for longer.
        records.remove(1);
        assert!(faults(&records, &books).contains("two holders at a time"));
    }

    #[test]
    fn belief_after_a_renewal_is_found() {
        let (mut records, books) = sound();
        records[0] = grant(LEASE, 1, 10, 20);
        records[1] = Record::Renewed { lease: LEASE, until: 58 };
        assert_eq!(faults(&records, &books), "");
        records[1] = Record::Renewed { lease: LEASE, until: 61 };
        assert!(faults(&records, &books).contains("two holders at a time"));
    }

    #[test]
    fn grant_that_comes_after_its_end_is_believed_by_nobody() {
        let (mut records, books) = sound();
        records[1] = grant(LEASE, 1, 70, 58);
        records.remove(0);
        assert_eq!(faults(&records, &books), "");
        // It hides nothing that is before it and after it.
        let (mut records, mut books) = sound();
        books.0.insert(1, HandOut { lease: Uuid::from_u128(13), ..hand_out(LEASE, 2, 56, 56, "revoked") });
        books.0[2].fence = 3;
        records[2] = grant(NEXT, 3, 60, 90);
        records.push(grant(Uuid::from_u128(13), 2, 70, 58));
        assert_eq!(faults(&records, &books), "");
        records[1] = Record::Ended { lease: LEASE, at: 61 };
        assert!(faults(&records, &books).contains("two holders at a time"));
    }

    #[test]
    fn revocation_ends_a_belief_and_nothing_else_does() {
        let (mut records, mut books) = sound();
        records[1] = Record::Revoking { call: NEXT, bot: BOT, at: 40 };
        assert!(faults(&records, &books).contains("two holders at a time"), "by the books it was not revoked");
        books.0[0].reason = Some("revoked".into());
        assert_eq!(faults(&records, &books), "");
        records[1] = Record::Revoking { call: NEXT, bot: OTHER_BOT, at: 40 };
        assert!(faults(&records, &books).contains("two holders at a time"), "it was another bot");
        records[1] = Record::Revoking { call: NEXT, bot: BOT, at: 70 };
        assert!(faults(&records, &books).contains("two holders at a time"), "it was too late");
        records[1] = Record::Revoking { call: NEXT, bot: BOT, at: 1 };
        assert_eq!(faults(&records, &books), "", "it may have been under way");
        records.push(Record::Revoked { call: NEXT, at: 7 });
        assert_eq!(faults(&records, &books), "", "the grant was made, but not received");
        records[3] = Record::Revoked { call: NEXT, at: 4 };
        assert!(
            faults(&records, &books).contains("two holders at a time"),
            "it was over before the lease was asked for"
        );
    }

    #[test]
    fn fence_that_does_not_grow_is_found() {
        let (records, mut books) = sound();
        books.0.swap(0, 1);
        assert!(faults(&records, &books).contains("the fence does not grow"));
        let records = [grant(LEASE, 2, 60, 90), grant(NEXT, 1, 10, 50)];
        let (_, books) = sound();
        assert!(faults(&records, &books).contains("neither ended nor in force"));
    }

    #[test]
    fn one_fence_for_two_is_found() {
        let (mut records, books) = sound();
        records[2] = grant(NEXT, 1, 60, 90);
        assert!(faults(&records, &books).contains("two leases with one fence"));
    }

    #[test]
    fn grant_that_the_books_lack_is_found() {
        let (records, mut books) = sound();
        books.0.pop();
        assert!(faults(&records, &books).contains("neither ended nor in force"));
    }

    #[test]
    fn overlap_in_the_books_is_found() {
        let (records, mut books) = sound();
        books.0[0].until = Some(58);
        assert!(faults(&records, &books).contains("two hand-outs at a time"));
        books.0[0].until = None;
        assert!(faults(&records, &books).contains("two hand-outs at a time"));
    }

    #[test]
    fn hand_out_that_was_undone_is_nobodys() {
        let (records, mut books) = sound();
        books.0.insert(1, hand_out(NEXT, 1, 56, 56, "undone"));
        books.0[1].fence = 2;
        books.0[2].fence = 3;
        let records = [records[0], records[1], grant(NEXT, 3, 60, 90)];
        assert_eq!(faults(&records, &books), "", "it may be granted anew");
        let seen = [records[0], records[1], grant(NEXT, 2, 60, 90)];
        assert!(faults(&seen, &books).contains("undone though it was seen"));
    }

    #[test]
    fn lease_that_ended_in_parts_is_found() {
        let (records, mut books) = sound();
        books.0.push(HandOut { bot: OTHER_BOT, ..hand_out(NEXT, 1, 57, 94, "released") });
        assert!(faults(&records, &books).contains("not granted or ended whole"));
        books.0[2] = HandOut { bot: OTHER_BOT, ..hand_out(NEXT, 1, 57, 95, "expired") };
        assert_eq!(faults(&records, &books), "");
    }
}
