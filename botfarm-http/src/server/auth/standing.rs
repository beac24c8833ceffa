//! Whether those who wait may still have what they wait for.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use botfarm_core::{
    Result,
    operators::{Operators, TokenDigest},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout},
};

use crate::server::auth::login::session::Session;

/// How often the farm is asked about a credential that somebody waits with: another replica may have revoked it, or a
/// command that works on the store. Once for all who wait with it.
const ASK: Duration = Duration::from_secs(5);

/// What somebody has proved who they are with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    Token(TokenDigest),
    Session(Session),
}

impl Credential {
    /// Whether the farm takes it now.
    pub(super) async fn stands(self, operators: &dyn Operators) -> Result<bool> {
        Ok(match self {
            Self::Token(digest) => operators.token(digest).await?.is_some(),
            Self::Session(session) => session.stands(operators).await?.is_some(),
        })
    }
}

/// The credentials that somebody waits with.
#[derive(Debug)]
pub(super) struct Standings {
    /// How often something was revoked here.
    revoked: watch::Sender<u64>,
    of: Mutex<HashMap<Credential, Weak<AsyncMutex<Standing>>>>,
}

#[derive(Debug)]
struct Standing {
    asked: Instant,
    /// After how many revocations that was.
    revoked: u64,
    gone: bool,
}

impl Standings {
    pub(super) fn new() -> Self {
        Self { revoked: watch::Sender::new(0), of: Mutex::default() }
    }

    /// A token, an operator or a session has been revoked: whoever waits is asked after.
    pub(super) fn revoked(&self) {
        self.revoked.send_modify(|times| *times += 1);
    }

    /// Resolves when the farm no longer takes the credential. When the farm cannot be asked, it is taken on.
    pub(super) async fn gone(&self, credential: Credential, operators: &dyn Operators) {
        let mut revoked = self.revoked.subscribe();
        let standing = self.of(credential, *revoked.borrow_and_update());
        loop {
            // The sender lives as long as this.
            let _ = timeout(ASK, revoked.changed()).await;
            let times = *revoked.borrow_and_update();
            let mut standing = standing.lock().await;
            if standing.revoked != times || standing.asked.elapsed() >= ASK {
                match credential.stands(operators).await {
                    Ok(stands) => *standing = Standing { asked: Instant::now(), revoked: times, gone: !stands },
                    // Asked again after a while, and not by all of them at once.
                    Err(_) => standing.asked = Instant::now(),
                }
            }
            if standing.gone {
                return;
            }
        }
    }

    fn of(&self, credential: Credential, revoked: u64) -> Arc<AsyncMutex<Standing>> {
        let mut of = self.of.lock();
        if let Some(standing) = of.get(&credential).and_then(Weak::upgrade) {
            return standing;
        }
        // Whoever waits is few beside whoever asks, and each has been let in a moment ago.
        of.retain(|_, standing| standing.strong_count() > 0);
        let standing = Arc::new(AsyncMutex::new(Standing { asked: Instant::now(), revoked, gone: false }));
        of.insert(credential, Arc::downgrade(&standing));
        standing
    }
}
