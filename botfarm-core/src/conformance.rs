//! Proves a farm: one named test for each claim of the [contract](crate::BotFarm#contract).
//!
//! Whoever writes a farm turns the feature `conformance` on for its tests, and needs tokio (`macros`,
//! `rt-multi-thread`) and these lines:
//!
//! ```
//! # use std::sync::Arc;
//! # use botfarm_core::BotFarm;
//! # fn my_farm(_: botfarm_core::LeasePolicy) -> Arc<dyn BotFarm> { unimplemented!() }
//! // tests/conformance.rs
//! async fn farm() -> Arc<dyn BotFarm> {
//!     my_farm(botfarm_core::conformance::policy())
//! }
//!
//! botfarm_core::conformance!(farm); // every farm
//! botfarm_core::conformance_local!(farm); // those that are no client of a service
//! ```
//!
//! `farm` is called once for each test, and may give whatever is a [`Fixture`]: the farm itself, several handles to the
//! same store, or something that keeps a server alive. All tests may share one store and run at the same time: each
//! mints a project of its own, assumes nothing about the rest of the farm, and deletes nothing but its own.
//!
//! The claims of `conformance_local!` are those that a client of a service cannot keep: what is not sent over the wire
//! (`owner`, `origin`, `fingerprint`, who revokes), that a grant is undone which has already left the service, and that the
//! runtime of the test may be blocked (a service in the same process often runs on it).
//!
//! Beside the claims there is [`model`]: random operations, and a naive model of a farm that says what each has to come
//! to. [`conformance_model!`](crate::conformance_model) makes tests of it.
//!
//! Nothing is timed from above except by a generous patience, and nothing sleeps to hope: a claim waits until the farm
//! itself says so. That a request stands in the queue is told by `waiting` of a [`Shortage`](crate::Shortage).
#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "a claim says what it claims, and panics where it does not hold"
)]

use std::{sync::Arc, time::Duration};

use crate::{BotFarm, LeasePolicy};

mod answers;
pub mod audit;
mod bots;
mod choices;
mod contention;
mod counts;
pub mod envs;
mod expiry;
mod grants;
mod hang_ups;
mod history;
pub mod idempotency;
mod imports;
mod lists;
mod local;
pub mod model;
mod names;
pub mod operators;
mod queue;
mod releases;
mod retries;
mod revocations;
mod runs;
mod secrets;
mod seen;
mod sets;
mod trial;
mod waiter;

pub use trial::Trial;

/// The policy of a farm under test: TTLs from 10 milliseconds to a day, a minute by default; no delay after a release,
/// 300 milliseconds of rest after an expiry or a revocation.
#[must_use]
pub fn policy() -> LeasePolicy {
    LeasePolicy {
        default_ttl: Duration::from_mins(1),
        min_ttl: Duration::from_millis(10),
        max_ttl: Duration::from_hours(24),
        reuse_delay: Duration::ZERO,
        cooling: Duration::from_millis(300),
        ..LeasePolicy::default()
    }
}

/// The farm under test, and whatever has to live as long: a server, a temporary database.
///
/// Every farm that can be cloned is one. Others implement this on a type of their own, which is dropped when the test
/// has ended.
pub trait Fixture {
    /// Handles to one and the same farm, at least one: two processes' worth of it where a farm can be shared by
    /// processes. A claim goes through all of them in turn.
    fn handles(&self) -> Vec<Arc<dyn BotFarm>>;
}

impl<F: BotFarm + Clone> Fixture for F {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        vec![Arc::new(self.clone()), Arc::new(self.clone())]
    }
}

impl Fixture for Vec<Arc<dyn BotFarm>> {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.clone()
    }
}

