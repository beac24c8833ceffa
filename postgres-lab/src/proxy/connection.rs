//! One connection through the proxy.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{
    Shared,
    message::{Inbox, asks_for_encryption},
    stop::{Mark, Point, Verdict},
    traffic::{Prepared, Requests, Step},
};

const FLUSH: &[u8] = b"H\0\0\0\x04";

/// A direction, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
    /// All.
    Both,
}

/// Which directions are kept back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frozen {
    to_server: bool,
    to_client: bool,
}

impl Frozen {
    pub(super) fn and(self, direction: Direction) -> Self {
        Self {
            to_server: self.to_server || direction != Direction::ToClient,
            to_client: self.to_client || direction != Direction::ToServer,
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    frozen: watch::Receiver<Frozen>,
    requests: Mutex<Requests>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, frozen: watch::Receiver<Frozen>) -> Self {
        Self { shared, frozen, requests: Mutex::new(Requests::new()) }
    }

    /// Passes on what both sides send, until one of them closes or a stop cuts them. Then it closes both.
    pub(super) async fn run(self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut inbox = Inbox::default();
        let first = first_message(&mut client, &mut inbox).await?;
        self.thawed(|frozen| frozen.to_server).await;
        let mut server = self.shared.connect().await?;
        server.write_all(&first).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            result = self.requests(inbox, from_client, to_server) => result,
            result = self.answers(from_server, to_client) => result,
        }
    }

    async fn requests(&self, mut inbox: Inbox, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut prepared = Prepared::default();
        let mut before_commit: Option<Arc<Mark>> = None;
        let mut ready = Vec::new();
        loop {
            while let Some((kind, message)) = inbox.take()? {
                let statement = prepared.see(kind, message);
                let mark = statement.as_deref().and_then(|statement| self.shared.stops.take(statement));
                self.shared.statements.lock().extend(statement);
                match &mark {
                    Some(mark) if mark.point == Point::Commit && kind == b'B' => before_commit = Some(mark.clone()),
                    Some(mark) if matches!(mark.point, Point::Request | Point::Commit) => {
                        to.write_all(&ready).await?;
                        ready.clear();
                        obey(mark.stand().await)?;
                    }
                    _ => {}
                }
                // The server commits when it gets the Sync. A Flush makes it tell that it has come so far.
                if kind == b'S'
                    && let Some(mark) = before_commit.take()
                {
                    ready.extend_from_slice(FLUSH);
                    to.write_all(&ready).await?;
                    ready.clear();
                    mark.executed().await;
                    obey(mark.stand().await)?;
                }
                self.requests.lock().sent(kind, mark);
                ready.extend_from_slice(message);
            }
            to.write_all(&ready).await?;
            ready.clear();
            let read = inbox.fill(&mut from).await;
            self.shared.wait().await;
            // Frozen, it does not even see that the other side has closed.
            self.thawed(|frozen| frozen.to_server).await;
            read?;
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut inbox = Inbox::default();
        let mut ready = Vec::new();
        let mut kept = Vec::new();
        loop {
            let read = inbox.fill(&mut from).await;
            self.shared.wait().await;
            self.thawed(|frozen| frozen.to_client).await;
            read?;
            while let Some((kind, message)) = inbox.take()? {
                let todo = self.requests.lock().answered(kind);
                match todo {
                    Step::Pass => ready.extend_from_slice(message),
                    Step::Keep => kept.extend_from_slice(message),
                    Step::Release => {
                        ready.append(&mut kept);
                        ready.extend_from_slice(message);
                    }
                    Step::Kept(mark) => {
                        kept.extend_from_slice(message);
                        to.write_all(&ready).await?;
                        obey(mark.stand().await)?;
                        ready = std::mem::take(&mut kept);
                    }
                    Step::Passed(mark) => {
                        ready.extend_from_slice(message);
                        to.write_all(&ready).await?;
                        ready.clear();
                        obey(mark.stand().await)?;
                    }
                }
            }
            to.write_all(&ready).await?;
            ready.clear();
        }
    }

    async fn thawed(&self, frozen: impl Fn(&Frozen) -> bool) {
        // The proxy lets go of the other end only together with this connection.
        let _ = self.frozen.clone().wait_for(|state| !frozen(state)).await;
    }
}

/// The message that a session begins with. Encryption is refused.
async fn first_message(client: &mut TcpStream, inbox: &mut Inbox) -> io::Result<Vec<u8>> {
    loop {
        while let Some((code, message)) = inbox.take_first()? {
            if !asks_for_encryption(code) {
                return Ok(message.to_vec());
            }
            client.write_all(b"N").await?;
        }
        inbox.fill(client).await?;
    }
}

fn obey(verdict: Verdict) -> io::Result<()> {
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
