//! What an answer said is there after SIGKILL at any moment, however often.
//!
//! The writer is this very program in another process. It says what it asks for and what it is answered; whatever it was
//! answered is then looked for in the file. So many times as `BOTFARM_CRASHES` says; 20 where it says nothing.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use botfarm_core::{
    BotFarm as _, BotFarmExt as _, BotFilter, BotId, Condition, EndReason, Ending, Env, Error, LeaseId, LeaseRequest,
    NewBot, PageRequest, ProjectId, Selector,
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};

const BOTS: usize = 40;
const TASKS: usize = 8;
const FOLDER: &str = "BOTFARM_CRASH_FOLDER";

fn open(folder: &Path) -> SqliteFarm {
    SqliteFarm::open(SqliteOptions::new(folder.join("farm.db")), None).unwrap()
}

fn bot(login: &str) -> NewBot {
    NewBot::new(login.parse().unwrap(), "hunter2".try_into().unwrap(), ProjectId::new(), Env::STAGE)
}

/// One line, so that no two tasks mix theirs.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn shown(id: LeaseId) -> String {
    id.as_uuid().to_string()
}

async fn work(farm: SqliteFarm, task: usize) {
    loop {
        if fastrand::u8(..) < 25 {
            // Of a thousand processes two may have the same id.
            let login = format!("bot-{}", shown(LeaseId::new()));
            let made = farm.create(bot(&login)).await.unwrap();
            say(&format!("made {}", made.id));
        }
        let id = LeaseId::new();
        let count = if fastrand::u8(..) < 60 { 2 } else { 1 };
        let selectors = vec![Selector::any(); count];
        let request = LeaseRequest::many(format!("task {task}").parse().unwrap(), selectors).id(id);
        let lease = match farm.acquire(request.wait(Duration::from_millis(50))).await {
            Ok(lease) => lease,
            Err(error) => {
                assert_eq!(error.code(), "exhausted");
                continue;
            }
        };
        for leased in &lease.bots {
            say(&format!(
                "held {} {} {} {}",
                shown(id),
                leased.bot.id,
                leased.fence,
                lease.expires_at.timestamp_micros()
            ));
        }
        if fastrand::bool() {
            let renewed = farm.renew(id, Some(Duration::from_hours(2))).await.unwrap();
            for leased in &renewed.bots {
                let until = renewed.expires_at.timestamp_micros();
                say(&format!("held {} {} {} {until}", shown(id), leased.bot.id, leased.fence));
            }
        }
        if fastrand::u8(..) < 200 {
            say(&format!("asked {}", shown(id)));
            let ending = if fastrand::u8(..) < 40 { Ending::dirty() } else { Ending::clean() };
            farm.release(id, ending.clone()).await.unwrap();
            say(&format!("released {} {}", shown(id), ending.outcome));
        }
    }
}

