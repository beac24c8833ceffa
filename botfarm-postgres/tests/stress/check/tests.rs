//! That the check finds what is wrong.

use super::*;

const BOT: Uuid = Uuid::from_u128(1);
const OTHER_BOT: Uuid = Uuid::from_u128(2);
const LEASE: Uuid = Uuid::from_u128(11);
const NEXT: Uuid = Uuid::from_u128(12);

/// Asked for five nanoseconds before it was received.
fn grant(lease: Uuid, fence: i64, from: Moment, until: Moment) -> Record {
    Record::Grant { lease, size: 1, bot: BOT, fence, sent: from - 5, from, until }
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
    check(records, books, &Standing::new()).faults.join("\n")
}

#[test]
fn what_is_sound_has_no_fault() {
    let (records, books) = sound();
    let report = check(&records, &books, &Standing::new());
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
    records[1] = Record::Renewed { lease: LEASE, size: 1, until: 58 };
    assert_eq!(faults(&records, &books), "");
    records[1] = Record::Renewed { lease: LEASE, size: 1, until: 61 };
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
    assert!(faults(&records, &books).contains("two holders at a time"), "it was over before the lease was asked for");
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
fn answer_that_lacks_a_bot_is_found() {
    let (mut records, books) = sound();
    records.push(Record::Renewed { lease: NEXT, size: 1, until: 90 });
    assert_eq!(faults(&records, &books), "");
    records[3] = Record::Renewed { lease: NEXT, size: 2, until: 90 };
    assert!(faults(&records, &books).contains("was renewed with 2"));
    records[2] = Record::Grant { lease: NEXT, size: 2, bot: BOT, fence: 2, sent: 55, from: 60, until: 90 };
    assert!(faults(&records, &books).contains("of 2 was answered with 1"));
}

#[test]
fn lease_that_ended_in_parts_is_found() {
    let (records, mut books) = sound();
    books.0.push(HandOut { bot: OTHER_BOT, ..hand_out(NEXT, 1, 57, 94, "released") });
    assert!(faults(&records, &books).contains("not granted or ended whole"));
    books.0[2] = HandOut { bot: OTHER_BOT, ..hand_out(NEXT, 1, 57, 95, "expired") };
    assert_eq!(faults(&records, &books), "");
}
