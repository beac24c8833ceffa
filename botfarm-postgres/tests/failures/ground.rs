//! What a failure is tried on: bots of a project of its own, in a database of its own.

use std::{
    env,
    fmt::Debug,
    time::{Duration, Instant},
};

use botfarm_core::{
    Bot, BotFarm, Env, Holder, Keyring, Labels, Lease, LeasePolicy, LeaseRequest, MasterKey, NewBot, ProjectId, Result,
    Selector, conformance,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Database, Server};
use sqlx::{AssertSqlSafe, Connection, Decode, PgConnection, Postgres, Type};

/// No test waits so long, unless what it waits for does not come.
pub(crate) const FOREVER: Duration = Duration::from_mins(1);

/// How long waiters are ready to wait: longer than the tests.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// A part of the text of each statement that tests stop at.
pub(crate) mod statement {
    /// Claims, parks, takes up what was offered, or is told of it.
    pub(crate) const ACQUIRE: &str = "botfarm_acquire(";
    pub(crate) const MATCH: &str = "botfarm_match(";
    /// Looks a lease up, or renews it.
    pub(crate) const RECEIVE: &str = "botfarm_receive(";
    pub(crate) const END: &str = "botfarm_end(";
    pub(crate) const LEAVE: &str = "botfarm_leave(";
    pub(crate) const UPDATE: &str = "botfarm_update(";
    pub(crate) const LOOK: &str = "botfarm_look(";
    /// Finds out why a request got nothing.
    pub(crate) const STANDING: &str = "botfarm_standing(";
}

/// Bots of a project of its own, in a database of its own.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) database: Database,
    pub(crate) key: MasterKey,
    pub(crate) project: ProjectId,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::on(Server::shared().await).await
    }

    pub(crate) async fn on(server: &Server) -> Self {
        let database = Database::on(server).await;
        Self { database, key: MasterKey::generate(), project: ProjectId::new() }
    }

    /// Another process of the farm.
    pub(crate) async fn farm(&self) -> PostgresFarm {
        self.farm_at(&self.database.url()).await
    }

    /// Another process, which reaches the database by this URL.
    pub(crate) async fn farm_at(&self, url: &str) -> PostgresFarm {
        self.open(options(url)).await
    }

    pub(crate) async fn farm_with(&self, policy: LeasePolicy) -> PostgresFarm {
        self.open(options(&self.database.url()).policy(policy)).await
    }

    pub(crate) async fn open(&self, options: PostgresOptions) -> PostgresFarm {
        PostgresFarm::connect(options, self.keyring()).await.unwrap()
    }

    pub(crate) fn keyring(&self) -> Keyring {
        Keyring::new(self.key.expose_base64().parse().unwrap(), [])
    }

    pub(crate) fn new_bot(&self, name: &str) -> NewBot {
        let login = format!("{name}@{}.test", self.project).parse().unwrap();
        let password = format!("password of {name}").try_into().unwrap();
        NewBot::new(login, password, self.project.clone(), Env::STAGE)
    }

    pub(crate) async fn bots(&self, farm: &PostgresFarm, count: usize) -> Vec<Bot> {
        let mut bots = Vec::new();
        for index in 0..count {
            bots.push(farm.create(self.new_bot(&format!("bot-{index}"))).await.unwrap());
        }
        bots
    }

    pub(crate) async fn bot(&self, farm: &PostgresFarm) -> Bot {
        self.bots(farm, 1).await.remove(0)
    }

    pub(crate) fn any(&self) -> Selector {
        Selector::any().project(self.project.clone())
    }

    /// A request for any bot.
    pub(crate) fn ask(&self, name: &str) -> LeaseRequest {
        LeaseRequest::new(holder(name), self.any())
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url()).await.unwrap()
    }

    /// The one value that a statement gives.
    pub(crate) async fn value<T>(&self, statement: &str) -> T
    where
        T: for<'a> Decode<'a, Postgres> + Type<Postgres> + Send + Unpin,
    {
        self.try_value(statement).await.unwrap()
    }

    pub(crate) async fn try_value<T>(&self, statement: &str) -> sqlx::Result<T>
    where
        T: for<'a> Decode<'a, Postgres> + Type<Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.database.url()).await?;
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await
    }

    pub(crate) async fn run(&self, statement: &str) -> u64 {
        let mut connection = self.connection().await;
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap().rows_affected()
    }

    /// Waits until so many requests stand in the queue.
    pub(crate) async fn until_waiting(&self, count: i64) {
        const WAITING: &str = "select count(distinct w.lease_id) \
                               from wants w \
                               join listeners l using (lease_id) \
                               join processes p on p.id = l.process \
                               where p.alive_until > now()";
        let mut connection = self.connection().await;
        until("they wait", async || {
            sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut connection).await.unwrap() == count
        })
        .await;
    }

    /// From now on no process finds out by itself who may be served, or that its calls have gone.
    pub(crate) async fn nobody_looks(&self) {
        self.run(
            "create or replace function botfarm_look(
                process uuid, waits boolean, after_silence boolean, alive interval, grace interval
            )
            returns table (leases uuid[], calls uuid[], waiting boolean[], pools integer[]) language sql as
            $$ select '{}'::uuid[], '{}'::uuid[], '{}'::boolean[], '{}'::integer[] $$",
        )
        .await;
    }

    /// How many hand-outs are in force, offers included.
    pub(crate) async fn held(&self) -> i64 {
        self.value("select count(*) from bot_slots where lease_id is not null and expires_at > now()").await
    }

    /// Proves from the books that a bot was handed out to nobody between the hand-out of this fence and a lease of it.
    pub(crate) async fn assert_next(&self, fence: i64, next: &Lease) {
        let leased = next.bot();
        assert!(leased.fence.0 > fence, "{} is not larger than {fence}", leased.fence);
        let between: i64 = self
            .value(&format!(
                "select count(*) from history where bot_id = '{}' and fence > {fence} and fence < {}",
                leased.bot.id, leased.fence
            ))
            .await;
        assert_eq!(between, 0, "others had it in between");
    }

    /// Proves from the books that no bot had two holders at once, and that fences grow.
    pub(crate) async fn assert_sound(&self) {
        let faults: i64 = self
            .value(
                "with hand_outs as (
                    select bot_id, fence, leased_at, ended_at from history
                    union all
                    select bot_id, fence, leased_at, null from bot_slots where lease_id is not null and phase <> 'offered'
                )
                select count(*)
                from (
                    select leased_at, lag(ended_at, 1, '-infinity') over (partition by bot_id order by fence) as before
                    from hand_outs
                ) h
                where before is null or before > leased_at",
            )
            .await;
        assert_eq!(faults, 0, "hand-outs overlap");
    }
}

