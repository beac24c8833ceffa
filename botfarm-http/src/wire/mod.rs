//! What goes over the wire: one set of structs for both ends.
//!
//! The client serialises requests and deserialises answers. The server serialises answers; requests it reads field by
//! field, so that every faulty field is named and unknown ones are refused.

mod audit;
mod fault;
mod hand_out;
mod lease;
mod macros;
mod operator;
mod problem;
mod queue;
mod request;
mod run;
mod terms;
mod user;
mod value;

pub use audit::AuditRow;
pub use fault::{Fault, field, name, pointer};
pub use hand_out::HandOutRow;
pub use lease::{ActiveLease, ActiveUser, HistoryRow, Lease, LeaseTerms, LeaseUser, Locked, Unlocked};
pub use operator::{
    AccessToken, Credentials, EndedLeases, IssuedToken, NewOperator, NewPassword, NewToken, Operator, PasswordChange,
    Token,
};
pub use problem::{Code, Oldest, Problem};
pub use queue::Waiter;
pub use request::{LeaseRequest, LockRequest, Renewal, RevokeRequest, Selector, UserRelease};
pub use run::{EndedRun, RunEnd};
pub use terms::Terms;
pub use user::{Health, HealthStatus, Message, NewUser, Pool, Stats, User, UserChanges, UserLease};
pub use value::{Expiry, Password, Seconds, Time};
