//! The farm in a file: one process owns it, one SQLite database keeps it, and it forgets nothing.
//!
//! ```
//! # use botfarm_core::{BotFarm, Env, LeaseRequest, NewBot, ProjectId, Selector};
//! # use botfarm_sqlite::{SqliteFarm, SqliteOptions};
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let farm = SqliteFarm::open(SqliteOptions::new("botfarm-data/farm.db"), None)?;
//! farm.create(NewBot::new("ada@test".parse()?, "pw".try_into()?, ProjectId::new(), Env::STAGE)).await?;
//! let lease = farm.acquire(LeaseRequest::new("my test".parse()?, Selector::any())).await?;
//! drop(farm); // or kill -9
//! let farm = SqliteFarm::open(SqliteOptions::new("botfarm-data/farm.db"), None)?;
//! farm.renew(lease.id, None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It is [`botfarm_engine`], with a journal in a file. Everything is decided in memory; what a turn changes is written by
//! a thread of its own, and an answer leaves when all that it says is on the disk. Whatever is appended while the thread
//! writes goes into its next commit, so that the answers of many callers share one.
//!
//! # What survives
//! A change goes through four states. Only a caller of the last one has an answer.
//!
//! | state | where it is | after a crash |
//! |---|---|---|
//! | decided | in the engine | gone; nobody was told |
//! | appended | in the journal's queue, whole turns in order; one lock makes both the turn and its place | gone; nobody was told |
//! | committing | in one transaction with the turns before and after it | all of it or nothing; nobody was told |
//! | kept | on the disk: WAL, `synchronous=FULL`, so the commit has come back from `fsync` | there; whoever asked is told now |
//!
//! Reads and refusals say things, too, such as who holds a bot: they wait until what they saw is kept.
//!
//! A commit is in the file whole or not at all, by SQLite's checksums over its write-ahead log. A lease is one row, so no
//! half of one can be read. A file is opened when it is whole: the header, the layout, its length, and every page and row
//! that a farm goes on with are looked at, and a farm that contradicts itself (a bot held twice) is refused like a damaged
//! one. The pages of the histories, of which there may be a hundred times as many, are looked at once the farm is open;
//! what is found damaged there ends its service with the same words. A new farm is made under
//! another name, and gets its own when it is whole and on the disk: an empty file with that name has lost everything, and
//! is refused.
//!
//! When a commit fails (the disk is full), nothing is taken back in memory. Whoever waits is told `Unavailable`, every
//! call from then on is refused before it does anything, and the same changes are written again each second until they
//! are kept; each says how a row is to be, so that to write it twice does no harm. [`check`](botfarm_core::BotFarm::check)
//! says so meanwhile.
//!
//! A grant whose caller hangs up before it is kept is undone; one that was kept and not received is had by its id, or
//! ends with its TTL. The queue is not kept: whoever waited asks again under the same id.
//!
//! Time goes on while the farm is closed. Leases that expired meanwhile live for a [grace](SqliteOptions::grace). A
//! machine whose clock was set back goes on from the latest time in the file.
//!
//! # What is secret
//! The file, its folder (when it is made), and the key beside it are for their owner alone. Passwords are sealed, each for
//! its bot's id, env, login and project: a row that something else has changed is loaded as a broken bot, without a
//! password, and handed out to nobody until it gets one. The ids
//! of leases and the digests of tokens are not in the file, only HMACs of them, under a secret that is in the file,
//! sealed: whoever reads it can neither release nor sign in. Whoever writes it makes no admin: each operator and token
//! has an HMAC over the row.
//!
//! # Layout
//! | module | what it is |
//! |---|---|
//! | `options` | how a farm is opened |
//! | `error` | what can go wrong with a file |
//! | `file` | files for the owner alone, the key beside the farm, and the lock that says who has it |
//! | `seal` | what is kept from those who read or write the file |
//! | `database` | the database: made, opened, checked |
//! | `inspection` | looks at the histories of a farm that is in use |
//! | `load` | all that has been kept |
//! | `keep` | how changes are written |
//! | `writer` | the thread that writes, and forgets old histories |
//! | `journal` | what has been appended, what has been kept, and who waits for it |
//! | `backup` | a copy, made while it is in use |
//! | `farm` | [`SqliteFarm`] |
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod backup;
mod changes;
mod database;
mod error;
mod farm;
mod file;
mod hand_outs;
mod inspection;
mod journal;
mod keep;
mod load;
mod options;
mod seal;
mod shared;
mod trail;
mod writer;

pub use farm::SqliteFarm;
pub use options::SqliteOptions;
