//! The order of the queue, from what the clients saw.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::{
    check::{Report, Standing},
    record::{Moment, Record},
};

/// Of those who asked for the same, nobody who asked after another stood in the queue was served before that one, unless
/// that one hung up. Fences tell who was served first: they are times.
pub(crate) fn check(records: &[Record], standing: &Standing, report: &mut Report) {
    let mut served: HashMap<Uuid, i64> = HashMap::new();
    let mut gone = HashSet::new();
    let mut kinds: BTreeMap<u8, Vec<(Moment, Uuid)>> = BTreeMap::new();
    for record in records {
        match *record {
            Record::Grant { lease, fence, .. } => drop(served.insert(lease, fence)),
            Record::HungUp { lease } => drop(gone.insert(lease)),
            Record::Asked { lease, kind, sent } => kinds.entry(kind).or_default().push((sent, lease)),
            _ => {}
        }
    }
    for requests in kinds.values_mut() {
        requests.sort_unstable();
        // The first fence of those from here on.
        let mut first = i64::MAX;
        let mut firsts: Vec<_> = requests
            .iter()
            .rev()
            .map(|(_, lease)| {
                first = served.get(lease).copied().unwrap_or(i64::MAX).min(first);
                first
            })
            .collect();
        firsts.reverse();
        for (_, lease) in requests.iter().filter(|(_, lease)| !gone.contains(lease)) {
            let (Some(stood), Some(fence)) = (standing.get(lease), served.get(lease)) else { continue };
            let after = requests.partition_point(|(sent, _)| sent <= stood);
            report.ordered += 1;
            if firsts.get(after).is_some_and(|first| first < fence) {
                let passed = requests[after..].iter().find(|(_, other)| served.get(other).is_some_and(|it| it < fence));
                report.faults.push(format!(
                    "{lease} stood in the queue and was passed by {:?}, who asked for the same later",
                    passed.map(|(_, other)| other)
                ));
            }
        }
    }
}

/// That it finds what is wrong.
#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Uuid = Uuid::from_u128(1);
    const SECOND: Uuid = Uuid::from_u128(2);

    fn asked(lease: Uuid, kind: u8, sent: Moment) -> Record {
        Record::Asked { lease, kind, sent }
    }

    fn grant(lease: Uuid, fence: i64) -> Record {
        Record::Grant { lease, size: 1, bot: lease, fence, sent: 0, from: 0, until: 0 }
    }

    fn faults(records: &[Record], stood: Moment) -> usize {
        let mut report = Report::default();
        check(records, &Standing::from([(FIRST, stood)]), &mut report);
        report.faults.len()
    }

    #[test]
    fn who_was_passed_is_found() {
        let mut records = vec![asked(FIRST, 0, 10), asked(SECOND, 0, 30), grant(SECOND, 7), grant(FIRST, 8)];
        assert_eq!(faults(&records, 20), 1);
        assert_eq!(faults(&records, 30), 0, "they came at once");
        records.push(Record::HungUp { lease: FIRST });
        assert_eq!(faults(&records, 20), 0, "it had gone");
    }

    #[test]
    fn who_asked_for_something_else_or_was_served_later_passed_nobody() {
        let records = [asked(FIRST, 0, 10), asked(SECOND, 1, 30), grant(SECOND, 7), grant(FIRST, 8)];
        assert_eq!(faults(&records, 20), 0);
        let records = [asked(FIRST, 0, 10), asked(SECOND, 0, 30), grant(SECOND, 9), grant(FIRST, 8)];
        assert_eq!(faults(&records, 20), 0);
    }
}
