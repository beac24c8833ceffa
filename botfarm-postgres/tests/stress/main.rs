//! The history check: processes that lease, renew, look up, release, wait, hang up, ask twice, let expire, revoke, change
//! and import, that are killed and stopped and lose statements and replies, on a server that crashes. Each writes down
//! what it saw; then a proof from their records and the database's books that no bot ever had two holders, that every
//! answer was whole and every fence larger than those before, and that nobody was passed in the queue.
//!
//! For 60 seconds, or for as long as is asked: `BOTFARM_STRESS_SECONDS=600 cargo test --test stress -- --nocapture`.
#![cfg(unix)]

mod check;
mod client;
mod order;
mod record;

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use botfarm_core::{
    BotFarm, BotId, BotState, Condition, Env, Keyring, Labels, LeaseRequest, MasterKey, NewBot, ProjectId, Selector,
};
use botfarm_postgres::PostgresFarm;
use check::{Books, HandOut, Standing};
use parking_lot::Mutex;
use postgres_lab::{Cluster, Database};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

const PROCESSES: usize = 3;
/// More than the clients have in use: what is offered to a waiter who was killed stays with it for ten seconds.
const BOTS: usize = 24;

/// Numbers that differ from run to run.
pub(crate) fn chance(below: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_sound_whatever_happens_to_the_clients_and_the_server() {
    let seconds = env::var("BOTFARM_STRESS_SECONDS").map_or(60, |text| text.parse().expect("a number of seconds"));
    let server = Cluster::start(&[]).await;
    let database = Database::on(server.server()).await;
    let key = MasterKey::generate();
    let keyring = Keyring::new(key.expose_base64().parse().unwrap(), []);
    let farm = PostgresFarm::connect(client::options(&database.url()), keyring).await.unwrap();
    let bots = create_bots(&farm).await;

    let folder = Folder::new();
    let mut started = 0;
    let mut start = || {
        started += 1;
        start_client(&database.url(), &key, &folder.0.join(format!("client-{started}")))
    };
    let mut clients: Vec<Killed> = (0..PROCESSES).map(|_| start()).collect();
    let watcher = tokio::spawn(watch(database.url()));
    let (mut killed, mut stopped, mut crashed) = (0, 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1_000 + chance(2_000))).await;
        if chance(8) == 0 {
            server.kill().await;
            tokio::time::sleep(Duration::from_millis(chance(1_500))).await;
            server.restart().await;
            crashed += 1;
            continue;
        }
        let victim = usize::try_from(chance(PROCESSES as u64)).unwrap();
        if chance(3) == 0 {
            // For longer than many of its leases live.
            let process = Pid::from_child(&clients[victim].0);
            kill_process(process, Signal::STOP).unwrap();
            tokio::time::sleep(Duration::from_millis(300 + chance(1_500))).await;
            kill_process(process, Signal::CONT).unwrap();
            stopped += 1;
        } else {
            clients[victim] = start();
            killed += 1;
        }
    }
    drop(clients);

    // Every bot is free again at the end, by itself: once the last lease has expired and the bot has rested.
    let deadline = Instant::now() + client::LONGEST_TTL + Duration::from_secs(30);
    for bot in &bots {
        while farm.get(*bot).await.unwrap().state() != BotState::Free {
            assert!(Instant::now() < deadline, "a bot is never free again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let selectors = futures_util::future::join_all(bots.iter().map(async |bot| {
        let condition: Condition = farm.get(*bot).await.unwrap().condition;
        Selector::bot(*bot).condition(condition)
    }))
    .await;
    let all = LeaseRequest::many("the end".parse().unwrap(), selectors).wait(Duration::from_mins(1));
    let last = farm.acquire(all).await.expect("all bots can be had");
    assert_eq!(last.bots.len(), BOTS);

    let (records, torn) = record::read(&folder.0);
    let books = read_books(&database.url()).await;
    watcher.abort();
    let standing = STANDING.lock().take().unwrap_or_default();
    let report = check::check(&records, &books, &standing);
    println!(
        "{seconds} s, {started} processes, {killed} killed, {stopped} stopped, {crashed} crashes of the server: {report}, \
         {torn} lines torn by a kill",
    );
    assert!(report.faults.is_empty(), "{:#?}", report.faults);
    assert!(torn <= started, "a kill tears one line at most");
    assert!(report.grants > usize::try_from(seconds).unwrap(), "too little happened: {report}");
    for (what, count) in [
        ("releases", report.released),
        ("expiries", report.expired),
        ("revocations", report.revoked),
        ("sets", report.sets),
        ("lost replies", report.lost),
        ("waiters in order", report.ordered),
        ("crashes of the server", crashed),
    ] {
        assert!(count > 0, "no {what}: {report}");
    }
    assert!(killed > 0, "nobody was killed");
}

/// Who was seen to stand in the queue.
static STANDING: Mutex<Option<Standing>> = Mutex::new(None);

/// Looks who stands in the queue, again and again.
async fn watch(url: String) {
    loop {
        // The server may be away.
        if let Ok(mut connection) = PgConnection::connect(&url).await {
            while let Ok(rows) = sqlx::query_scalar::<_, Uuid>(
                "select distinct w.lease_id
                from wants w
                join waiters t using (lease_id)
                join listeners l using (lease_id)
                where t.parked",
            )
            .fetch_all(&mut connection)
            .await
            {
                let now = record::now();
                for lease in rows {
                    STANDING.lock().get_or_insert_default().entry(lease).or_insert(now);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create_bots(farm: &PostgresFarm) -> Vec<BotId> {
    let project = ProjectId::new();
    let mut bots = Vec::new();
    for index in 0..BOTS {
        let login = format!("bot-{index}@farm.test").parse().unwrap();
        let bot = NewBot::new(login, "not-a-real-password".try_into().unwrap(), project.clone(), Env::STAGE);
        let role = if index % 3 == 0 { "admin" } else { "member" };
        let bot = NewBot { labels: Labels::try_from([("role", role)]).unwrap(), ..bot };
        bots.push(farm.create(bot).await.unwrap().id);
    }
    bots
}

/// A client, killed with SIGKILL when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_client(url: &str, key: &MasterKey, file: &Path) -> Killed {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "client::helper_leases_until_it_is_killed", "--ignored", "--nocapture"])
        .env(client::URL, url)
        .env(client::KEY, key.expose_base64().as_str())
        .env(client::FILE, file)
        .stdout(Stdio::null())
        .process_group(0)
        .spawn();
    Killed(child.unwrap())
}

/// The folder of the records. It stays when the check fails, for whoever wants to know.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("botfarm-stress-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the records are in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// What the database says, of hand-outs that have ended and of those in force.
async fn read_books(url: &str) -> Books {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(
        "select
            bot_id,
            fence,
            lease_id,
            (extract(epoch from leased_at) * 1000000)::bigint as since,
            (extract(epoch from ended_at) * 1000000)::bigint as until,
            reason
        from (
            select bot_id, fence, lease_id, leased_at, ended_at, reason from history
            union all
            select bot_id, fence, lease_id, leased_at, null, null from bot_slots where lease_id is not null and phase <> 'offered'
        ) h
        order by bot_id, fence",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let hand_outs = rows.into_iter().map(|row| HandOut {
        bot: row.get("bot_id"),
        fence: row.get("fence"),
        lease: row.get("lease_id"),
        since: row.get("since"),
        until: row.get("until"),
        reason: row.get("reason"),
    });
    Books(hand_outs.collect())
}
