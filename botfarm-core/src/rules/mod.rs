//! What every farm decides in the same way: pure functions, for those who write a backend.
//!
//! `matching` finds a bot for each selector. `absence` says why no bots could ever satisfy a request, `shortage` what a
//! request is told that got nothing, `lost` what the id of a lease says that has ended. `ending` says how a lease leaves its
//! bots, and which lease a release or a revocation means. `import` compares rows with the bots that there are. `nearest` is
//! the name that somebody may have meant.

mod absence;
mod ending;
mod import;
mod lost;
pub mod matching;
mod nearest;
mod shortage;

pub use absence::Place;
pub use ending::Aftermath;
pub use import::{Difference, twins};
pub use lost::{never_held, nobody_received};
pub use nearest::nearest;
pub use shortage::{is_told_busy, retry_after};
