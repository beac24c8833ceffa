//! The farm.

use std::{fmt, path::Path, time::Duration};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, Cursor, EndedRun, Ending, HandOut,
    HandOutFilter, ImportReport, Keyring, Lease, LeaseId, LeaseRecord, LeaseRequest, Login, NewBot, Page, PageRequest,
    QueuedRequest, Result, Revocation, Run, RunEnding, Stats, Timestamp, Unreadable, background,
    operators::{
        NewToken, Operator, OperatorId, Operators, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId,
    },
};
use botfarm_engine::EngineFarm;
use rusqlite::params;

use crate::{
    backup, database,
    file::{self, Lock},
    hand_outs,
    journal::FileJournal,
    load,
    options::{Retention, SqliteOptions},
};

/// So many passwords are sealed anew between two commits.
const RESEALED: i64 = 500;

/// A farm in a file: one process owns it, and it forgets nothing.
///
/// A clone is another handle to the same farm. Whoever drops the last one waits, for moments, until what is still to be
/// written has been, and the file can be opened again. It needs a runtime with timers only where a call has to wait in
/// the queue.
///
/// See [the crate](crate) for what survives what.
#[derive(Clone)]
pub struct SqliteFarm {
    farm: EngineFarm<FileJournal>,
    keyring: Keyring,
}

impl SqliteFarm {
    /// Opens the farm in a file, which is made when it is not there. Blocks while it reads.
    ///
    /// Passwords are sealed under `keyring`. Where there is none, the key is in the file beside the farm whose name ends
    /// with `.key`; it is made with the farm.
    ///
    /// # Errors
    /// `Unavailable` when another process has the farm; `Forbidden` when the key is not that of the farm; `Malformed`
    /// when the file cannot be read or written, is not that of a farm, is damaged, or was written by a later version.
    pub fn open(options: SqliteOptions, keyring: Option<Keyring>) -> Result<Self> {
        let SqliteOptions { path, policy, grace, keep_history, keep_hand_outs } = options;
        file::make_folder(&path)?;
        let lock = Lock::take(&path)?;
        let keyring = keyring.map_or_else(|| file::key_beside(&path), Ok)?;
        let (connection, seal) = database::open(&path, &keyring)?;
        let retention = Retention { keep: keep_history, of_each_bot: keep_hand_outs };
        let journal = FileJournal::new(&path, connection, seal, retention, lock);
        let farm = EngineFarm::open(policy, journal, grace).map_err(|error| error.at(&path))?;
        Ok(Self { farm, keyring })
    }

    /// The same, without blocking a runtime. When the future is dropped, the farm is opened and closed again.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn connect(options: SqliteOptions, keyring: Option<Keyring>) -> Result<Self> {
        let opened = background::handle().spawn_blocking(move || Self::open(options, keyring)).await;
        opened.map_err(botfarm_core::Error::backend)?
    }

    /// The keys that it seals with.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Copies the farm in the file at `from` into a new file at `to`, for its owner alone, also while a process uses it.
    /// The copy is as the farm was at one moment. The key is not in it. Blocks while it copies.
    ///
    /// # Errors
    /// `Malformed` when `from` is not the file of a farm, or is damaged; when `to` exists; when either cannot be read or
    /// written.
    pub fn backup(from: &Path, to: &Path) -> Result<()> {
        Ok(backup::copy(from, to)?)
    }

    /// Seals anew what is not sealed under the current key. Gives how many passwords that were. One that is interrupted is
    /// begun again, with the same keys.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written; `Forbidden` when there are passwords that cannot be read: sealed
    /// under a key that the keyring does not have, or changed by something else than the farm. It names up to 20 of
    /// their bots; all others are sealed anew by then.
    pub async fn rekey(&self) -> Result<u64> {
        let (mut after, mut resealed, mut unreadable) = (Vec::new(), 0, Unreadable::default());
        loop {
            let (seal, from) = (self.farm.journal().seal().clone(), after);
            let batch = self.farm.journal().run(move |connection| {
                let transaction = connection.transaction()?;
                if from.is_empty() {
                    seal.begin_rekey(&transaction)?;
                }
                let rows = load::sealed(&transaction, &from, RESEALED)?;
                let (last, mut changed, mut unread) = (rows.last().map(|row| row.id.to_vec()), 0, Vec::new());
                for row in rows.iter().filter(|row| !seal.is_current(&row.sealed)) {
                    match seal.open_password(&row.sealed, &row.of()) {
                        Ok(password) => {
                            changed += transaction
                                .prepare_cached("update bots set sealed = ?2 where id = ?1")?
                                .execute(params![row.id, seal.password(&password, &row.of())])?
                                as u64;
                        }
                        // One that was tampered with keeps no other from its new key.
                        Err(error) => unread.push((row.of().bot, error)),
                    }
                }
                if last.is_none() {
                    seal.end_rekey(&transaction)?;
                }
                transaction.commit()?;
                Ok((last, changed, unread))
            });
            let (last, changed, unread) = batch.await?;
            resealed += changed;
            for (bot, error) in unread {
                unreadable.push(bot, &error);
            }
            let Some(last) = last else { return unreadable.or_resealed(resealed) };
            after = last;
        }
    }

    /// Does something with the file, after everything that was done so far was kept.
    pub(crate) async fn between_commits<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, crate::error::Error> + Send + 'static,
    ) -> Result<T> {
        self.farm.journal().run(work).await
    }

    /// What a lease is called within the farm, and in its file.
    fn inner(&self, id: LeaseId) -> LeaseId {
        self.farm.journal().seal().pepper.lease(id)
    }

    fn token_digest(&self, digest: TokenDigest) -> TokenDigest {
        self.farm.journal().seal().pepper.token(digest)
    }
}

