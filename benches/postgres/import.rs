//! An import of 400,000 rows, while 32 clients lease, renew and release.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm::{BotFarm, Ending, Env, LeaseRequest, NewBot, PostgresFarm, ProjectId, Secret, Selector};

use crate::{Result, ask, fill, holder, label};

const ROWS: usize = 400_000;
const CHANGED: usize = 1_000;
const CLIENTS: usize = 32;

/// The longest that each took, in milliseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Worst {
    renewal: f64,
    release: f64,
    renewal_of_changed: f64,
    refused: u32,
}

pub(crate) async fn while_others_lease(farm: &PostgresFarm) -> Result<()> {
    let (project, changed) = (ProjectId::new(), ProjectId::new());
    fill(farm, &project, 1_000).await?;
    fill(farm, &changed, CHANGED).await?;
    // All that the import changes are held.
    let mut held = Vec::new();
    for _ in 0..CHANGED {
        let request =
            LeaseRequest::new(holder(), Selector::any().project(changed.clone())).ttl(Duration::from_hours(1));
        held.push(farm.acquire(request).await?.id);
    }
    let mut rows = Vec::with_capacity(ROWS);
    for number in 0..ROWS {
        let of = if number < CHANGED { &changed } else { &project };
        let name = if number < CHANGED { "bot" } else { "imported" };
        let login = format!("{name}-{number}@{of}.example").as_str().try_into()?;
        let bot = NewBot::new(login, Secret::try_from("correct horse battery")?, of.clone(), Env::STAGE);
        rows.push(if number < CHANGED { NewBot { labels: label("changed", "yes"), ..bot } } else { bot });
    }
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (farm, done, mine, project) = (farm.clone(), done.clone(), held[client], project.clone());
            tokio::spawn(async move {
                let mut worst = Worst::default();
                let since = |started: Instant| started.elapsed().as_secs_f64() * 1e3;
                while !done.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    farm.renew(mine, None).await?;
                    worst.renewal_of_changed = worst.renewal_of_changed.max(since(started));
                    let lease = match farm.acquire(ask(&project)).await {
                        Ok(lease) => lease,
                        Err(botfarm::Error::Exhausted(_)) => {
                            worst.refused += 1;
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    let started = Instant::now();
                    farm.renew(lease.id, None).await?;
                    worst.renewal = worst.renewal.max(since(started));
                    let started = Instant::now();
                    farm.release(lease.id, Ending::clean()).await?;
                    worst.release = worst.release.max(since(started));
                }
                Ok::<_, botfarm::Error>(worst)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let started = Instant::now();
    let report = farm.import(rows, false).await?;
    let took = started.elapsed();
    done.store(true, Ordering::Relaxed);
    let mut worst = Worst::default();
    for client in clients {
        let one = client.await??;
        worst.renewal = worst.renewal.max(one.renewal);
        worst.release = worst.release.max(one.release);
        worst.renewal_of_changed = worst.renewal_of_changed.max(one.renewal_of_changed);
        worst.refused += one.refused;
    }
    println!("imported {ROWS} rows in {took:.1?} ({report:?}) beside {CLIENTS} clients: {worst:.1?}");
    Ok(())
}
