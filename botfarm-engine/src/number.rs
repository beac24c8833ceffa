//! What the engine numbers.

/// Where a bot is kept. Used again once the bot is deleted.
pub(crate) type Slot = usize;

/// Which selector index.
pub(crate) type IndexId = usize;

/// Which pool.
pub(crate) type PoolId = usize;

/// A place in the queue: who has the smaller ticket came first.
pub(crate) type Ticket = u64;

/// Which of the hand-outs that have ended: they are counted.
pub(crate) type PastId = u64;
