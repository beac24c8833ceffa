//! The test support itself: what failure tests are built on must do what it says.
#![cfg(unix)]

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use postgres_lab::{Cluster, Database, Direction, Pgbouncer, Point, Proxy, Server, Signal};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;

/// Long enough for what must not happen to happen, if it could.
const A_WHILE: Duration = Duration::from_millis(300);
/// No test waits so long, unless what it waits for does not come.
const FOREVER: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// A connection to a database with a table `marks (name text)`.
async fn with_table(url: &str) -> PgConnection {
    let mut connection = connect(url).await;
    run(&mut connection, "create table marks (name text primary key)").await.unwrap();
    connection
}

async fn run(connection: &mut PgConnection, statement: &str) -> sqlx::Result<u64> {
    let result = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
    Ok(result.rows_affected())
}

async fn ask(connection: &mut PgConnection, statement: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(connection).await
}

async fn marks(connection: &mut PgConnection) -> i64 {
    ask(connection, "select count(*) from marks").await.unwrap()
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + FOREVER;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// Databases.

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(Database::new(), Database::new());
    let mut in_one = with_table(&one.url()).await;
    let mut in_other = with_table(&other.url()).await;
    run(&mut in_one, "insert into marks values ('a')").await.unwrap();
    assert_eq!((marks(&mut in_one).await, marks(&mut in_other).await), (1, 0));
}

#[tokio::test]
async fn dropped_database_is_removed_with_its_connections() {
    let database = Database::new().await;
    let name = database.name().to_owned();
    let mut inside = connect(&database.url()).await;
    let mut outside = connect(&Server::shared().await.url("postgres")).await;
    drop(database);
    let count = format!("select count(*) from pg_database where datname = '{name}'");
    let deadline = Instant::now() + FOREVER;
    while ask(&mut outside, &count).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "it stays");
    }
    assert!(ask(&mut inside, "select 1::bigint").await.is_err());
}

#[tokio::test]
async fn given_server_is_used_and_left_clean() {
    let cluster = Cluster::start(&[]).await;
    let given = cluster.server().url("postgres");
    let output = itself("helper_makes_a_database").env("BOTFARM_TEST_DATABASE_URL", &given).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let port = cluster.address().port();
    assert!(said.contains(&format!("@127.0.0.1:{port}/botfarm_test_")), "{said}");
    let mut connection = connect(&given).await;
    assert_eq!(
        ask(&mut connection, "select count(*) from pg_database where datname like 'botfarm%'").await.unwrap(),
        0
    );
}