/// Not a test: the writer.
#[test]
#[ignore = "it is what the test kills"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let farm = open(&PathBuf::from(folder));
        say("ready");
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(farm.clone(), task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// What the writer was told of a lease.
#[derive(Debug, Default)]
struct KnownLease {
    /// Each bot with its fence, and until when.
    held: HashMap<BotId, (i64, i64)>,
    release_asked: bool,
    released: Option<String>,
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Everything the writer said before it was killed.
fn run_and_kill(folder: &Path) -> Vec<String> {
    let mut child = start(folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().expect("it gets ready").unwrap() != "ready" {}
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    std::thread::park_timeout(Duration::from_micros(fastrand::u64(..120_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test]
async fn whatever_was_answered_is_there_after_a_kill() {
    let crashes: usize = std::env::var("BOTFARM_CRASHES").map_or(20, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.import((0..BOTS).map(|number| bot(&format!("bot-{number}"))).collect(), false).await.unwrap();
    drop(farm);
    let (mut answers, mut fences) = (0, HashMap::<BotId, i64>::new());
    for crash in 0..crashes {
        let lines = run_and_kill(folder.path());
        let (mut leases, mut made) = (HashMap::<LeaseId, KnownLease>::new(), Vec::<BotId>::new());
        for line in &lines {
            let words: Vec<_> = line.split(' ').collect();
            let lease = || words[1].parse::<LeaseId>().unwrap();
            match (words[0], words.len()) {
                ("made", 2) if words[1].len() == 36 => made.push(words[1].parse().unwrap()),
                ("held", 5) if words[4].len() == 16 => {
                    let bot = words[2].parse().unwrap();
                    let (fence, until) = (words[3].parse().unwrap(), words[4].parse().unwrap());
                    leases.entry(lease()).or_default().held.insert(bot, (fence, until));
                    let latest = fences.entry(bot).or_default();
                    *latest = fence.max(*latest);
                }
                ("asked", 2) if words[1].len() == 36 => leases.entry(lease()).or_default().release_asked = true,
                ("released", 3) => leases.entry(lease()).or_default().released = Some(words[2].to_owned()),
                // Cut by the kill, or said by the test runner.
                _ => continue,
            }
            answers += 1;
        }
        let farm = open(folder.path());
        for id in made {
            farm.get(id).await.unwrap_or_else(|error| panic!("crash {crash}: a bot was made: {error}"));
        }
        for (id, told) in &leases {
            check(&farm, *id, told).await;
        }
        // No bot is in two leases, and all of what a lease holds says so.
        let active = farm.leases(&PageRequest::first(1_000)).await.unwrap().items;
        let held: Vec<_> = active.iter().flat_map(|lease| lease.bots.iter().map(|(_, bot)| bot.id)).collect();
        assert_eq!(held.iter().collect::<std::collections::HashSet<_>>().len(), held.len());
        let bots = farm.list_all(&BotFilter::default()).await.unwrap();
        assert_eq!(bots.iter().filter(|bot| bot.holding.is_some()).count(), held.len());
        // Back to the start, but for the fences.
        for bot in bots {
            if bot.holding.is_some() {
                farm.release_bot(bot.id, botfarm_core::BotRelease::default()).await.unwrap();
            }
            if bot.condition != Condition::Ready {
                let changes = botfarm_core::BotChanges { condition: Some(Condition::Ready), ..Default::default() };
                farm.update(bot.id, changes).await.unwrap();
            }
        }
        for (bot, fence) in fences.iter().take(3) {
            let request = LeaseRequest::new("after".parse().unwrap(), Selector::bot(*bot));
            let lease = farm.acquire(request).await.unwrap();
            assert!(lease.bot().fence.0 > *fence, "crash {crash}: a fence came twice");
            farm.release(lease.id, Ending::clean()).await.unwrap();
        }
    }
    println!("{answers} answers in {crashes} lives");
    assert!(answers > crashes, "the writer got hardly anything done");
}

async fn check(farm: &SqliteFarm, id: LeaseId, told: &KnownLease) {
    let found = farm.lookup(id).await;
    if let Some(outcome) = &told.released {
        let Err(Error::LeaseLost(lost)) = found else { panic!("{told:?} was released, and is {found:?}") };
        assert_eq!(lost.reason, EndReason::Released);
        for (bot, (fence, _)) in &told.held {
            let history = farm.history(*bot, &PageRequest::first(1_000)).await.unwrap().items;
            let record = history.iter().find(|record| record.fence.0 == *fence).expect("it is in the history");
            assert_eq!(record.end.as_ref().unwrap().outcome.unwrap().as_str(), outcome);
        }
        return;
    }
    match found {
        Ok(lease) => {
            for (bot, (fence, until)) in &told.held {
                let leased = lease.bots.iter().find(|leased| leased.bot.id == *bot).expect("it holds the bot");
                assert_eq!(leased.fence.0, *fence);
                assert!(lease.expires_at.timestamp_micros() >= *until, "the renewal was answered");
            }
        }
        Err(error) => {
            let ended = told.release_asked && error.code() == "lease-lost";
            assert!(ended || told.held.is_empty(), "{told:?} was granted, and is gone: {error}");
        }
    }
}
