//! "Any", while others wait in another project and env.

use std::time::Duration;

use botfarm::{BotFarm, Env, LeaseRequest, NewBot, PostgresFarm, ProjectId, Secret, Selector};
use sqlx::{Connection, PgConnection};

use crate::{Result, TIME, ask, fill, holder, median, pairs, parked, tidy};

const ROUNDS: usize = 5;
const CLIENTS: [usize; 2] = [16, 32];

pub(crate) async fn beside_none(farm: &PostgresFarm, url: &str) -> Result<()> {
    let (project, elsewhere) = (ProjectId::new(), ProjectId::new());
    fill(farm, &project, 10_000).await?;
    let bot = NewBot::new("elsewhere".parse()?, Secret::try_from("correct horse")?, elsewhere.clone(), Env::PROD);
    farm.create(bot).await?;
    let there = || LeaseRequest::new(holder(), Selector::any().project(elsewhere.clone()).env(Env::PROD));
    farm.acquire(there().ttl(Duration::from_hours(2))).await?;
    let mut connection = PgConnection::connect(url).await?;
    println!("clients  waiting elsewhere   pairs/s   of none");
    for clients in CLIENTS {
        let mut made = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (made, waiting) in made.iter_mut().zip([0, 1, 100]) {
                let waiters: Vec<_> = (0..waiting)
                    .map(|_| {
                        let (farm, request) = (farm.clone(), there().wait(Duration::from_hours(1)));
                        tokio::spawn(async move { farm.acquire(request).await.map(drop) })
                    })
                    .collect();
                parked(&mut connection, waiting).await?;
                tidy(url).await?;
                let of = project.clone();
                made.push(pairs(std::slice::from_ref(farm), clients, TIME, move |_| ask(&of)).await?);
                waiters.iter().for_each(tokio::task::JoinHandle::abort);
                while sqlx::query_scalar::<_, i64>("select count(*) from wants").fetch_one(&mut connection).await? > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        let made = made.map(median);
        for (made_now, waiting) in made.iter().zip([0, 1, 100]) {
            println!("{clients:>7}  {waiting:>17}  {made_now:>8.0}  {:>8.2}", made_now / made[0]);
        }
    }
    Ok(())
}
