//! Ports for servers.

use std::{io, net::TcpListener};

use uuid::Uuid;

/// A port of 127.0.0.1 that is free now. Below those that systems give to outgoing connections, so that it is still
/// free when a server that was stopped comes back.
pub(super) fn free_port() -> io::Result<u16> {
    for _ in 0..200 {
        let random = Uuid::new_v4().as_u128() % 12_000;
        let port = 20_000 + u16::try_from(random).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("there is no free port between 20000 and 32000"))
}
