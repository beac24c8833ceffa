//! Pairs of acquire and release through [`PostgresFarm`], next to pgbench running the same statements on the same
//! server; and how long a released bot takes to reach a waiter in another process.
//!
//! Run with `cargo bench --bench postgres`, or one part of it with `-- pairs`, `-- statements` or `-- handover`. It takes
//! about ten minutes. pgbench takes its statements from the `.sqlx` folder of the backend, so the two cannot drift
//! apart.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use botfarm::{
    BotFarm, Domain, Ending, Env, Holder, Keyring, LeaseId, LeaseRequest, MasterKey, NewBot, PostgresFarm,
    PostgresOptions, ProjectId, Secret, Selector,
};
use botfarm_postgres::testing::{Cluster, Database};
use sqlx::{Connection, PgConnection};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);
/// The farm and pgbench take turns: each has so many, and the median of them counts.
const ROUNDS: usize = 5;
const CLIENTS: [usize; 2] = [1, 32];
/// With the first, 32 clients have as many free bots as with the second when 99 % of that are held: one.
const POOLS: [usize; 4] = [1, 50, 10_000, 1_000_000];
const HELD: [usize; 2] = [0, 99];

/// Set for the process that waits.
const WAITER: &str = "BOTFARM_BENCH_WAITER";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    if let Ok(url) = env::var(WAITER) {
        return wait_again_and_again(&url).await;
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
    let part = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("statements") {
        for waiters in [1, 100, 1_000] {
            statements(&farm, &database.url(), waiters).await?;
        }
    }
    if wanted("handover") {
        hand_over(&farm, &database.url(), &text).await?;
    }
    if wanted("pairs") {
        let mut free = HashMap::new();
        for pool in POOLS {
            next_to_pgbench(&farm, &database.url(), pool, &mut free).await?;
        }
    }
    Ok(())
}

