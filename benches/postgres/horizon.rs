//! What a transaction that is held open does to those who lease: dead rows stay in their way.

use std::{
    env,
    time::{Duration, Instant},
};

use botfarm::{Env, LeaseRequest, Login, PostgresFarm, ProjectId, Selector};
use sqlx::{Connection, PgConnection};

use crate::{Result, ask, fill, holder, pairs, tidy};

const BOTS: usize = 1_000;
const CLIENTS: usize = 32;
const SLICE: Duration = Duration::from_secs(10);

pub(crate) async fn held_open(farm: &PostgresFarm, url: &str) -> Result<()> {
    let held = env::var("BOTFARM_BENCH_HELD").ok().map_or(Ok(180), |seconds| seconds.parse())?;
    for by_login in [false, true] {
        let project = ProjectId::new();
        fill(farm, &project, BOTS).await?;
        tidy(url).await?;
        let request = move |_| {
            if by_login {
                let login = format!("bot-{}@{project}.example", fastrand::usize(..BOTS));
                let login = Login::try_from(login.as_str()).unwrap_or_else(|_| unreachable!("it is a login"));
                LeaseRequest::new(holder(), Selector::any().env(Env::STAGE).login(login))
            } else {
                ask(&project)
            }
        };
        let slice = async || pairs(std::slice::from_ref(farm), CLIENTS, SLICE, request.clone()).await;
        // What the server has to do besides, such as checkpoints, is under way before anything is held open.
        let (begun, mut before) = (Instant::now(), 0.0);
        while begun.elapsed() < Duration::from_secs(held) {
            before = slice().await?;
        }
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql("begin isolation level repeatable read; select count(*) from pools")
            .execute(&mut connection)
            .await?;
        let since = Instant::now();
        let mut last = before;
        while since.elapsed() < Duration::from_secs(held) {
            last = slice().await?;
        }
        sqlx::raw_sql("rollback").execute(&mut connection).await?;
        let (next, after) = (slice().await?, slice().await?);
        let what = if by_login { "by login" } else { "any" };
        println!(
            "{what}: {before:.0}/s before, {:.2} of it after {held} s of a transaction held open, {:.2} in the 10 s after it, \
             {:.2} in the next",
            last / before,
            next / before,
            after / before
        );
    }
    Ok(())
}
