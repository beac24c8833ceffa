//! What is seen of all users together.

use botfarm_core::{Env, Holder, Outcome, ProjectId, Run, operators::Role};

use super::{
    examples,
    operation::{Operation, text},
};
use crate::wire::{HandOutRow, Time, Waiter};

pub(in crate::server) fn history() -> Operation {
    Operation::new("users", "list_history", "See who has had which users")
        .about(
            "The leases that have ended, of all users that there are, those that ended last first. Those in force are in \
             `GET /leases`. One page, with a link to the next in `Link`. It is looked for among 10,000 of them: with a filter \
             that few pass, a page may have fewer than its limit, or none, and a link all the same.",
        )
        .role(Role::Viewer)
        .page()
        .query::<Holder>("holder", "Only those of this holder.")
        .query::<Run>("run", "Only those of this run.")
        .query_of("user", "Only those of this user: its id, its login, or its env and login as in `stage/qa-7`.", text())
        .query::<ProjectId>("project_id", "Only those of users that were in this project then.")
        .query::<Env>("env", "Only those of users of this env.")
        .query::<Time>("since", "Only those that ended at this time or later.")
        .query::<Time>("until", "Only those that began before this time.")
        .query::<Outcome>("outcome", "Only those that left the user like this, as its holder said.")
        .gives_list::<HandOutRow>("The leases.", examples::hand_out())
        .with("Link")
}

pub(in crate::server) fn waiters() -> Operation {
    Operation::new("leases", "list_waiters", "See who waits, and why")
        .about(
            "In the order of the queue. All of them; with `limit` or `cursor` one page, with a link to the next in `Link`. A \
             token that is confined sees those that wait for what it may use, and their places among each other.",
        )
        .role(Role::Viewer)
        .page()
        .gives_list::<Waiter>("Who waits.", examples::waiter())
        .with("Link")
}