/// `free` is what there was of pools of which nothing was held, by pool and clients.
async fn next_to_pgbench(
    farm: &PostgresFarm,
    url: &str,
    pool: usize,
    free: &mut HashMap<(usize, usize), f64>,
) -> Result<()> {
    let project = ProjectId::new();
    fill(farm, project, pool).await?;
    println!("pool        held  clients   farm pairs/s   pgbench pairs/s   ratio");
    for held in HELD {
        let held_bots = pool * held / 100;
        if held > 0 && held_bots == 0 {
            continue;
        }
        hold(url, project, held_bots).await?;
        for clients in CLIENTS {
            let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                // Both counted by the history, which has a row for each pair that was one: with more clients than free
                // bots, not every try is.
                tidy(url).await?;
                let before = ended(url).await?;
                let time = pgbench(url, project, clients)?;
                let between = ended(url).await?;
                theirs.push((between - before) / time);
                tidy(url).await?;
                let time = pairs(farm, project, clients).await?;
                ours.push((ended(url).await? - between) / time);
                ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
            }
            let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
            println!("{pool:>9}  {held:>3} %  {clients:>7}  {ours:>13.0}  {theirs:>16.0}  {ratio:>6.2}");
            if held == 0 {
                free.insert((pool, clients), ours);
                continue;
            }
            for of in [pool, pool - held_bots] {
                if let Some(free) = free.get(&(of, clients)) {
                    println!("{:>26} {of} free: {:.2} times as many", "", free / ours);
                }
            }
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

fn ask(project: ProjectId) -> LeaseRequest {
    LeaseRequest::new(holder(), Selector::any().project(project).env(Env::Stage).domain(Domain::default()))
}

async fn fill(farm: &PostgresFarm, project: ProjectId, pool: usize) -> Result<()> {
    let started = Instant::now();
    let mut made = 0;
    while made < pool {
        let count = (pool - made).min(100_000);
        let mut bots = Vec::with_capacity(count);
        for number in made..made + count {
            let login = format!("bot-{number}@{project}.example").as_str().try_into()?;
            bots.push(NewBot::new(login, Secret::try_from("correct horse battery")?, project, Env::Stage));
        }
        farm.import(bots, false).await?;
        made += count;
    }
    if pool > 1 {
        println!("imported {pool} bots in {:.1?}", started.elapsed());
    }
    Ok(())
}

/// Lets the first `held` bots of the pool be held for a day.
async fn hold(url: &str, project: ProjectId, held: usize) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(
        "update bot_slots s
        set lease_id = gen_random_uuid(), holder = 'somebody', leased_at = now(), ttl = '1 day',
            expires_at = now() + interval '1 day', free_at = now() + interval '1 day'
        from (
            select s.bot_id
            from bot_slots s
            join pools p on p.id = s.pool_id
            where p.project_id = $1
            order by s.bot_id
            limit $2
        ) f
        where s.bot_id = f.bot_id",
    )
    .bind(project.as_uuid())
    .bind(i64::try_from(held)?)
    .execute(&mut connection)
    .await?;
    sqlx::query("vacuum analyze bots").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
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

/// Pairs through the farm; returns the seconds that it took.
async fn pairs(farm: &PostgresFarm, project: ProjectId, clients: usize) -> Result<f64> {
    let started = Instant::now();
    let end = started + TIME;
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let farm = farm.clone();
            tokio::spawn(async move {
                while Instant::now() < end {
                    match farm.acquire(ask(project)).await {
                        Ok(lease) => farm.release(lease.id, Ending::clean()).await?,
                        Err(botfarm::Error::Exhausted(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok::<_, botfarm::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// The statement of the backend that contains `part`, with its parameters filled in.
fn statement(part: &str, parameters: &[&str]) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("botfarm-postgres/.sqlx");
    for entry in fs::read_dir(folder)? {
        let file: serde_json::Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        let Some(query) = file["query"].as_str().filter(|query| query.contains(part)) else { continue };
        let mut query: String =
            query.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
        // Names of columns that pgbench can take for its variables.
        query = query.replace("!\"", "\"");
        for (index, parameter) in parameters.iter().enumerate().rev() {
            query = query.replace(&format!("${}", index + 1), parameter);
        }
        return Ok(query);
    }
    Err(format!("no statement contains {part}").into())
}

/// Pairs through pgbench, and the farm's refusal when there was nothing to claim; returns the seconds that it took.
fn pgbench(url: &str, project: ProjectId, clients: usize) -> Result<f64> {
    let id = "('00000000-0000-4000-8000-' || lpad(to_hex(:r::bigint), 12, '0'))::uuid";
    let project = format!("'{project}'::uuid");
    let claim = statement(
        "with oldest as",
        &[
            id,
            &project,
            "'stage'::text",
            "'canary'::text",
            "'ready'::text",
            "'{}'::text[]",
            "'{}'::uuid[]",
            "null::text",
            "'bench'::text",
            "null::text",
            "null::text",
            "null::text",
            "interval '900 s'",
            "null::bytea",
            "interval '15 s'",
        ],
    )?;
    let end = statement(
        "kept as (",
        &[id, "interval '0'", "'ready'::text", "'released'::text", "'clean'::text", "null::text", "null::text"],
    )?;
    let standing = statement(
        "with matching as",
        &[
            &project,
            "'stage'::text",
            "'canary'::text",
            "'{}'::text[]",
            "null::uuid[]",
            "'{}'::uuid[]",
            "'ready'::text",
            id,
            "'{}'::jsonb",
        ],
    )?;
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("pair.sql");
    let text = format!(
        "\\set r random(1, 281474976710655)\n\\set fence 0\n{claim} \\aset\n\
         \\if :fence > 0\n{end};\n\\else\n{standing};\n\\endif\n"
    );
    fs::write(&script, text)?;
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", TIME.as_secs()))
        .arg(format!("--file={}", script.display()))
        // What sqlx adds to a URL, libpq does not know.
        .arg(url.split('?').next().unwrap_or(url))
        .output()?;
    if !output.status.success() {
        return Err(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(TIME.as_secs_f64())
}

/// Returns when so many stand in the queue.
async fn parked(connection: &mut PgConnection, count: usize) -> Result<()> {
    let count = i64::try_from(count)?;
    let waiting = "select count(*) from waiters where parked and not granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *connection).await? < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Statements per release while so many wait for the same bot.
async fn statements(farm: &PostgresFarm, url: &str, waiters: usize) -> Result<()> {
    const RELEASES: usize = 200;
    let project = ProjectId::new();
    fill(farm, project, 1).await?;
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query("create extension if not exists pg_stat_statements").execute(&mut connection).await?;
    let first = farm.acquire(ask(project)).await?.id;
    let (granted, mut next) = tokio::sync::mpsc::unbounded_channel::<LeaseId>();
    for _ in 0..waiters + RELEASES {
        let (farm, granted) = (farm.clone(), granted.clone());
        let request = ask(project).wait(Duration::from_mins(3));
        tokio::spawn(async move {
            if let Ok(lease) = farm.acquire(request).await {
                let _ = granted.send(lease.id);
            }
        });
        // As many as shall wait throughout are there from the start; each release takes one.
    }
    parked(&mut connection, waiters + RELEASES).await?;
    sqlx::query("select pg_stat_statements_reset()").execute(&mut connection).await?;
    let started = Instant::now();
    let mut id = first;
    for _ in 0..RELEASES {
        farm.release(id, Ending::clean()).await?;
        id = next.recv().await.ok_or("nobody was served")?;
    }
    let took = started.elapsed();
    let counted: Vec<(String, i64)> = sqlx::query_as(
        "select case
                when query like '%kept as (%' then 'release'
                when query like '%botfarm_match%' then 'match'
                when query like '%pg_notify%' then 'notify'
            end as kind,
            sum(calls)::bigint
        from pg_stat_statements
        where query like '%kept as (%' or query like 'select granted_lease%' or query like '%pg_notify%'
        group by 1",
    )
    .fetch_all(&mut connection)
    .await?;
    let (calls, releases): (i64, i64) = (counted.iter().map(|(_, calls)| calls).sum(), i64::try_from(RELEASES)?);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_release = calls as f64 / releases as f64;
    println!("{waiters:>5} waiters: {per_release:.2} statements per release ({counted:?} in {took:.1?})");
    farm.release(id, Ending::clean()).await?;
    let mut left = waiters;
    while left > 0 {
        left -= 1;
        if let Some(id) = next.recv().await {
            farm.release(id, Ending::clean()).await?;
        }
    }
    Ok(())
}

fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())
}

/// The other process: takes a project a line from stdin, waits for its bot, says when it came, and gives it back.
async fn wait_again_and_again(url: &str) -> Result<()> {
    let farm = open(url, &env::var("BOTFARM_KEY")?).await?;
    for line in std::io::stdin().lines() {
        let project: ProjectId = line?.parse()?;
        let lease = farm.acquire(ask(project).wait(Duration::from_mins(1))).await?;
        let came = now()?;
        farm.release(lease.id, Ending::clean()).await?;
        println!("{came}");
    }
    Ok(())
}

/// How long a released bot takes to reach a waiter parked in another process.
async fn hand_over(farm: &PostgresFarm, url: &str, key: &str) -> Result<()> {
    const ROUNDS: usize = 300;
    let project = ProjectId::new();
    fill(farm, project, 1).await?;
    let mut connection = PgConnection::connect(url).await?;
    let mut waiter = Command::new(env::current_exe()?)
        .env(WAITER, url)
        .env("BOTFARM_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut orders = waiter.stdin.take().ok_or("no stdin")?;
    let mut answers = BufReader::new(waiter.stdout.take().ok_or("no stdout")?).lines();
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let lease = farm.acquire(ask(project).wait(Duration::from_secs(10))).await?;
        writeln!(orders, "{project}")?;
        parked(&mut connection, 1).await?;
        let released = now()?;
        farm.release(lease.id, Ending::clean()).await?;
        let came: u128 = answers.next().ok_or("the waiter has gone")??.parse()?;
        took.push(came.saturating_sub(released));
    }
    connection.close().await?;
    drop(orders);
    waiter.wait()?;
    took.sort_unstable();
    println!("hand-over to another process: p50 {} us, p99 {} us", took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
    Ok(())
}