/// Lists the claims, and makes of each list a macro that makes tests of it.
macro_rules! claims {
    ($d:tt $(#[$doc:meta])* $name:ident: $($group:ident { $($claim:ident,)+ })+) => {
        $(#[doc(hidden)] pub use $group::{$($claim),+};)+

        $(#[$doc])*
        #[macro_export]
        macro_rules! $name {
            ($d make:expr) => {
                $($(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $claim() {
                        let fixture = ($d make)().await;
                        $d crate::conformance::$claim($d crate::conformance::Trial::on(&fixture)).await;
                    }
                )+)+
            };
        }
    };
}

claims! { $
    /// Makes a test of each claim that every farm keeps, remote ones too. See [`conformance`](mod@crate::conformance).
    conformance:
    bots {
        bot_shows_who_holds_it,
        created_bot_is_kept_as_given,
        deleted_bot_is_gone,
        expired_lease_stands_in_nobodys_way,
        farm_answers_its_check,
        held_bot_is_neither_moved_nor_deleted,
        logins_are_unique_within_their_env_case_aside,
        new_password_reaches_the_holder,
        one_of_many_creations_of_a_login_succeeds,
        unknown_bot_is_named_in_the_refusal,
        update_changes_what_is_given_and_nothing_else,
    }
    choices {
        avoided_bot_is_not_granted,
        sticky_key_does_not_wait_while_others_fit,
        sticky_key_gets_its_last_bot,
        sticky_key_prefers_the_bot_last_leased_with_it,
        sticky_set_gets_its_last_bots,
        waiter_is_not_served_with_what_it_avoids,
    }
    contention {
        crashes_and_hang_ups_lose_no_bot,
        one_bot_has_one_holder_among_many_contenders,
        one_of_many_who_try_once_gets_the_bot,
        pool_is_shared_without_a_collision,
    }
    counts {
        expired_lease_is_counted_no_longer,
        leases_have_neither_gaps_nor_repeats_while_others_come_and_go,
        leases_in_force_are_listed,
        stats_count_each_bot_once,
    }
    expiry {
        bot_rests_after_expiry_and_is_seen_to,
        expired_lease_frees_the_bot,
        lease_is_over_at_its_end_though_nobody_wants_the_bot,
        nobody_gets_a_bot_before_its_leases_end,
        parked_waiter_is_served_when_the_lease_expires,
        renewal_counts_from_now_on,
        renewal_outside_the_limits_is_refused,
        renewed_lease_outlives_its_first_ttl,
        set_expires_and_is_renewed_as_one,
        stale_holder_cannot_harm_the_next,
    }
    grants {
        busy_bot_is_named_with_its_holder,
        invalid_request_is_refused_with_every_fault,
        lease_is_as_asked_and_granted,
        least_recently_used_bot_is_granted_first,
        passwords_survive_whole,
        request_without_ttl_gets_the_default,
        selector_gets_what_it_names,
        shortage_counts_the_bots_that_match,
        shortage_says_when_to_try_again,
        unknown_lease_is_refused,
        what_may_change_by_itself_is_no_reason_to_refuse_for_good,
        what_no_bot_could_satisfy_is_refused_at_once,
    }
    hang_ups {
        dropped_acquire_can_be_had_by_its_id_or_is_gone,
        dropped_creation_and_import_are_done_or_not,
        dropped_look_changes_nothing,
        dropped_release_is_done_or_not,
        dropped_renewal_is_done_or_not,
        dropped_revocation_is_done_or_not,
        dropped_update_and_deletion_are_done_or_not,
        dropped_waiter_can_be_had_by_its_id_or_is_gone,
    }
    history {
        expiry_stands_in_the_history_though_nobody_wants_the_bot,
        history_comes_in_pages_without_gaps_or_repeats,
        history_keeps_the_latest_hundred,
        history_tells_every_hand_out_newest_first,
        history_tells_the_project_that_the_bot_was_in,
    }
    imports {
        import_creates_updates_and_counts,
        import_does_not_move_a_held_bot,
        import_leaves_lease_and_condition_alone,
        import_says_who_keeps_a_bot_from_moving,
        import_that_changes_the_case_of_a_login_is_an_update,
        import_that_names_an_account_twice_is_refused_whole,
        imported_bot_serves_a_waiter,
    }
    lists {
        bad_pages_are_refused,
        list_after_a_deleted_bot_goes_on,
        list_gives_what_the_filter_names,
        list_shows_bots_as_a_look_does,
        pages_have_neither_gaps_nor_repeats_while_bots_come_and_go,
        pages_hold_every_bot_once_oldest_first,
    }
    names {
        misspelt_env_is_refused_at_once,
        names_of_a_team_are_kept,
        prod_bot_is_leased_to_those_alone_who_name_it,
    }
    queue {
        deletion_frees_what_an_impossible_set_was_waiting_with,
        new_bot_serves_a_waiter,
        nobody_who_asks_passes_a_waiter,
        place_is_kept_for_a_waiter_who_returns,
        place_is_kept_for_a_waiter_whose_time_was_up,
        shortage_and_stats_count_who_waits,
        try_once_does_not_join_the_queue,
        update_serves_the_waiters,
        waiter_who_goes_as_it_is_served_blocks_nobody,
        waiter_who_has_gone_blocks_nobody,
        waiter_whom_a_bot_does_not_fit_lets_the_next_pass,
        waiter_whose_bots_have_gone_is_refused,
        waiters_are_served_first_come_first_served,
        waiters_of_many_pools_are_all_served,
    }
    releases {
        broken_bot_rests_until_somebody_has_mended_it,
        dirty_bot_is_for_the_cleaner_alone,
        dirty_release_serves_a_waiting_cleaner,
        late_release_ends_no_lease_of_another_holder,
        lease_that_never_held_the_bot_is_told_as_released,
        outcome_is_of_all_bots_of_the_lease,
        release_of_a_bot_ends_the_lease_that_holds_it,
        release_of_a_bot_spares_other_leases_than_the_named,
        release_succeeds_again_and_changes_nothing,
        released_bot_is_free_at_once,
        released_lease_is_lost_to_all_but_release,
        released_lease_shows_its_holder_the_remark,
    }
    retries {
        ended_lease_id_is_refused,
        renewed_lease_is_given_again_as_renewed,
        same_lease_id_gets_the_same_lease,
        twin_that_hangs_up_takes_nothing_from_the_other,
        twins_in_flight_get_one_lease,
        twins_in_the_queue_get_one_lease,
    }
    revocations {
        bot_that_rests_is_seen_to_and_counted,
        revocation_ends_the_whole_lease,
        revoked_bot_rests_before_the_next_holder,
        revoked_holder_is_told_why,
        to_revoke_a_free_bot_changes_nothing,
    }
    runs {
        ended_run_leaves_its_bots_as_it_is_told,
        leases_of_a_run_are_listed_alone,
        place_kept_for_a_waiter_of_an_ended_run_is_gone,
        run_ends_with_its_leases_and_waiters_alone,
        run_that_nobody_knows_ends_nothing,
    }
    secrets {
        errors_keep_secrets,
        secrets_are_shown_to_the_holder_alone,
    }
    seen {
        hand_outs_are_listed_across_bots,
        queue_is_listed_in_its_order_with_what_keeps_each,
    }
    sets {
        request_for_many_is_not_starved_by_requests_for_one,
        set_gets_distinct_bots,
        set_is_granted_where_only_one_assignment_fits,
        set_is_granted_whole,
        set_is_refused_whole,
        set_that_no_bots_could_satisfy_is_refused_at_once,
        sets_that_overlap_do_not_deadlock,
        waiting_set_holds_no_bot_but_keeps_it_from_those_who_come_later,
        waiting_set_is_in_the_way_of_those_alone_who_want_its_bots,
    }
}

claims! { $
    /// Makes a test of each claim that a farm keeps towards its own process. See [`conformance`](mod@crate::conformance).
    conformance_local:
    local {
        bot_is_released_by_the_owner_of_its_lease_alone,
        calls_come_from_any_runtime,
        calls_go_on_while_the_first_runtime_is_blocked,
        dropped_acquire_is_undone_at_every_await,
        grant_that_nobody_received_is_undone,
        history_tells_whose_hand_out_it_was_and_where_it_came_from,
        lease_id_stands_for_one_fingerprint,
        revocation_tells_who_did_it,
        run_of_another_owner_is_left_to_it,
        what_an_owner_has_leased_is_taken_away_from_it_alone,
    }
}
