//! Faults of earlier versions, put back into the functions of a database: the schedules find each of them.

use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{Finding, explore};

/// Far fewer schedules are enough to find each fault.
const MOST: u64 = 3_000;

/// Gives a function another body, in which `SOUND` is a call of what it was, and `$1` its first argument. Schedules find
/// what is `wrong` then.
async fn is_found(function: &str, body: &str, wrong: &str) {
    let database = Database::new().await;
    PostgresFarm::migrate(PostgresOptions::new(&database.url()).unwrap()).await.unwrap();
    let relapse = "do $do$
        declare
            f pg_proc;
            arguments text;
        begin
            select * into strict f from pg_proc where proname = 'NAME';
            select string_agg('$' || i, ', ') into arguments from generate_series(1, f.pronargs) i;
            execute format('alter function %s rename to NAME_sound', f.oid::regprocedure);
            execute format(
                'create function NAME(%s) returns %s language sql as %L',
                pg_get_function_arguments(f.oid),
                pg_get_function_result(f.oid),
                replace($body$BODY$body$, 'SOUND', format('NAME_sound(%s)', arguments))
            );
        end $do$";
    let relapse = relapse.replace("NAME", function).replace("BODY", body);
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(relapse)).execute(&mut connection).await.unwrap();
    let Finding { seed, complaint, .. } = explore(&database, 1, MOST).await.expect("it is found");
    println!("{function}, found by schedule {seed}: {}", complaint.lines().next().unwrap_or_default());
    assert!(complaint.contains(wrong), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_is_undone_though_it_was_seen_is_found() {
    let body = "select botfarm_lock($1);
        update bot_slots set phase = 'granted', taker = $2 where lease_id = $1 and phase = 'seen';
        select * from SOUND";
    is_found("botfarm_leave", body, "was undone though it was seen").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_that_ends_whichever_lease_has_the_bot_by_now_is_found() {
    let body = "select botfarm_end_sound(s.lease_id, $2, $3, $4, $5, $6, $7)
        from history h
        join bot_slots s on s.bot_id = h.bot_id
        where h.lease_id = $1
            and s.lease_id is not null
            and not exists (select from bot_slots x where x.lease_id = $1)
        limit 1;
        select * from SOUND";
    is_found("botfarm_end", body, "was ended by a call for something else").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_that_is_granted_again_after_its_end_is_found() {
    is_found("botfarm_acquire", "delete from history where lease_id = $1; select * from SOUND", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_who_passes_those_who_wait_is_found() {
    is_found("botfarm_wanted", "select false", "who stood in the queue for the same before").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_reuse_of_an_id_that_changes_what_was_asked_is_found() {
    let body = "update waiters set terms = $8 where lease_id = $1; select * from SOUND";
    is_found("botfarm_acquire", body, "is not what was asked for").await;
}
