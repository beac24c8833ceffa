//! The farm on a real Postgres: pairs of acquire and release next to pgbench with the same statements, and next to
//! themselves when something else goes on.
//!
//! Run with `cargo bench --bench postgres --features postgres`, or parts of it with their names behind `--`:
//!
//! | part | what |
//! |---|---|
//! | `statements` | statements per release while so many wait |
//! | `handover` | how long a released bot takes to a waiter in another process |
//! | `straight` | by id, by login, sticky, pairs; one replica and two: next to "any" |
//! | `neighbours` | "any" while others wait in another project |
//! | `horizon` | "any" and by login while a transaction is held open for `BOTFARM_BENCH_HELD` seconds (180) |
//! | `crowd` | what a pass takes over 10,000 and 100,000 bots that fit nobody who waits |
//! | `import` | renewals and releases while 400,000 rows are imported |
//! | `pairs` | next to pgbench, which takes its statements from the `.sqlx` folder of the backend, so that the two cannot drift apart |
//!
//! Everything takes about half an hour; each figure is the median of rounds in turn.

mod beside_pgbench;
mod crowd;
mod hand_over;
mod horizon;
mod import;
mod neighbours;
mod straight;

use std::{
    collections::HashMap,
    env,
    time::{Duration, Instant},
};

use botfarm::{
    BotFarm, Domain, Ending, Env, Holder, Keyring, Labels, LeaseRequest, MasterKey, NewBot, PostgresFarm,
    PostgresOptions, ProjectId, Secret, Selector,
};
use postgres_lab::{Cluster, Database};
use sqlx::{Connection, PgConnection};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);

/// Set for the process that waits.
const WAITER: &str = "BOTFARM_BENCH_WAITER";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    if let Ok(url) = env::var(WAITER) {
        return hand_over::wait_again_and_again(&url).await;
    }
    let cluster = Cluster::start(&[
        ("shared_buffers", "1GB"),
        ("max_wal_size", "8GB"),
        ("shared_preload_libraries", "pg_stat_statements"),
    ])
    .await;
    let database = Database::on(cluster.server()).await;
    let key = MasterKey::generate();
    let text = key.expose_base64().to_string();
    let farm = open(&database.url(), &text).await?;
    let parts: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    if wanted("statements") {
        for waiters in [1, 100, 1_000] {
            hand_over::statements(&farm, &database.url(), waiters).await?;
        }
    }
    if wanted("handover") {
        hand_over::to_another_process(&farm, &database.url(), &text).await?;
    }
    if wanted("straight") {
        straight::beside_any(&farm, &open(&database.url(), &text).await?, &database.url()).await?;
    }
    if wanted("neighbours") {
        neighbours::beside_none(&farm, &database.url()).await?;
    }
    if wanted("horizon") {
        horizon::held_open(&farm, &database.url()).await?;
    }
    if wanted("crowd") {
        crowd::that_fits_nobody(&farm, &database.url()).await?;
    }
    if wanted("import") {
        import::while_others_lease(&farm).await?;
    }
    if wanted("pairs") {
        let mut free = HashMap::new();
        for pool in beside_pgbench::POOLS {
            beside_pgbench::next_to_pgbench(&farm, &database.url(), pool, &mut free).await?;
        }
    }
    Ok(())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

async fn open(url: &str, key: &str) -> Result<PostgresFarm> {
    let options = PostgresOptions::new(url)?
        .max_connections(40)
        .statement_timeout(Duration::from_mins(2))
        // As a service does.
        .runtime(tokio::runtime::Handle::current());
    Ok(PostgresFarm::connect(options, Keyring::new(key.parse()?, [])).await?)
}

fn holder() -> Holder {
    Holder::try_from("bench").unwrap_or_else(|_| unreachable!("the name is fine"))
}

fn ask(project: &ProjectId) -> LeaseRequest {
    LeaseRequest::new(holder(), Selector::any().project(project.clone()).env(Env::STAGE).domain(Domain::default()))
}

async fn fill(farm: &PostgresFarm, project: &ProjectId, pool: usize) -> Result<()> {
    let started = Instant::now();
    let mut made = 0;
    while made < pool {
        let count = (pool - made).min(100_000);
        let mut bots = Vec::with_capacity(count);
        for number in made..made + count {
            let login = format!("bot-{number}@{project}.example").as_str().try_into()?;
            bots.push(NewBot::new(login, Secret::try_from("correct horse battery")?, project.clone(), Env::STAGE));
        }
        farm.import(bots, false).await?;
        made += count;
    }
    if pool > 1 {
        println!("imported {pool} bots in {:.1?}", started.elapsed());
    }
    Ok(())
}

/// The ids of the bots of a project.
async fn ids(url: &str, project: &ProjectId) -> Result<Vec<botfarm::BotId>> {
    let mut connection = PgConnection::connect(url).await?;
    let ids: Vec<sqlx::types::Uuid> =
        sqlx::query_scalar("select b.id from bots b join pools p on p.id = b.pool_id where p.project = $1")
            .bind(project.to_string())
            .fetch_all(&mut connection)
            .await?;
    connection.close().await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// Clears away what the measurement before has left, so that all begin alike.
async fn tidy(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for table in ["bot_slots", "waiters"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("vacuum analyze {table}"))).execute(&mut connection).await?;
    }
    sqlx::query("checkpoint").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// How many hand-outs have ended.
async fn ended(url: &str) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let count: f64 = sqlx::query_scalar("select count(*)::float8 from history").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(count)
}

/// Pairs of acquire and release through the farms, by turns; what each asks for, `request` tells. Returns how many in a
/// second.
async fn pairs(
    farms: &[PostgresFarm],
    clients: usize,
    time: Duration,
    request: impl Fn(usize) -> LeaseRequest + Clone + Send + 'static,
) -> Result<f64> {
    let started = Instant::now();
    let end = started + time;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (farm, request) = (farms[client % farms.len()].clone(), request.clone());
            tokio::spawn(async move {
                let mut made = 0_u32;
                while Instant::now() < end {
                    match farm.acquire(request(client)).await {
                        Ok(lease) => {
                            farm.release(lease.id, Ending::clean()).await?;
                            made += 1;
                        }
                        Err(botfarm::Error::Exhausted(_) | botfarm::Error::Busy(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok::<_, botfarm::Error>(made)
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await??;
    }
    Ok(f64::from(made) / started.elapsed().as_secs_f64())
}

fn label(key: &str, value: &str) -> Labels {
    Labels::try_from([(key, value)]).unwrap_or_else(|_| unreachable!("the label is fine"))
}

/// Returns when so many stand in the queue.
async fn parked(connection: &mut PgConnection, count: usize) -> Result<()> {
    let count = i64::try_from(count)?;
    let waiting = "select count(distinct lease_id) from wants";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *connection).await? < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