/// For a machine that is busy with other things, and a few connections for each of many farms.
pub(crate) fn options(url: &str) -> PostgresOptions {
    PostgresOptions::new(url)
        .unwrap()
        .policy(conformance::policy())
        .max_connections(4)
        .connect_timeout(Duration::from_secs(30))
        .statement_timeout(Duration::from_secs(30))
}

pub(crate) fn holder(name: &str) -> Holder {
    name.parse().unwrap()
}

pub(crate) fn labels(key: &str, value: &str) -> Labels {
    Labels::try_from([(key, value)]).unwrap()
}

/// What a lease is known by: its bots and their fences.
pub(crate) fn hand_outs(lease: &Lease) -> Vec<(botfarm_core::BotId, i64)> {
    lease.bots.iter().map(|leased| (leased.bot.id, leased.fence.0)).collect()
}

/// The code of the refusal.
pub(crate) fn refusal<T: Debug>(result: Result<T>) -> &'static str {
    result.expect_err("it is refused").code()
}

/// Why the lease was lost.
pub(crate) fn loss<T: Debug>(result: Result<T>) -> botfarm_core::EndReason {
    match result.expect_err("the lease is lost") {
        botfarm_core::Error::LeaseLost(lost) => lost.reason,
        error => panic!("the lease is lost, but for another reason: {error:?}"),
    }
}

/// How many rounds of a race to play: `BOTFARM_TEST_ROUNDS` times as many by hand.
pub(crate) fn rounds(in_ci: usize) -> usize {
    let factor = env::var("BOTFARM_TEST_ROUNDS").ok().map_or(1, |factor| factor.parse().expect("a number of rounds"));
    in_ci * factor
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + FOREVER;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until so many statements of the farm wait for a lock.
pub(crate) async fn until_blocked(ground: &Ground, count: i64) {
    const BLOCKED: &str =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("they wait for a lock", async || ground.value::<i64>(BLOCKED).await >= count).await;
}

/// What must come, comes in time.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Numbers that differ from run to run, for races.
pub(crate) fn chance(below: u64) -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 % below
}
