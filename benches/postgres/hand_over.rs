//! How long a released bot takes to reach who waits for it, and how many statements that takes.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use botfarm::{BotFarm, Ending, LeaseId, PostgresFarm, ProjectId};
use sqlx::{Connection, PgConnection};

use crate::{Result, WAITER, ask, fill, open, parked};

/// Statements per release while so many wait for the same bot.
pub(crate) async fn statements(farm: &PostgresFarm, url: &str, waiters: usize) -> Result<()> {
    const RELEASES: usize = 200;
    let project = ProjectId::new();
    fill(farm, &project, 1).await?;
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query("create extension if not exists pg_stat_statements").execute(&mut connection).await?;
    let first = farm.acquire(ask(&project)).await?.id;
    let (granted, mut next) = tokio::sync::mpsc::unbounded_channel::<LeaseId>();
    for _ in 0..waiters + RELEASES {
        let (farm, granted) = (farm.clone(), granted.clone());
        let request = ask(&project).wait(Duration::from_mins(3));
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
                when query like '%botfarm_end(%' then 'release'
                when query like '%botfarm_match%' then 'match'
                when query like '%pg_notify%' then 'notify'
            end as kind,
            sum(calls)::bigint
        from pg_stat_statements
        where query like '%botfarm_end(%' or query like '%botfarm_match(%' or query like '%pg_notify%'
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
pub(crate) async fn wait_again_and_again(url: &str) -> Result<()> {
    let farm = open(url, &env::var("BOTFARM_KEY")?).await?;
    for line in std::io::stdin().lines() {
        let project: ProjectId = line?.parse()?;
        let lease = farm.acquire(ask(&project).wait(Duration::from_mins(1))).await?;
        let came = now()?;
        farm.release(lease.id, Ending::clean()).await?;
        println!("{came}");
    }
    Ok(())
}

/// How long a released bot takes to reach a waiter parked in another process.
pub(crate) async fn to_another_process(farm: &PostgresFarm, url: &str, key: &str) -> Result<()> {
    const ROUNDS: usize = 300;
    let project = ProjectId::new();
    fill(farm, &project, 1).await?;
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
        let lease = farm.acquire(ask(&project).wait(Duration::from_secs(10))).await?;
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
