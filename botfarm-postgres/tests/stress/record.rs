//! What a client saw, in lines of a file, with the times of one clock of the machine.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    str::FromStr,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// Nanoseconds on the clock that all processes of the machine share, and that nobody sets.
pub(crate) type Moment = i64;

pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

pub(crate) fn after(moment: Moment, span: Duration) -> Moment {
    moment + i64::try_from(span.as_nanos()).expect("a span of less than 292 years")
}

/// What a client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// It asks for a lease of one bot for the first time, of a kind of which all are the same.
    Asked { lease: Uuid, kind: u8, sent: Moment },
    /// It has hung up on a call for that lease.
    HungUp { lease: Uuid },
    /// It asked at `sent`, received a bot at `from`, and may believe that it has it until `until`. The lease is of so many.
    Grant { lease: Uuid, size: usize, bot: Uuid, fence: i64, sent: Moment, from: Moment, until: Moment },
    /// It renewed the lease or looked it up, and may believe that it has so many bots until then.
    Renewed { lease: Uuid, size: usize, until: Moment },
    /// From here on it does not use the bots of the lease any more.
    Ended { lease: Uuid, at: Moment },
    /// From here on it may be that the lease that holds this bot is revoked.
    Revoking { call: Uuid, bot: Uuid, at: Moment },
    /// From here on that call revokes nothing any more.
    Revoked { call: Uuid, at: Moment },
    /// A statement or its reply was lost with its connection.
    Lost { at: Moment },
}

impl Record {
    fn line(&self) -> String {
        match self {
            Self::Asked { lease, kind, sent } => format!("asked {lease} {kind} {sent} .\n"),
            Self::HungUp { lease } => format!("hung-up {lease} .\n"),
            Self::Grant { lease, size, bot, fence, sent, from, until } => {
                format!("grant {lease} {size} {bot} {fence} {sent} {from} {until} .\n")
            }
            Self::Renewed { lease, size, until } => format!("renewed {lease} {size} {until} .\n"),
            Self::Ended { lease, at } => format!("ended {lease} {at} .\n"),
            Self::Revoking { call, bot, at } => format!("revoking {call} {bot} {at} .\n"),
            Self::Revoked { call, at } => format!("revoked {call} {at} .\n"),
            Self::Lost { at } => format!("lost {at} .\n"),
        }
    }

    /// `None` for a line that was torn as its writer was killed.
    fn parse(line: &str) -> Option<Self> {
        fn read<T: FromStr>(text: &str) -> Option<T> {
            text.parse().ok()
        }
        let words: Vec<_> = line.split(' ').collect();
        Some(match *words.as_slice() {
            ["asked", lease, kind, sent, "."] => {
                Self::Asked { lease: read(lease)?, kind: read(kind)?, sent: read(sent)? }
            }
            ["hung-up", lease, "."] => Self::HungUp { lease: read(lease)? },
            ["grant", lease, size, bot, fence, sent, from, until, "."] => Self::Grant {
                lease: read(lease)?,
                size: read(size)?,
                bot: read(bot)?,
                fence: read(fence)?,
                sent: read(sent)?,
                from: read(from)?,
                until: read(until)?,
            },
            ["renewed", lease, size, until, "."] => {
                Self::Renewed { lease: read(lease)?, size: read(size)?, until: read(until)? }
            }
            ["ended", lease, at, "."] => Self::Ended { lease: read(lease)?, at: read(at)? },
            ["revoking", call, bot, at, "."] => Self::Revoking { call: read(call)?, bot: read(bot)?, at: read(at)? },
            ["revoked", call, at, "."] => Self::Revoked { call: read(call)?, at: read(at)? },
            ["lost", at, "."] => Self::Lost { at: read(at)? },
            _ => return None,
        })
    }
}

/// The file of one client. What was written is there even if the writer is killed at once.
#[derive(Debug)]
pub(crate) struct Writer(File);

impl Writer {
    pub(crate) fn to(path: &Path) -> Self {
        Self(OpenOptions::new().create_new(true).append(true).open(path).unwrap())
    }

    /// In one write, so that those of several tasks do not mingle.
    pub(crate) fn write(&self, records: &[Record]) {
        let lines: String = records.iter().map(Record::line).collect();
        (&self.0).write_all(lines.as_bytes()).unwrap();
    }
}

/// What all clients saw, and how many lines were torn.
pub(crate) fn read(folder: &Path) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut torn = 0;
    for file in fs::read_dir(folder).unwrap() {
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            match Record::parse(line) {
                Some(record) => records.push(record),
                None => torn += 1,
            }
        }
    }
    (records, torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_torn_ones_are_not() {
        let [lease, bot] = [Uuid::new_v4(), Uuid::new_v4()];
        for record in [
            Record::Asked { lease, kind: 1, sent: 0 },
            Record::HungUp { lease },
            Record::Grant { lease, size: 3, bot, fence: 7, sent: 0, from: 1, until: 2 },
            Record::Renewed { lease, size: 3, until: 3 },
            Record::Ended { lease, at: 4 },
            Record::Revoking { call: lease, bot, at: 5 },
            Record::Revoked { call: lease, at: 6 },
            Record::Lost { at: 7 },
        ] {
            let line = record.line();
            assert_eq!(Record::parse(line.trim_end()), Some(record));
            for end in 0..line.len() - 2 {
                assert_eq!(Record::parse(&line[..end]), None, "{}", &line[..end]);
            }
        }
    }
}
