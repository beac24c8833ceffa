//! Takes secrets out of what the command prints.

use std::{
    io::{self, PipeReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionread},
};

use super::encodings;

/// How long the beginning of what may become a secret is kept back while the command is silent.
const PATIENCE: Duration = Duration::from_millis(500);

/// What stands in the place of a secret.
const STARS: &[u8] = b"***";

/// Replaces secrets in a stream of bytes, also where a secret comes in pieces.
#[derive(Clone)]
pub(crate) struct Mask {
    secrets: Arc<[Vec<u8>]>,
    /// Which bytes a secret may start with.
    starts: Arc<[bool; 256]>,
    /// The end of what was seen, as far as it may be the beginning of a secret.
    kept: Vec<u8>,
}

impl Mask {
    /// Masks these texts, and the forms of them that are known.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let forms = texts.into_iter().flat_map(encodings::of);
        let mut secrets: Vec<_> = forms.map(String::into_bytes).collect();
        // The longest first: of two secrets that begin alike, the whole of the longer one is to go.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let mut starts = [false; 256];
        for secret in &secrets {
            starts[usize::from(secret[0])] = true;
        }
        Self { secrets: secrets.into(), starts: Arc::new(starts), kept: Vec::new() }
    }

    /// Takes in `bytes`, and appends to `out` what may be shown by now.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.kept.extend_from_slice(bytes);
        let seen = self.scan(out, false);
        self.kept.drain(..seen);
    }

    /// Appends what was kept back: it did not become a secret.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        self.scan(out, true);
        self.kept.clear();
    }

    /// Whether something is kept back.
    pub(crate) fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Shows what was kept so far, up to where a secret may begin whose end has not come. Gives how much was shown.
    fn scan(&self, out: &mut Vec<u8>, ended: bool) -> usize {
        let mut at = 0;
        'bytes: while let Some(rest) = self.kept.get(at..).filter(|rest| !rest.is_empty()) {
            if self.starts[usize::from(rest[0])] {
                for secret in self.secrets.iter() {
                    if rest.starts_with(secret) {
                        out.extend_from_slice(STARS);
                        at += secret.len();
                        continue 'bytes;
                    }
                    if !ended && secret.starts_with(rest) {
                        return at;
                    }
                }
            }
            out.push(rest[0]);
            at += 1;
        }
        at
    }
}

/// Copies from `input` to `output` under a mask until the input ends. Once `gone` says that the command has ended, all
/// that it left in the pipe is copied, and what comes within half a second more: something that the command has left
/// running may keep the pipe open for ever.
///
/// # Errors
/// Those of reading and writing. The input is closed then, so that whoever writes to it learns of it.
pub(crate) fn copy(mut input: PipeReader, mut output: impl Write, mut mask: Mask, gone: &AtomicBool) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let mut shown = Vec::new();
    // What the command has left in the pipe, and until when more is copied.
    let mut rest: Option<(u64, Instant)> = None;
    loop {
        if rest.is_none() && gone.load(Ordering::Acquire) {
            rest = Some((ioctl_fionread(&input)?, Instant::now() + PATIENCE));
        }
        let patience = match rest {
            Some((0, until)) => until.saturating_duration_since(Instant::now()),
            _ => PATIENCE,
        };
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        let ready = match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => continue,
            ready => ready? > 0,
        };
        if matches!(rest, Some((0, until)) if until <= Instant::now()) {
            break;
        }
        if ready {
            match input.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => {
                    mask.push(&bytes[..read], &mut shown);
                    if let Some((left, _)) = &mut rest {
                        *left = left.saturating_sub(read as u64);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
        } else if mask.keeps() {
            mask.flush(&mut shown);
        }
        output.write_all(&shown)?;
        output.flush()?;
        shown.clear();
    }
    mask.flush(&mut shown);
    output.write_all(&shown)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::{io::pipe, sync::mpsc, thread};

    use super::*;

    /// What is shown of `text` when it comes in pieces of `size` bytes.
    fn masked(secrets: &[&str], text: &str, size: usize) -> String {
        let mut mask = Mask::of(secrets.iter().copied());
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            mask.push(piece, &mut out);
        }
        mask.flush(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_replaced_wherever_the_pieces_are_cut() {
        let text = "login=qa pass=hunter2!\nhunter hunter2!hunter2! huhunter2! hunter2";
        for size in 1..=text.len() {
            assert_eq!(
                masked(&["hunter2!"], text, size),
                "login=qa pass=***\nhunter ****** hu*** hunter2",
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn the_longer_of_two_secrets_that_begin_alike_is_replaced_whole() {
        for size in 1..=12 {
            assert_eq!(masked(&["abc", "abcdef"], "abcdef abcd ab", size), "*** ***d ab", "pieces of {size}");
        }
    }

    #[test]
    fn a_secret_that_begins_within_a_broken_off_one_is_found() {
        for size in 1..=9 {
            assert_eq!(masked(&["aab"], "aaabaaa b", size), "a***aaa b", "pieces of {size}");
        }
    }

    #[test]
    fn a_secret_is_found_in_json() {
        assert_eq!(
            masked(&["a\"b\\c"], r#"{"password":"a\"b\\c","raw":1} a"b\c"#, 3),
            r#"{"password":"***","raw":1} ***"#
        );
    }

    #[test]
    fn a_secret_is_found_in_what_is_encoded_wherever_the_pieces_are_cut() {
        let basic = "Authorization: Basic YWRhOmh1bnRlcjIgJiBtb3JlIQ== next";
        let url = "https://shop.test/?password=hunter2%20%26%20more!&x=1";
        for size in 1..=basic.len() {
            let shown = masked(&["hunter2 & more!"], basic, size);
            assert_eq!(shown, "Authorization: Basic YWRhOm***== next", "pieces of {size}");
            let shown = masked(&["hunter2 & more!"], url, size);
            assert_eq!(shown, "https://shop.test/?password=***&x=1", "pieces of {size}");
        }
    }

    #[test]
    fn without_secrets_nothing_is_kept_back() {
        let mut mask = Mask::of([""]);
        let mut out = Vec::new();
        mask.push(b"anything", &mut out);
        assert_eq!((out.as_slice(), mask.keeps()), (b"anything".as_slice(), false));
    }

    /// Sends on whatever is written to it.
    struct Sent(mpsc::Sender<Vec<u8>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_shown_when_the_command_falls_silent() {
        let (reader, mut writer) = pipe().unwrap();
        let (send, received) = mpsc::channel();
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            let copied = scope.spawn(|| copy(reader, Sent(send), Mask::of(["> secret"]), &gone));
            writer.write_all(b"ready\n>").unwrap();
            assert_eq!(received.recv().unwrap(), b"ready\n");
            // The pipe is still open: only the silence can bring the rest.
            assert_eq!(received.recv().unwrap(), b">");
            drop(writer);
            copied.join().unwrap().unwrap();
        });
    }

    #[test]
    fn the_copy_ends_with_the_command_even_if_something_keeps_the_pipe_open() {
        let (reader, mut writer) = pipe().unwrap();
        let (send, received) = mpsc::channel();
        let gone = AtomicBool::new(true);
        writer.write_all(b"last words").unwrap();
        thread::scope(|scope| {
            // Goes on until the pipe breaks, as a server that a test has left running would.
            scope.spawn(move || while writer.write_all(b".").is_ok() {});
            copy(reader, Sent(send), Mask::of(["words of the secret"]), &gone).unwrap();
        });
        let shown: Vec<u8> = received.iter().flatten().collect();
        assert_eq!(&shown[..11], b"last words.");
    }
}
