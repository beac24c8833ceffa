//! An answer whose way to the caller is watched.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use crate::server::serve::connections::{Answer, UnderWay};

/// The most that is handed on at once, in bytes: over HTTP/2, whatever is handed on is kept until it is read.
const PIECE: usize = 16 << 10;

/// What an answer is counted as whose length is not known beforehand, in bytes.
const STREAM: u64 = 128 << 10;

/// What every answer takes beside its body while it waits to be read, in bytes.
const OVERHEAD: u64 = 4 << 10;

/// The body of an answer, in pieces. It is known whether it waits to be read or for the service.
#[derive(Debug)]
pub(crate) struct Watched {
    body: Body,
    /// What is left of the last piece that the body gave.
    rest: Bytes,
    answer: Answer,
}

impl Watched {
    pub(crate) fn new(body: Body, request: UnderWay) -> Self {
        let bytes = body.size_hint().exact().unwrap_or(STREAM) + OVERHEAD;
        Self { body, rest: Bytes::new(), answer: request.answer(bytes) }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            if polled.is_pending() {
                this.answer.waits_to_be_read(false);
            }
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        this.answer.waits_to_be_read(true);
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::server::serve::connections::Connections;

    #[tokio::test]
    async fn a_large_body_comes_whole_in_small_pieces() {
        let place = Connections::new().enter();
        let whole: Bytes = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut watched = Watched::new(Body::from(whole.clone()), place.0.request());
        let mut read = Vec::new();
        while let Some(frame) = watched.frame().await {
            assert_eq!(watched.size_hint().exact(), Some((whole.len() - read.len()) as u64 - frame_len(&frame)));
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            read.extend(piece);
        }
        assert_eq!(read, whole);
        assert!(watched.is_end_stream());
    }

    fn frame_len(frame: &Result<Frame<Bytes>, axum::Error>) -> u64 {
        frame.as_ref().unwrap().data_ref().unwrap().len() as u64
    }
}
