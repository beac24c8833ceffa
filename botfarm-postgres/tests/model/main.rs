//! A model of how leases are given and taken, explored step by step in every order.
//!
//! The database is its rows ([`rows`]): slots, waiters, history, and a clock of a few ticks. Calls ([`state`]) send
//! statements to it from two processes. Each statement commits at any time, may lose its reply and is then repeated, and
//! may even commit late, after its repetition; clients hang up at any time, processes are killed. [`promises`] says what
//! holds in every state, against what each client has been told.
//!
//! | step | function in `sql/` |
//! |---|---|
//! | `acquire`, then `look_on`, then `claim` | `botfarm_acquire`: the locks and the slots of its id; the history, the place, and free bots that it locks (`botfarm_take`) unless somebody waits for them (`botfarm_wanted`); the write. Between these snapshots commits whoever does not need the lock of the id (`botfarm_lock`) |
//! | `stand`, `refuse` | the same, when it is to wait, and when it is not or no longer (`try` and `stop`) |
//! | `receive`, within `acquire` and for `Renew` | `botfarm_receive`, for a call and for who looks or renews |
//! | `hand_out` | `botfarm_hand_out` |
//! | `end`, for `Release` | `botfarm_end` |
//! | `read_holder`, then `end`, for `ReleaseBot` | who holds the bot, then `botfarm_end` of that lease |
//! | `leave` | `botfarm_leave` |
//! | `Gather`, then `Serve` | `botfarm_match`: the statement that gathers free bots, then the others, under the lock of the pool. That a pass may begin whenever there is something to do stands for those after a release, and for `botfarm_look` |
//! | `Wake`, `TakeAway` | what a process does when `botfarm_look` tells that a call waits for nothing any more, and of a listener without a call: `botfarm_leave`, if it still listens |
//! | `Tick` | time: a lease lives for two, an offer for one, a place is kept for one, a heartbeat lasts for one |
//!
//! A listener is a call, and a lease remembers which call alone has been told of it: so a `leave` that is repeated, or
//! comes late, concerns nothing but what that very call was given.
//!
//! [`Fault`] lists steps that looked as good. Put back into the model, each breaks a promise, and a test sees it found: a
//! change of the protocol that brings one of them back is found here first.
//!
//! `BOTFARM_MODEL=large` explores with one more of everything that may go wrong: many minutes for each test.

mod acquire;
mod audit;
mod lease;
mod look;
mod pass;
mod promises;
mod protocol;
mod rows;
mod scenario;
mod state;
mod step;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::{
    promises::{
        ALL_SERVED, AT_REST, ENDED_IS_ENDED, GRANTED_ANEW, IN_ORDER, LAPSED, NEVER_UNDONE, ONE_HOLDER, PLACE, QUEUED,
        REFUSED, SAW_FIRST, TAKEN_OVER, THE_SAME, UNDONE, WHOLE,
    },
    rows::Set,
    scenario::{Ask, Bounds, Fault, Protocol, Scenario, is_large},
};

const FIRST: Set = Set(0b01);
const SECOND: Set = Set(0b10);
const ANY: Set = Set(0b11);

fn scenario<const N: usize>(bots: usize, asks: [Ask; N], bounds: Bounds) -> Scenario {
    Scenario { bots, asks: asks.to_vec(), bounds }
}

/// Every promise is kept in all states, and what `shows` names happens in some.
fn keeps(scenario: Scenario, shows: &[&str]) {
    let scenario = Scenario { bounds: scenario.bounds.grown(), ..scenario };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Protocol { scenario, fault: None };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.threads(if is_large() { threads } else { 1 }).spawn_dfs().join();
    println!("{} states, {} steps deep at most", checker.unique_state_count(), checker.max_depth());
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let steps = found.remove(property.name).map(stateright::Path::into_actions);
        if property.expectation != Expectation::Sometimes {
            assert_eq!(steps, None, "{}", property.name);
        } else if shows.contains(&property.name) {
            assert!(steps.is_some(), "never: {}", property.name);
        }
    }
}

