//! Reads the rows of an import while they arrive.

use std::io::{self, Read};

use axum::body::{Body, Bytes};
use botfarm_core::Error;
use http_body_util::BodyExt as _;
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use crate::{
    import::{Format, Rows},
    server::{Options, extract::input, refusal::Refusal},
};

/// How many pieces of the body may have arrived and not been read.
const AHEAD: usize = 4;

/// Reads the rows of an import. The body is never in memory as a whole.
pub(crate) async fn rows(format: Format, body: Body, options: &Options) -> Result<Rows, Refusal> {
    let (limit, most) = (options.import_limit, options.import_rows);
    input::refuse_large(&body, limit)?;
    let (feed, pieces) = mpsc::channel(AHEAD);
    // A large file takes a while: not on a thread that others wait for.
    let reading = spawn_blocking(move || Rows::read(format, Pieces { pieces, piece: Bytes::new() }, most));
    let arrived = match timeout(input::patience(limit), pump(body, limit, feed)).await {
        Ok(arrived) => arrived,
        Err(_) => Err(Refusal::malformed("the body did not arrive in time")),
    };
    let rows = reading.await.map_err(Error::backend)?;
    // What was read of a body that did not arrive whole says nothing.
    arrived?;
    Ok(rows?)
}

/// Hands on the body until it ends, or whoever reads it has read enough to refuse it.
async fn pump(mut body: Body, limit: usize, feed: mpsc::Sender<Bytes>) -> Result<(), Refusal> {
    let mut left = limit;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::malformed("the body is cut short"))?;
        let Ok(piece) = frame.into_data() else { continue };
        left = left.checked_sub(piece.len()).ok_or_else(|| input::too_large(limit))?;
        if feed.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The body, for a thread that may block.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            self.piece = piece;
        }
        let read = buffer.len().min(self.piece.len());
        buffer[..read].copy_from_slice(&self.piece.split_to(read));
        Ok(read)
    }
}