#[tokio::test]
async fn faulty_url_fails_the_test_without_its_password() {
    let output = itself("helper_makes_a_database")
        .env("BOTFARM_TEST_DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:port/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("BOTFARM_TEST_DATABASE_URL: this is not a URL like postgres://user@host/database"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

// Servers.

#[tokio::test]
async fn settings_of_a_server_are_those_asked_for() {
    let cluster = Cluster::start(&[("fsync", "on"), ("max_connections", "17")]).await;
    let mut connection = connect(&cluster.server().url("postgres")).await;
    let shown: (String, String, String) = sqlx::query_as(
        "select current_setting('fsync'), current_setting('max_connections'), current_setting('full_page_writes')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(shown, ("on".into(), "17".into(), "off".into()));
}

#[tokio::test]
async fn killed_server_comes_back_with_what_was_committed() {
    let cluster = Cluster::start(&[]).await;
    let database = Database::on(cluster.server()).await;
    let mut connection = with_table(&database.url()).await;
    run(&mut connection, "insert into marks values ('committed')").await.unwrap();
    run(&mut connection, "begin").await.unwrap();
    run(&mut connection, "insert into marks values ('open')").await.unwrap();

    cluster.kill().await;
    assert!(run(&mut connection, "commit").await.is_err());
    assert!(PgConnection::connect(&database.url()).await.is_err());
    cluster.restart().await;

    let mut connection = connect(&database.url()).await;
    let names: Vec<String> = sqlx::query_scalar("select name from marks").fetch_all(&mut connection).await.unwrap();
    assert_eq!(names, ["committed"]);
    assert!(cluster.log().await.contains("ready to accept connections"));
}

#[tokio::test]
async fn stopped_server_refuses_until_it_is_restarted() {
    let cluster = Cluster::start(&[]).await;
    let url = cluster.server().url("postgres");
    cluster.stop().await;
    cluster.stop().await;
    assert!(PgConnection::connect(&url).await.is_err());
    cluster.restart().await;
    cluster.restart().await;
    assert_eq!(ask(&mut connect(&url).await, "select 1::bigint").await.unwrap(), 1);
}

#[tokio::test]
async fn paused_server_answers_once_it_is_resumed() {
    let cluster = Cluster::start(&[]).await;
    let mut connection = connect(&cluster.server().url("postgres")).await;
    cluster.pause().await;
    let mut answer = Box::pin(ask(&mut connection, "select 1::bigint"));
    assert!(timeout(A_WHILE, &mut answer).await.is_err());
    cluster.resume().await;
    assert_eq!(timeout(FOREVER, answer).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn stopped_backend_holds_its_locks_while_the_others_work() {
    let cluster = Cluster::start(&[]).await;
    let url = cluster.server().url("postgres");
    let mut holder = with_table(&url).await;
    run(&mut holder, "insert into marks values ('a')").await.unwrap();
    let backend = i32::try_from(ask(&mut holder, "select pg_backend_pid()::bigint").await.unwrap()).unwrap();
    run(&mut holder, "begin").await.unwrap();
    run(&mut holder, "update marks set name = 'b'").await.unwrap();
    cluster.signal_backend(backend, Signal::Stop);

    let mut committing = Box::pin(run(&mut holder, "commit"));
    assert!(timeout(A_WHILE, &mut committing).await.is_err());
    let mut other = connect(&url).await;
    assert_eq!(ask(&mut other, "select count(*) from (select from marks for update skip locked) it").await.unwrap(), 0);
    cluster.signal_backend(backend, Signal::Continue);
    timeout(FOREVER, committing).await.unwrap().unwrap();
    assert_eq!(ask(&mut other, "select count(*) from (select from marks for update skip locked) it").await.unwrap(), 1);
}

#[tokio::test]
async fn promoted_replica_has_a_later_timeline_and_lacks_what_it_never_got() {
    const TIMELINE: &str = "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";
    let primary = Cluster::start(&[]).await;
    let url = primary.server().url("postgres");
    let mut connection = with_table(&url).await;
    let between = Proxy::to(&url).await;
    let standby = Cluster::standby_of(between.address(), &[]).await;
    let mut replica = connect(&standby.server().url("postgres")).await;

    run(&mut connection, "insert into marks values ('replicated')").await.unwrap();
    let deadline = Instant::now() + FOREVER;
    while marks(&mut replica).await < 1 {
        assert!(Instant::now() < deadline, "it is never replicated");
    }
    assert!(run(&mut replica, "insert into marks values ('early')").await.is_err());
    assert_eq!(ask(&mut connection, TIMELINE).await.unwrap(), 1);

    between.freeze(Direction::Both);
    run(&mut connection, "insert into marks values ('lost')").await.unwrap();
    primary.kill().await;
    between.cut().await;
    standby.promote().await;
    assert_eq!(run(&mut replica, "insert into marks values ('late')").await.unwrap(), 1);
    assert_eq!(ask(&mut replica, TIMELINE).await.unwrap(), 2);
    assert_eq!(ask(&mut replica, "select count(*) from marks where name in ('replicated', 'late')").await.unwrap(), 2);
    assert_eq!(marks(&mut replica).await, 2);
}

// The end.

/// This test binary, to run one of its helpers.
fn itself(helper: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", helper, "--ignored", "--nocapture"]).env_remove("BOTFARM_TEST_DATABASE_URL");
    command
}

#[tokio::test]
#[ignore = "run by other tests, in a process of its own"]
async fn helper_makes_a_database() {
    let database = Database::new().await;
    connect(&database.url()).await;
    println!("{}", database.url());
}

#[tokio::test]
#[ignore = "run by other tests, in a process of its own, which they kill"]
async fn helper_waits_to_be_killed() {
    let cluster = Cluster::start(&[]).await;
    let standby = Cluster::standby_of(cluster.address(), &[]).await;
    let killed = Cluster::start(&[]).await;
    killed.kill().await;
    let connection = connect(&cluster.server().url("postgres")).await;
    standby.pause().await;
    for server in [&cluster, &standby, &killed] {
        println!("directory {}", server.socket_directory().display());
    }
    println!("ready");
    std::future::pending::<()>().await;
    drop(connection);
}

/// What a process that waits to be killed has started.
struct Started {
    process: Child,
    directories: Vec<PathBuf>,
    servers: Vec<String>,
}

impl Started {
    fn wait() -> Self {
        let mut command = itself("helper_waits_to_be_killed");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut directories = Vec::new();
        loop {
            let line = lines.next().expect("the process ends early").unwrap();
            directories.extend(line.split_once("directory ").map(|(_, path)| PathBuf::from(path)));
            if line.ends_with("ready") {
                break;
            }
        }
        // The third does not run.
        let servers = directories.iter().take(2).map(|directory| first_line(&directory.join("data/postmaster.pid")));
        let servers = servers.collect();
        Self { process, directories, servers }
    }

    async fn assert_gone(mut self) {
        // It is killed, so this does not take long.
        self.process.wait().unwrap();
        assert_eq!(self.directories.len(), 3);
        for directory in &self.directories {
            until("the directory is removed", async || !directory.exists()).await;
        }
        for server in &self.servers {
            // The rest of a process that ended is there until somebody collects it, with an empty command line.
            let command = Path::new("/proc").join(server).join("cmdline");
            until("the server ends", async || fs::read(&command).unwrap_or_default().is_empty()).await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_outlives_a_killed_process() {
    let mut started = Started::wait();
    started.process.kill().unwrap();
    started.assert_gone().await;
}

/// As test runners do at a timeout.
#[tokio::test]
async fn nothing_outlives_a_killed_process_group() {
    let started = Started::wait();
    let group = format!("-{}", started.process.id());
    let killed = Command::new("sh").args(["-c", r#"kill -s KILL -- "$1""#, "sh", &group]).status().unwrap();
    assert!(killed.success());
    started.assert_gone().await;
}

#[tokio::test]
async fn dropped_server_leaves_nothing() {
    let cluster = Cluster::start(&[]).await;
    let (directory, address) = (cluster.socket_directory().to_owned(), cluster.address());
    cluster.pause().await;
    drop(cluster);
    assert!(!directory.exists());
    assert!(std::net::TcpListener::bind(address).is_ok(), "the port is still taken");
}

// The proxy.

/// A database with a table `marks`, a proxy before it, a connection through it, and one past it.
async fn behind_a_proxy() -> (Database, Proxy, PgConnection, PgConnection) {
    let database = Database::new().await;
    let proxy = Proxy::to(&database.url()).await;
    let direct = with_table(&database.url()).await;
    let connection = connect(&proxy.url()).await;
    (database, proxy, connection, direct)
}

const INSERT: &str = "insert into marks values ('a')";

#[tokio::test]
async fn proxy_passes_everything_on() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let rows: Vec<String> = sqlx::query_scalar("select repeat('x', i) from generate_series(1, 2000) i")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(rows.iter().zip(1..).all(|(row, length)| row.len() == length));
    let long = "y".repeat(3_000_000);
    let length: i32 = sqlx::query_scalar("select length($1)").bind(&long).fetch_one(&mut connection).await.unwrap();
    assert_eq!(length, 3_000_000);

    let mut copy = connection.copy_in_raw("copy marks from stdin").await.unwrap();
    copy.send(&b"copied\n"[..]).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 1);
    assert!(run(&mut connection, "select 1 / 0").await.is_err());
    assert_eq!((marks(&mut connection).await, marks(&mut direct).await), (1, 1));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn proxy_lists_the_statements_that_were_carried_out() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    for i in 0..3_i64 {
        sqlx::query("select $1").bind(i).execute(&mut connection).await.unwrap();
    }
    sqlx::raw_sql("select 4").execute(&mut connection).await.unwrap();
    let statements = proxy.statements();
    assert_eq!(
        statements.iter().map(|it| &**it).collect::<Vec<_>>(),
        ["select $1", "select $1", "select $1", "select 4"]
    );
}

#[tokio::test]
async fn cut_ends_what_is_open_and_lets_new_ones_in() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    let url = proxy.url();
    let waiting = tokio::spawn(async move {
        let mut other = connect(&url).await;
        run(&mut other, "select pg_sleep(60)").await
    });
    until("it sleeps", async || proxy.statements().iter().any(|it| it.contains("pg_sleep"))).await;
    assert_eq!(proxy.connections(), 2);
    proxy.cut().await;
    assert_eq!(proxy.connections(), 0);
    assert!(timeout(FOREVER, waiting).await.unwrap().unwrap().is_err());
    assert!(ask(&mut connection, "select 1::bigint").await.is_err());
    assert_eq!(ask(&mut connect(&proxy.url()).await, "select 1::bigint").await.unwrap(), 1);
}

#[tokio::test]
async fn refuse_keeps_new_ones_out_and_what_is_open() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    proxy.refuse().await;
    let refused = PgConnection::connect(&proxy.url()).await.unwrap_err();
    let sqlx::Error::Io(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut connection, "select 1::bigint").await.unwrap(), 1);
    proxy.accept().await;
    assert_eq!(ask(&mut connect(&proxy.url()).await, "select 1::bigint").await.unwrap(), 1);
}

#[tokio::test]
async fn delay_holds_up_both_directions() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    run(&mut connection, "select 1").await.unwrap();
    proxy.delay(Duration::from_millis(50));
    let start = Instant::now();
    run(&mut connection, "select 1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn frozen_answer_comes_after_the_thaw() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    proxy.freeze(Direction::ToClient);
    let mut answer = Box::pin(run(&mut connection, INSERT));
    assert!(timeout(A_WHILE, &mut answer).await.is_err());
    assert!(timeout(A_WHILE, PgConnection::connect(&proxy.url())).await.is_err(), "new ones are frozen, too");
    proxy.thaw();
    assert_eq!(timeout(FOREVER, answer).await.unwrap().unwrap(), 1);
    assert_eq!(marks(&mut direct).await, 1);
}

#[tokio::test]
async fn frozen_request_is_lost_at_a_cut() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    proxy.freeze(Direction::ToServer);
    let mut answer = Box::pin(run(&mut connection, INSERT));
    assert!(timeout(A_WHILE, &mut answer).await.is_err());
    proxy.cut().await;
    proxy.thaw();
    assert!(timeout(FOREVER, answer).await.unwrap().is_err());
    assert_eq!(marks(&mut direct).await, 0);
}

/// The half-open connection: the client is gone, and the server does not hear of it.
#[tokio::test]
async fn stranded_connection_stays_open_on_the_other_side_while_new_ones_work() {
    const OTHERS: &str = "select count(*) from pg_stat_activity where datname = current_database() \
                          and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    proxy.strand(Direction::Both);
    assert!(timeout(A_WHILE, ask(&mut connection, "select 1::bigint")).await.is_err());
    drop(connection);
    let fresh = connect(&proxy.url()).await;
    fresh.close().await.unwrap();
    until("the fresh one is closed", async || proxy.connections() == 1).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(ask(&mut direct, OTHERS).await.unwrap(), 1, "the stranded one");
    proxy.cut().await;
    let deadline = Instant::now() + FOREVER;
    while ask(&mut direct, OTHERS).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the server never hears of the cut");
    }
}

#[tokio::test]
async fn cut_at_request_leaves_the_statement_undone() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let stop = proxy.cut_at(Point::Request, "insert into marks");
    assert_eq!(marks(&mut connection).await, 0, "another statement passes");
    assert!(run(&mut connection, INSERT).await.is_err());
    timeout(FOREVER, stop.reached()).await.unwrap();
    assert_eq!(marks(&mut direct).await, 0);
    assert_eq!(run(&mut connect(&proxy.url()).await, INSERT).await.unwrap(), 1, "the next one passes");
}

#[tokio::test]
async fn cut_at_reply_leaves_the_statement_committed_and_unanswered() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let stop = proxy.cut_at(Point::Reply, "insert into marks");
    let lost =
        sqlx::query_scalar::<_, String>("insert into marks values ('a') returning name").fetch_one(&mut connection);
    assert!(matches!(lost.await, Err(sqlx::Error::Io(_))));
    timeout(FOREVER, stop.reached()).await.unwrap();
    assert_eq!(marks(&mut direct).await, 1);
}

#[tokio::test]
async fn stop_at_reply_finds_statements_that_were_prepared_before() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let insert = "insert into marks values (gen_random_uuid()::text)";
    for _ in 0..2 {
        run(&mut connection, insert).await.unwrap();
    }
    let stop = proxy.stop_at(Point::Reply, "gen_random_uuid()::text");
    let mut answer = Box::pin(run(&mut connection, insert));
    let reached = async {
        timeout(FOREVER, stop.reached()).await.unwrap();
        assert_eq!(marks(&mut direct).await, 3);
    };
    tokio::select! {
        () = reached => {}
        _ = &mut answer => panic!("the answer comes through"),
    }
    stop.resume();
    assert_eq!(timeout(FOREVER, answer).await.unwrap().unwrap(), 1);
    assert_eq!(marks(&mut connection).await, 3, "and the connection is sound");
}

