//! Passes over the queue where many bots are free that fit nobody who waits.

use std::time::{Duration, Instant};

use botfarm::{BotFarm, Ending, Env, LeaseRequest, NewBot, PostgresFarm, ProjectId, Secret, Selector};
use sqlx::{Connection, PgConnection};

use crate::{Result, holder, label, median, parked};

pub(crate) async fn that_fits_nobody(farm: &PostgresFarm, url: &str) -> Result<()> {
    for (bots, waiting) in [(10_000, 100), (100_000, 150)] {
        let project = ProjectId::new();
        let mut crowd = Vec::with_capacity(bots + waiting);
        for number in 0..bots + waiting {
            let login = format!("bot-{number}@{project}.example").as_str().try_into()?;
            let bot = NewBot::new(login, Secret::try_from("correct horse battery")?, project.clone(), Env::STAGE);
            // The first are wanted, each by one; the others are of no use to anybody.
            let kind = if number < waiting { format!("wanted-{number}") } else { format!("other-{}", number % 20) };
            crowd.push(NewBot { labels: label("kind", &kind), ..bot });
        }
        farm.import(crowd, false).await?;
        let kind = |number: usize| {
            let labels = label("kind", &format!("wanted-{number}"));
            LeaseRequest::new(holder(), Selector::any().project(project.clone()).env(Env::STAGE).labels(labels))
        };
        let mut held = Vec::new();
        for number in 0..waiting {
            held.push(farm.acquire(kind(number).ttl(Duration::from_hours(2))).await?.id);
        }
        let (served, mut came) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..waiting {
            let (farm, served, request) = (farm.clone(), served.clone(), kind(number).wait(Duration::from_hours(1)));
            tokio::spawn(async move {
                let lease = farm.acquire(request).await;
                let _ = served.send((Instant::now(), lease.map(|lease| lease.id)));
            });
        }
        let mut connection = PgConnection::connect(url).await?;
        parked(&mut connection, waiting).await?;
        sqlx::query("analyze").execute(&mut connection).await?;
        let pool: i32 = sqlx::query_scalar("select id from pools where project = $1")
            .bind(project.to_string())
            .fetch_one(&mut connection)
            .await?;
        let mut passes = Vec::new();
        for _ in 0..20 {
            let started = Instant::now();
            sqlx::query("select * from botfarm_match(array[$1::integer], 0, '{}', 64, '10 s', '15 s', 64)")
                .bind(pool)
                .execute(&mut connection)
                .await?;
            passes.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let mut took = Vec::new();
        for id in held {
            let released = Instant::now();
            farm.release(id, Ending::clean()).await?;
            let (at, lease) = came.recv().await.ok_or("nobody came")?;
            took.push((at - released).as_secs_f64() * 1e3);
            farm.release(lease?, Ending::clean()).await?;
        }
        let worst = took.iter().copied().fold(0.0, f64::max);
        println!(
            "{bots} bots, {waiting} waiters that they do not fit: a pass takes {:.1} ms; a freed bot is granted within \
             {:.1} ms (median), {worst:.1} ms (worst)",
            median(passes),
            median(took)
        );
    }
    Ok(())
}
