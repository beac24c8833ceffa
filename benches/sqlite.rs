//! The farm in a file next to the farm on Postgres and to bare commits of the same rows: same disk, same durability.
//!
//! Run with `cargo bench --bench sqlite --features postgres,sqlite`, or parts of it with their names behind `--`:
//!
//! | part | what |
//! |---|---|
//! | `pairs` | acquire and release, by 1 and 32 clients: both farms in turns |
//! | `commits` | an acquire, a release, and a bare commit of the rows of each, in turns |
//! | `open` | opens 100,000 bots with a million histories |
//!
//! Each figure is the median of rounds in turn. All files are in the folder for temporary files (`TMPDIR`), on which
//! `fsync` must mean something.

use std::{
    env,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use botfarm::{
    BotFarm, Ending, Env, Holder, Keyring, LeaseId, LeaseRequest, MasterKey, NewBot, PostgresFarm, PostgresOptions,
    ProjectId, Secret, Selector, SqliteFarm, SqliteOptions,
};
use postgres_lab::{Cluster, Database};
use rusqlite::{Connection, params};

/// How long each round takes.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// So many bots there are for each client.
const BOTS: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let parts: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    if wanted("pairs") {
        pairs().await?;
    }
    if wanted("commits") {
        commits().await?;
    }
    if wanted("open") {
        open().await?;
    }
    Ok(())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn bots(count: usize, project: &ProjectId) -> Result<Vec<NewBot>> {
    let bot = |number| {
        let login = format!("bot-{number}@shop.example").as_str().try_into()?;
        Ok(NewBot::new(login, Secret::try_from("correct horse battery")?, project.clone(), Env::STAGE))
    };
    (0..count).map(bot).collect()
}

fn ask(project: &ProjectId) -> Result<LeaseRequest> {
    Ok(LeaseRequest::new(Holder::try_from("bench")?, Selector::any().project(project.clone()).env(Env::STAGE)))
}

/// How many pairs of acquire and release all clients do in a second.
async fn rate(farm: &Arc<dyn BotFarm>, clients: usize, project: &ProjectId) -> Result<f64> {
    let until = Instant::now() + ROUND;
    let client = || {
        let (farm, project) = (Arc::clone(farm), project.clone());
        tokio::spawn(async move {
            let mut done = 0_u32;
            while Instant::now() < until {
                let lease = farm.acquire(ask(&project)?.wait(Duration::from_secs(10))).await?;
                farm.release(lease.id, Ending::clean()).await?;
                done += 1;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(done)
        })
    };
    let mut all = 0;
    for client in (0..clients).map(|_| client()).collect::<Vec<_>>() {
        all += client.await??;
    }
    Ok(f64::from(all) / ROUND.as_secs_f64())
}

async fn pairs() -> Result<()> {
    let cluster = Cluster::start(&[("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")]).await;
    let database = Database::on(cluster.server()).await;
    let options = PostgresOptions::new(&database.url())?.max_connections(40).runtime(tokio::runtime::Handle::current());
    let postgres = PostgresFarm::connect(options, Keyring::new(MasterKey::generate(), [])).await?;
    let folder = tempfile::tempdir()?;
    let sqlite = SqliteFarm::open(SqliteOptions::new(folder.path().join("farm.db")), None)?;
    let (sqlite, postgres): (Arc<dyn BotFarm>, Arc<dyn BotFarm>) = (Arc::new(sqlite), Arc::new(postgres));
    for clients in [1, 32] {
        let project = ProjectId::new();
        let mut rates = [Vec::new(), Vec::new()];
        for farm in [&sqlite, &postgres] {
            let named = bots(clients * BOTS, &project)?.into_iter().map(|bot| {
                let login = format!("{clients}-{}", bot.login.as_str()).as_str().try_into()?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(NewBot { login, ..bot })
            });
            farm.import(named.collect::<Result<_>>()?, false).await?;
            // Nobody's first statements count.
            rate(farm, clients, &project).await?;
        }
        for _ in 0..ROUNDS {
            for (farm, rates) in [&sqlite, &postgres].into_iter().zip(&mut rates) {
                rates.push(rate(farm, clients, &project).await?);
            }
        }
        let [sqlite, postgres] = rates.map(median);
        println!(
            "{clients} clients: {sqlite:.0} pairs/s in a file, {postgres:.0} on Postgres: {:.2} times",
            sqlite / postgres
        );
    }
    Ok(())
}

/// A database with the tables of a farm, and the same durability.
fn bare(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(include_str!("../botfarm-sqlite/src/schema.sql"))?;
    connection.execute(
        "insert into bots
         values (x'00', 'bot', 'project', 'stage', 'canary', '{}', x'00', 0, 0, 'ready', 0, null, 0, null)",
        [],
    )?;
    Ok(connection)
}

/// What an acquire writes, in a commit.
fn bare_acquire(connection: &mut Connection, lease: &[u8]) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction
        .prepare_cached(
            r#"insert into leases (id, terms, acquired_at, ttl, expires_at, bots)
               values (?1, '{"holder":"bench"}', 1764028800000000, 900000000, 1764029700000000, ?2)"#,
        )?
        .execute(params![lease, r#"[["01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42",7,null]]"#])?;
    transaction.commit()?;
    Ok(())
}

/// What a release writes, in a commit.
fn bare_release(connection: &mut Connection, lease: &[u8], fence: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction
        .prepare_cached(
            "update bots set condition = 'ready', fence = ?1, sticky = null, place = ?1, rests_until = null where id = x'00'",
        )?
        .execute([fence])?;
    transaction.prepare_cached("delete from leases where id = ?1")?.execute([lease])?;
    transaction
        .prepare_cached(
            r#"insert into history (lease, bot, fence, project, terms, acquired_at, ended_at, reason, outcome)
               values (?1, x'01931f6e7a3c7c449c1b5d2f7a1e0b42', ?2, 'project', '{"holder":"bench"}',
                 1764028800000000, 1764028800000001, 'released', 'clean')"#,
        )?
        .execute(params![lease, fence])?;
    transaction.commit()?;
    Ok(())
}

async fn commits() -> Result<()> {
    const CALLS: u32 = 1_000;
    let folder = tempfile::tempdir()?;
    let farm = SqliteFarm::open(SqliteOptions::new(folder.path().join("farm.db")), None)?;
    let project = ProjectId::new();
    farm.import(bots(BOTS, &project)?, false).await?;
    let mut bare = bare(&folder.path().join("bare.db"))?;
    let (mut took, mut fence) = ([Vec::new(), Vec::new(), Vec::new(), Vec::new()], 0);
    for round in 0..=ROUNDS {
        let mut spent = [Duration::ZERO; 4];
        for _ in 0..CALLS {
            fence += 1;
            let request = ask(&project)?;
            let mut step = |which: usize, start: Instant| spent[which] += start.elapsed();
            let start = Instant::now();
            let lease = farm.acquire(request).await?;
            step(0, start);
            let id = *LeaseId::new().as_uuid().as_bytes();
            let start = Instant::now();
            bare_acquire(&mut bare, &id)?;
            step(1, start);
            let start = Instant::now();
            farm.release(lease.id, Ending::clean()).await?;
            step(2, start);
            let start = Instant::now();
            bare_release(&mut bare, &id, fence)?;
            step(3, start);
        }
        // Nobody's first commits count.
        if round > 0 {
            for (took, spent) in took.iter_mut().zip(spent) {
                took.push(spent.as_secs_f64() * 1e6 / f64::from(CALLS));
            }
        }
    }
    let [acquire, bare_acquire, release, bare_release] = took.map(median);
    for (what, farm, bare) in [("acquire", acquire, bare_acquire), ("release", release, bare_release)] {
        println!("{what}: {farm:.0} µs; a bare commit of its rows {bare:.0} µs: {:.2} times", farm / bare);
    }
    Ok(())
}

async fn open() -> Result<()> {
    const MANY: usize = 100_000;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("farm.db");
    let farm = SqliteFarm::open(SqliteOptions::new(&path), None)?;
    farm.import(bots(MANY, &ProjectId::new())?, false).await?;
    drop(farm);
    // Ten of each bot, as the farm writes them.
    Connection::open(&path)?.execute(
        r#"with recursive counter (n) as (select 1 union all select n + 1 from counter where n < 10)
           insert into history (lease, bot, fence, project, terms, acquired_at, ended_at, reason, outcome)
           select randomblob(16), id, n, project,
             '{"holder":"checkout test","note":"a note","url":"https://ci.example/jobs/4711"}',
             1764028800000000 + n, 1764028900000000 + n, 'released', 'clean'
           from counter, bots
           order by n"#,
        [],
    )?;
    let size = std::fs::metadata(&path)?.len() >> 20;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let farm = SqliteFarm::open(SqliteOptions::new(&path), None)?;
        took.push(start.elapsed().as_secs_f64());
        drop(farm);
    }
    println!("{MANY} bots with {} histories, {size} MiB: open after {:.2} s", MANY * 10, median(took));
    Ok(())
}
