//! An answer with what it takes up.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body::{Frame, SizeHint};

/// The same answer, which holds `turn` until its body has been read or is dropped.
pub(crate) fn held<T: Send + Unpin + 'static>(answer: Response, turn: T) -> Response {
    answer.map(|body| Body::new(Held { body, turn: Some(turn) }))
}

#[derive(Debug)]
struct Held<T> {
    body: Body,
    turn: Option<T>,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        // The last piece has not been read yet when it is handed on, only when more is asked for.
        if frame.is_none() {
            this.turn = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
