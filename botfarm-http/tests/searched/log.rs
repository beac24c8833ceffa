//! What is logged at the finest level: by the whole process, and by each thread.

use std::{cell::RefCell, io, sync::Once};

use parking_lot::Mutex;

static ALL: Mutex<Vec<u8>> = Mutex::new(Vec::new());

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What this thread has logged since it was made.
#[derive(Debug)]
pub(crate) struct Log(());

impl Log {
    pub(crate) fn start() -> Self {
        everything();
        LINES.take();
        Self(())
    }

    #[expect(clippy::unused_self, reason = "whoever reads must have started")]
    pub(crate) fn text(&self) -> String {
        LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap())
    }
}

/// How much the process has logged so far.
pub(super) fn len() -> usize {
    everything();
    ALL.lock().len()
}

/// What the process has logged, from this place on.
pub(super) fn all(from: usize) -> Vec<u8> {
    everything();
    ALL.lock()[from..].to_vec()
}

/// To be called before anything is logged: what is logged while a subscriber comes may be taken for something that
/// nobody wants, from then on.
fn everything() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(|| Lines).with_ansi(false);
        subscriber.with_max_level(tracing::Level::TRACE).init();
    });
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // A thread that ends has no lines of its own any more.
        let _ = LINES.try_with(|lines| lines.borrow_mut().extend_from_slice(text));
        ALL.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