#[tokio::test]
async fn stop_at_commit_holds_the_locks_and_a_cut_rolls_back() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let stop = proxy.stop_at(Point::Commit, "insert into marks");
    let inserting = tokio::spawn(async move { run(&mut connection, INSERT).await });
    timeout(FOREVER, stop.reached()).await.unwrap();
    assert_eq!(marks(&mut direct).await, 0);
    let mut twin = Box::pin(run(&mut direct, INSERT));
    assert!(timeout(A_WHILE, &mut twin).await.is_err(), "the unique index makes it wait");
    stop.cut();
    assert!(timeout(FOREVER, inserting).await.unwrap().unwrap().is_err());
    assert_eq!(timeout(FOREVER, twin).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn stop_at_commit_commits_when_it_goes_on() {
    let (_database, proxy, mut connection, mut direct) = behind_a_proxy().await;
    let stop = proxy.stop_at(Point::Commit, "insert into marks");
    let inserting = tokio::spawn(async move { run(&mut connection, INSERT).await });
    timeout(FOREVER, stop.reached()).await.unwrap();
    assert_eq!(marks(&mut direct).await, 0);
    drop(stop);
    assert_eq!(timeout(FOREVER, inserting).await.unwrap().unwrap().unwrap(), 1);
    assert_eq!(marks(&mut direct).await, 1);
}

#[tokio::test]
async fn cut_after_some_messages_tears_the_answer() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    // BindComplete, and of the 10 rows the first 3.
    let stop = proxy.cut_at(Point::Message(4), "generate_series");
    let mut rows = sqlx::raw_sql("select i::bigint from generate_series(1, 10) i").fetch(&mut connection);
    let mut seen = 0;
    while let Some(Ok(_)) = futures_util::StreamExt::next(&mut rows).await {
        seen += 1;
    }
    // The simple protocol has a RowDescription in the place of the BindComplete.
    assert_eq!(seen, 3);
    timeout(FOREVER, stop.reached()).await.unwrap();
}

#[tokio::test]
async fn dropped_stop_stops_nothing() {
    let (_database, proxy, mut connection, _direct) = behind_a_proxy().await;
    drop(proxy.cut_at(Point::Request, "insert into marks"));
    assert_eq!(run(&mut connection, INSERT).await.unwrap(), 1);
}

// The pooler.

#[tokio::test]
async fn pgbouncer_shares_servers_between_transactions() {
    let database = Database::new().await;
    let bouncer = match Pgbouncer::start(database.server()).await {
        Ok(bouncer) => bouncer,
        Err(missing) => return eprintln!("not tested: {missing}"),
    };
    let url = bouncer.url(database.name());
    let mut clients = vec![with_table(&url).await];
    for _ in 0..20 {
        clients.push(connect(&url).await);
    }
    let mut backends = Vec::new();
    for client in &mut clients {
        // Prepared by each client, and thus found on whichever server it is given.
        backends.push(ask(client, "select pg_backend_pid()::bigint").await.unwrap());
        backends.push(ask(client, "select pg_backend_pid()::bigint").await.unwrap());
    }
    backends.dedup();
    assert_eq!(backends.len(), 1);
}
