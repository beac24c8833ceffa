//! PostgreSQL's messages, as far as a proxy has to understand them.
//! Source: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The codes in the place of a protocol version that ask for encryption, by TLS or by GSSAPI.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// Bytes that have come in and are not yet a whole message.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Reads what has come, or waits for it.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side has closed.
    pub(super) async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.reserve(16 * 1024);
        match from.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next whole message: its kind, and all its bytes.
    pub(super) fn take(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let Some(&kind) = self.bytes.get(self.taken) else { return Ok(None) };
        let start = self.taken;
        Ok(self.take_length(1)?.then(|| (kind, &self.bytes[start..self.taken])))
    }

    /// The first message of a client, which has no kind: its code, and all its bytes.
    pub(super) fn take_first(&mut self) -> io::Result<Option<(u32, &[u8])>> {
        let start = self.taken;
        if !self.take_length(0)? {
            return Ok(None);
        }
        let bytes = &self.bytes[start..self.taken];
        let code = bytes.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
        Ok(Some((code.ok_or_else(malformed)?, bytes)))
    }

    /// Takes a message whose length stands at `offset`, if it is whole.
    fn take_length(&mut self, offset: usize) -> io::Result<bool> {
        let rest = &self.bytes[self.taken..];
        let Some(length) = rest.get(offset..).and_then(|rest| rest.first_chunk()) else { return Ok(false) };
        // The length counts itself.
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed())?;
        if length < 4 {
            return Err(malformed());
        }
        let whole = rest.len() >= offset + length;
        if whole {
            self.taken += offset + length;
        }
        Ok(whole)
    }
}

/// Whether the first message asks for encryption; then another first one follows.
pub(super) fn asks_for_encryption(code: u32) -> bool {
    ENCRYPTION.contains(&code)
}

/// The zero-terminated texts that a message begins with.
pub(super) fn texts<const N: usize>(message: &[u8]) -> Option<[&str; N]> {
    let mut rest = message.get(5..)?;
    let mut texts = [""; N];
    for text in &mut texts {
        let end = rest.iter().position(|byte| *byte == 0)?;
        *text = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
    }
    Some(texts)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not PostgreSQL's protocol")
}
