//! What a client has asked for, and which answer belongs to what.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    message::texts,
    stop::{Mark, Point},
};

/// The statements that a client has prepared, by their names.
#[derive(Debug, Default)]
pub(super) struct Prepared(HashMap<String, Arc<str>>);

impl Prepared {
    /// Takes notice of a message of the client. The statement that it makes the server carry out, if it does.
    pub(super) fn see(&mut self, kind: u8, message: &[u8]) -> Option<Arc<str>> {
        match kind {
            // Parse: name, text.
            b'P' => {
                let [name, text] = texts(message)?;
                self.0.insert(name.to_owned(), text.into());
                None
            }
            // Close, of a statement (`S`): name.
            b'C' => {
                let [name] = texts(message)?;
                self.0.remove(name.strip_prefix('S')?);
                None
            }
            // Bind: portal, name.
            b'B' => {
                let [_, name] = texts(message)?;
                self.0.get(name).cloned()
            }
            // Query: text.
            b'Q' => {
                let [text] = texts(message)?;
                Some(text.into())
            }
            _ => None,
        }
    }
}

/// What the client has asked for and the server has not answered yet. The server answers in order: each request, which is
/// a single message or all up to a Sync, ends with one `ReadyForQuery`.
#[derive(Debug)]
pub(super) struct Requests {
    waiting: VecDeque<Request>,
    /// Whether the last of them still grows.
    growing: bool,
}

#[derive(Debug, Default)]
struct Request {
    mark: Option<Arc<Mark>>,
    /// How many messages of the answer have been passed on.
    passed: usize,
}

/// What to do with a message of the server.
#[derive(Debug)]
pub(super) enum Step {
    Pass,
    /// To be kept until the answer is complete.
    Keep,
    /// To be kept; and the answer is complete: stop, then pass on all that was kept.
    Kept(Arc<Mark>),
    /// The answer is complete: pass on all that was kept, and this.
    Release,
    /// To be passed on; then stop.
    Passed(Arc<Mark>),
}

impl Requests {
    /// Those of a new connection, whose start-up is answered like a request.
    pub(super) fn new() -> Self {
        Self { waiting: [Request::default()].into(), growing: false }
    }

    /// The client sends this, which is to stop at `mark`. To be called before it is passed on.
    pub(super) fn sent(&mut self, kind: u8, mark: Option<Arc<Mark>>) {
        // Query, Parse, Bind, Describe, Execute, Close, Flush, Sync, FunctionCall: all else belongs to a start-up or COPY.
        if !b"QPBDECHSF".contains(&kind) {
            return;
        }
        if !self.growing {
            self.waiting.push_back(Request::default());
        }
        if let (Some(request), Some(mark)) = (self.waiting.back_mut(), mark) {
            request.mark = Some(mark);
        }
        self.growing = !b"QSF".contains(&kind);
    }

    /// The server answers this.
    pub(super) fn answered(&mut self, kind: u8) -> Step {
        // NotificationResponse, NoticeResponse, ParameterStatus come at any time.
        if b"ANS".contains(&kind) {
            return Step::Pass;
        }
        let Some(request) = self.waiting.front_mut() else { return Step::Pass };
        request.passed += 1;
        let ready = kind == b'Z';
        let step = match request.mark.clone() {
            Some(mark) if mark.point == Point::Reply => {
                if ready {
                    Step::Kept(mark)
                } else {
                    Step::Keep
                }
            }
            Some(mark) if mark.point == Point::Commit => {
                // CommandComplete, PortalSuspended, EmptyQueryResponse, ErrorResponse. Kept, since no server would tell
                // them before it has committed, if it was not asked.
                if b"CsIE".contains(&kind) {
                    mark.set_executed();
                }
                if ready { Step::Release } else { Step::Keep }
            }
            Some(mark) if mark.point == Point::Message(request.passed) => Step::Passed(mark),
            _ => Step::Pass,
        };
        if ready {
            self.waiting.pop_front();
        }
        step
    }
}