/// How many bots, leases and waiters it has.
impl fmt::Debug for SqliteFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.farm.debug("SqliteFarm", f)
    }
}

/// The lease as its holder knows it.
fn outer(id: LeaseId) -> impl FnOnce(Lease) -> Lease {
    move |lease| Lease { id, ..lease }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BotFarm for SqliteFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.farm.create(bot).await
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.farm.import(bots, dry_run).await
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.farm.get(id).await
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        self.farm.list(filter, page).await
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.farm.update(id, changes).await
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.farm.delete(id).await
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let id = request.id;
        self.farm.acquire(LeaseRequest { id: self.inner(id), ..request }).await.map(outer(id))
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.farm.lookup(self.inner(id)).await.map(outer(id))
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.farm.renew(self.inner(id), ttl).await.map(outer(id))
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        self.farm.release(self.inner(id), ending).await
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        let lease = release.lease.map(|id| self.inner(id));
        self.farm.release_bot(bot, BotRelease { lease, ..release }).await
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.farm.revoke(bot, revocation).await
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        self.farm.end_run(run, ending).await
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases_of_run(run, page).await
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases(page).await
    }

    /// Those that have ended come out of the file: there are more of them than the engine remembers.
    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let current = self.farm.answer(|engine| engine.current(bot)).await?;
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::fence).transpose()?;
        let journal = self.farm.journal();
        let ended = journal.run(move |connection| load::history(connection, bot, before, limit + 1)).await?;
        // It may have ended meanwhile.
        let current = current.filter(|current| {
            before.is_none_or(|before| current.fence < before)
                && ended.first().is_none_or(|latest| latest.fence < current.fence)
        });
        let records = current.into_iter().chain(ended).take(limit + 1).collect();
        Ok(Page::of(records, limit, |record: &LeaseRecord| Cursor::before_fence(record.fence)))
    }

    /// Out of the file, as a history.
    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        self.farm.answer(|_| Ok(())).await?;
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::number).transpose()?;
        let filter = filter.clone();
        self.farm.journal().run(move |connection| hand_outs::page(connection, &filter, before, limit)).await
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        self.farm.queue(page).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.farm.stats().await
    }

    async fn check(&self) -> Result<()> {
        self.farm.check().await
    }
}

#[async_trait]
impl Operators for SqliteFarm {
    async fn add_operator(&self, login: Login, password: PasswordHash, role: Role) -> Result<Operator> {
        self.farm.add_operator(login, password, role).await
    }

    async fn operators(&self) -> Result<Vec<Operator>> {
        self.farm.operators().await
    }

    async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>> {
        self.farm.operator(login).await
    }

    async fn set_password(
        &self,
        id: OperatorId,
        from: Option<PasswordHash>,
        to: PasswordHash,
    ) -> Result<Option<Operator>> {
        self.farm.set_password(id, from, to).await
    }

    async fn refresh_password(&self, id: OperatorId, from: PasswordHash, to: PasswordHash) -> Result<bool> {
        self.farm.refresh_password(id, from, to).await
    }

    async fn end_sessions(&self, id: OperatorId) -> Result<Option<Operator>> {
        self.farm.end_sessions(id).await
    }

    async fn remove_operator(&self, id: OperatorId) -> Result<bool> {
        self.farm.remove_operator(id).await
    }

    async fn add_token(&self, token: NewToken) -> Result<Token> {
        let digest = self.token_digest(token.digest);
        self.farm.add_token(NewToken { digest, ..token }).await
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        self.farm.tokens().await
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<Token>> {
        self.farm.token(self.token_digest(digest)).await
    }

    async fn remove_token(&self, id: TokenId) -> Result<bool> {
        self.farm.remove_token(id).await
    }

    async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>> {
        self.farm.session(session, operator).await
    }

    async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()> {
        self.farm.end_session(session, until).await
    }
}
