//! The processes that a process has started, by themselves and through others.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};

/// One process. Its time of start tells it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descendant {
    pid: Pid,
    started: u64,
}

impl Descendant {
    /// Signals it, if it is still there.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_there() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Whether it is still there.
    pub(crate) fn is_there(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| parsed(&stat).is_some_and(|process| process.started == self.started && !process.ended))
    }
}

/// All descendants of `ancestor`. None where there is no `/proc`.
pub(crate) fn of(ancestor: Pid) -> Vec<Descendant> {
    let processes = processes();
    let mut descendants = Vec::new();
    let mut parents = vec![ancestor.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for child in processes.iter().filter(|process| process.parent == parent && !process.ended) {
            parents.push(child.pid.as_raw_nonzero().get());
            descendants.push(Descendant { pid: child.pid, started: child.started });
        }
    }
    descendants
}

/// Whether a process of the group led by `leader` is there. One that has ended, and that nobody has waited for, is not:
/// in a container that may last for ever.
pub(crate) fn group_is_there(leader: Pid) -> bool {
    if test_kill_process_group(leader).is_err() {
        return false;
    }
    let processes = processes();
    let mut group = processes.iter().filter(|process| process.group == leader.as_raw_nonzero().get());
    processes.is_empty() || group.any(|process| !process.ended)
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| parsed(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

struct Process {
    pid: Pid,
    parent: i32,
    group: i32,
    started: u64,
    ended: bool,
}

/// Reads `/proc/…/stat`: `pid (name) state ppid pgrp …`, the time of start being field 22. The name may hold anything.
fn parsed(stat: &str) -> Option<Process> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some(Process { pid: Pid::from_raw(pid.parse().ok()?)?, parent, group, started, ended })
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn names_with_brackets_and_blanks_do_not_confuse() {
        let stat = "42 (a) b (c) S 7 41 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8128 1 2 3";
        let process = parsed(stat).unwrap();
        let pid = process.pid.as_raw_nonzero().get();
        assert_eq!((pid, process.parent, process.group, process.started, process.ended), (42, 7, 41, 8128, false));
        assert!(parsed("").is_none() && parsed("42 (a) S").is_none());
    }

    #[test]
    fn descendants_are_found_and_ended() {
        let mut shell = Command::new("sh")
            .args(["-c", "exec 3<&0; sh -c 'read x; :' <&3 & echo; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(shell.id().cast_signed()).unwrap();
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let descendants = of(pid);
        assert_eq!(descendants.len(), 1);
        assert!(descendants[0].is_there());
        descendants[0].signal(Signal::KILL);
        // The shell waits for its child, so its end is the child's end.
        shell.wait().unwrap();
        assert!(!descendants[0].is_there());
        assert_eq!(of(pid), []);
    }

    #[test]
    fn a_group_whose_last_process_was_not_waited_for_is_gone() {
        let mut cat =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let leader = Pid::from_raw(cat.id().cast_signed()).unwrap();
        assert!(group_is_there(leader));
        drop(cat.stdin.take());
        let mut end = Vec::new();
        std::io::Read::read_to_end(cat.stdout.as_mut().unwrap(), &mut end).unwrap();
        // It has closed its stdout, and so is about to end.
        while group_is_there(leader) {
            std::thread::yield_now();
        }
        assert_eq!(test_kill_process_group(leader), Ok(()));
        cat.wait().unwrap();
        assert!(!group_is_there(leader));
    }
}