/// With the faulty step each of the promises is broken, and without it none.
fn finds(fault: Fault, broken: &[&'static str], scenario: Scenario) {
    let model = Protocol { scenario: scenario.clone(), fault: Some(fault) };
    let all = HasDiscoveries::AllOf(broken.iter().copied().collect());
    let checker = model.checker().finish_when(all).spawn_bfs().join();
    for promise in broken {
        let steps = checker.discovery(promise).map(stateright::Path::into_actions);
        println!("{promise}: {steps:?}");
        assert!(steps.is_some(), "not found: {promise}");
    }
    keeps(scenario, &[]);
}

#[test]
fn twins_hang_up_and_renew_and_nobody_loses_by_it() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(0, &[ANY]), Ask::Renew { id: 0 }, Ask::acquire(1, &[ANY])];
    let bounds = Bounds { ticks: 1, hang_ups: 1, losses: 1, looks: 1, ..Bounds::default() };
    keeps(scenario(1, asks, bounds), &[UNDONE, GRANTED_ANEW, QUEUED, LAPSED]);
}

#[test]
fn three_wait_for_two_bots_and_are_served_in_order() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY]), Ask::acquire(2, &[FIRST]), Ask::Release { id: 0 }];
    let bounds = Bounds { ticks: 1, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(2, asks, bounds), &[UNDONE, QUEUED, LAPSED, ALL_SERVED]);
}

#[test]
fn a_request_for_two_is_served_whole_and_in_its_turn() {
    let asks =
        [Ask::acquire(0, &[ANY, ANY]), Ask::acquire(1, &[FIRST]), Ask::try_once(2, &[ANY]), Ask::Release { id: 1 }];
    let bounds = Bounds { ticks: 1, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(2, asks, bounds), &[UNDONE, QUEUED, LAPSED]);
}

#[test]
fn a_lease_of_two_is_renewed_and_ends_whole() {
    let asks = [Ask::acquire(0, &[ANY, ANY]), Ask::Renew { id: 0 }, Ask::acquire(1, &[SECOND]), Ask::Release { id: 0 }];
    let bounds = Bounds { ticks: 3, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(2, asks, bounds), &[UNDONE, TAKEN_OVER, ALL_SERVED]);
}

#[test]
fn a_release_by_bot_ends_the_lease_that_it_saw() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY]), Ask::ReleaseBot { bot: 0 }, Ask::Release { id: 0 }];
    let bounds = Bounds { ticks: 2, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(1, asks, bounds), &[UNDONE, QUEUED, LAPSED, TAKEN_OVER, ALL_SERVED]);
}

#[test]
fn an_id_stands_for_one_request() {
    let asks =
        [Ask::acquire(0, &[FIRST]), Ask::acquire(0, &[SECOND]), Ask::acquire(1, &[FIRST]), Ask::Release { id: 1 }];
    let bounds = Bounds { ticks: 1, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(2, asks, bounds), &[UNDONE, GRANTED_ANEW, ALL_SERVED]);
}

#[test]
fn an_expired_lease_is_taken_over_and_its_id_never_granted_again() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::try_once(0, &[ANY]), Ask::acquire(1, &[ANY]), Ask::Renew { id: 0 }];
    let bounds = Bounds { ticks: 2, hang_ups: 1, losses: 1, ..Bounds::default() };
    keeps(scenario(1, asks, bounds), &[UNDONE, GRANTED_ANEW, LAPSED, TAKEN_OVER, ALL_SERVED]);
}

#[test]
fn a_killed_process_blocks_nobody() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY])];
    let bounds = Bounds { ticks: 3, hang_ups: 1, kills: 1, ..Bounds::default() };
    keeps(scenario(1, asks, bounds), &[QUEUED, TAKEN_OVER]);
}

#[test]
fn an_undo_that_ignores_renewals_makes_two_holders() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::Renew { id: 0 }, Ask::acquire(1, &[ANY])];
    let bounds = Bounds { hang_ups: 1, ..Bounds::default() };
    finds(Fault::UndoIgnoresRenewals, &[NEVER_UNDONE, ONE_HOLDER], scenario(1, asks, bounds));
}

#[test]
fn a_renewal_judged_row_by_row_keeps_a_part_of_the_lease() {
    let asks = [Ask::acquire(0, &[ANY, ANY]), Ask::Renew { id: 0 }];
    let bounds = Bounds { ticks: 2, ..Bounds::default() };
    finds(Fault::JudgesRowByRow, &[THE_SAME], scenario(2, asks, bounds));
}

#[test]
fn an_upsert_that_overwrites_before_it_compares_gives_what_the_refused_wanted() {
    let asks = [Ask::acquire(0, &[FIRST]), Ask::acquire(0, &[SECOND]), Ask::acquire(1, &[FIRST])];
    let faulty = scenario(2, asks, Bounds::default());
    finds(Fault::OverwritesBeforeComparing, &[REFUSED, THE_SAME], faulty);
}

#[test]
fn a_retry_that_looks_for_the_holder_anew_ends_the_next_lease() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::ReleaseBot { bot: 0 }, Ask::acquire(1, &[ANY])];
    let bounds = Bounds { losses: 1, ..Bounds::default() };
    finds(Fault::ReleaseLooksAnew, &[SAW_FIRST, NEVER_UNDONE], scenario(1, asks, bounds));
}

#[test]
fn room_for_one_listener_costs_a_twin_its_place() {
    let asks = [
        Ask::acquire(0, &[ANY]),
        Ask::acquire(1, &[ANY]),
        Ask::acquire(1, &[ANY]),
        Ask::acquire(2, &[ANY]),
        Ask::Release { id: 0 },
    ];
    let bounds = Bounds { hang_ups: 1, ..Bounds::default() };
    finds(Fault::OneListener, &[PLACE, IN_ORDER], scenario(1, asks, bounds));
}

#[test]
fn a_claim_without_a_lock_on_its_id_grants_an_ended_one_again() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(0, &[ANY]), Ask::Release { id: 0 }];
    finds(Fault::NoIdLock, &[ENDED_IS_ENDED], scenario(1, asks, Bounds::default()));
}

#[test]
fn a_history_read_before_the_rows_misses_what_expires_meanwhile() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(0, &[ANY]), Ask::acquire(1, &[FIRST])];
    let bounds = Bounds { ticks: 2, ..Bounds::default() };
    finds(Fault::HistoryBeforeRows, &[ENDED_IS_ENDED], scenario(2, asks, bounds));
}

#[test]
fn a_place_read_after_the_rows_hides_what_a_pass_has_granted() {
    let asks = [Ask::acquire(0, &[ANY, ANY]), Ask::acquire(1, &[ANY]), Ask::acquire(1, &[ANY]), Ask::Release { id: 0 }];
    let faulty = scenario(2, asks, Bounds::default());
    finds(Fault::RowsBeforePlace, &[WHOLE], faulty);
}

#[test]
fn processes_that_listen_undo_what_the_id_was_granted_anew() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY])];
    let bounds = Bounds { hang_ups: 1, losses: 1, ..Bounds::default() };
    finds(Fault::ProcessesListen, &[NEVER_UNDONE, ONE_HOLDER, PLACE], scenario(1, asks, bounds));
}

#[test]
fn a_leave_that_nobody_makes_up_for_blocks_the_bot_for_ever() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY])];
    let bounds = Bounds { hang_ups: 1, losses: 1, ..Bounds::default() };
    finds(Fault::LeaveIsNotMadeUpFor, &[AT_REST], scenario(1, asks, bounds));
}

#[test]
fn a_stray_that_is_not_looked_for_again_loses_the_lease_that_it_got() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY]), Ask::Release { id: 0 }];
    let bounds = Bounds { looks: 1, ..Bounds::default() };
    finds(Fault::StrayIsNotLookedForAgain, &[NEVER_UNDONE], scenario(1, asks, bounds));
}

#[test]
fn a_refusal_that_takes_the_row_takes_a_twins_place() {
    let asks = [Ask::acquire(0, &[ANY]), Ask::acquire(1, &[ANY]), Ask::try_once(1, &[ANY])];
    finds(Fault::RefusalTakesTheRow, &[REFUSED, PLACE], scenario(1, asks, Bounds::default()));
}

#[test]
fn a_stale_choice_that_is_not_made_again_serves_those_behind() {
    let asks = [
        Ask::acquire(0, &[SECOND]),
        Ask::acquire(1, &[ANY]),
        Ask::acquire(2, &[ANY]),
        Ask::acquire(3, &[FIRST]),
        Ask::Release { id: 0 },
    ];
    finds(Fault::StaleChoiceIsPassedOver, &[IN_ORDER], scenario(2, asks, Bounds::default()));
}
