//! A file that was cut or changed opens as it was before or after a commit, or is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use botfarm_core::{
    ActiveLease, Bot, BotFarm as _, BotFarmExt as _, BotFilter, Ending, Env, Error, Lease, LeaseId, LeaseRecord,
    LeaseRequest, NewBot, PageRequest, ProjectId, Selector,
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};
use tempfile::TempDir;

fn open(folder: &Path) -> Result<SqliteFarm, Error> {
    SqliteFarm::open(SqliteOptions::new(folder.join("farm.db")), None)
}

fn bots(count: usize) -> Vec<NewBot> {
    let project = ProjectId::new();
    let bot = |number| {
        let login = format!("bot-{number}").parse().unwrap();
        NewBot::new(login, "hunter2".try_into().unwrap(), project.clone(), Env::STAGE)
    };
    (0..count).map(bot).collect()
}

fn ask(count: usize) -> LeaseRequest {
    LeaseRequest::many("somebody".parse().unwrap(), vec![Selector::any(); count]).ttl(Duration::from_hours(1))
}

/// All that is seen of a farm.
#[derive(Debug, PartialEq)]
struct Sight {
    bots: Vec<Bot>,
    leases: Vec<ActiveLease>,
    histories: Vec<Vec<LeaseRecord>>,
    held: Vec<Option<Lease>>,
}

impl Sight {
    async fn of(farm: &SqliteFarm, ids: &[LeaseId]) -> Self {
        Self::try_of(farm, ids).await.unwrap()
    }

    async fn try_of(farm: &SqliteFarm, ids: &[LeaseId]) -> Result<Self, Error> {
        let bots = farm.list_all(&BotFilter::default()).await?;
        let leases = farm.leases(&PageRequest::first(1_000)).await?.items;
        let (mut histories, mut held) = (Vec::new(), Vec::new());
        for bot in &bots {
            histories.push(farm.history(bot.id, &PageRequest::first(100)).await?.items);
        }
        for id in ids {
            // How much of it is left changes by the moment.
            held.push(farm.lookup(*id).await.ok().map(|lease| Lease { remaining: Duration::ZERO, ..lease }));
        }
        Ok(Self { bots, leases, histories, held })
    }
}

/// The files of a farm as they are now, in another folder, some of them cut or changed.
fn copy(from: &Path, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for ending in ["", "-wal", ".key"] {
        let name = format!("farm.db{ending}");
        if let Ok(bytes) = fs::read(from.join(&name)) {
            fs::write(to.path().join(&name), change(ending, bytes)).unwrap();
        }
    }
    to
}

fn length(folder: &Path, ending: &str) -> usize {
    fs::metadata(folder.join(format!("farm.db{ending}"))).map_or(0, |found| found.len().try_into().unwrap())
}

#[tokio::test]
async fn log_that_was_cut_anywhere_gives_the_farm_before_or_after_the_commit() {
    /// A frame of the log: a header and a page.
    const FRAME: usize = 24 + 4_096;
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path()).unwrap();
    farm.import(bots(6), false).await.unwrap();
    let ids = [LeaseId::new(), LeaseId::new()];
    farm.acquire(ask(2).id(ids[0])).await.unwrap();
    for (number, what) in ["a lease of three", "its renewal", "its release", "bots more"].into_iter().enumerate() {
        let (before, start) = (Sight::of(&farm, &ids).await, length(folder.path(), "-wal"));
        match number {
            0 => drop(farm.acquire(ask(3).id(ids[1])).await.unwrap()),
            1 => drop(farm.renew(ids[1], Some(Duration::from_hours(2))).await.unwrap()),
            2 => farm.release(ids[1], Ending::dirty()).await.unwrap(),
            _ => drop(farm.import(bots(300)[6..].to_vec(), false).await.unwrap()),
        }
        let (after, end) = (Sight::of(&farm, &ids).await, length(folder.path(), "-wal"));
        assert!(before != after && end > start, "{what}");
        let boundaries = (32..=end).step_by(FRAME).filter(|cut| *cut >= start);
        let anywhere = (0..40).map(|_| fastrand::usize(start..end));
        let mut seen = [0, 0];
        for cut in boundaries.chain(anywhere).chain([start, end]) {
            let copy = copy(folder.path(), |ending, mut bytes| {
                if ending == "-wal" {
                    bytes.truncate(cut);
                }
                bytes
            });
            let cut_farm = open(copy.path()).unwrap();
            let sight = Sight::of(&cut_farm, &ids).await;
            let is_after = sight == after;
            assert!(is_after || sight == before, "{what}, cut at {cut} of {start} to {end}");
            assert!(cut < end || is_after, "{what} is whole");
            seen[usize::from(is_after)] += 1;
        }
        assert!(seen[0] > 40 && seen[1] > 0, "{what}: {seen:?}");
    }
}

#[tokio::test]
async fn database_that_was_cut_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path()).unwrap();
    farm.import(bots(300), false).await.unwrap();
    for _ in 0..20 {
        let lease = farm.acquire(ask(5)).await.unwrap();
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    drop(farm);
    let whole = length(folder.path(), "");
    assert_eq!(length(folder.path(), "-wal"), 0, "a farm that was closed is one file");
    let anywhere: Vec<_> = (0..40).map(|_| fastrand::usize(0..whole)).collect();
    for cut in (0..whole).step_by(4_096).chain(anywhere) {
        let copy = copy(folder.path(), |ending, mut bytes| {
            if ending.is_empty() {
                bytes.truncate(cut);
            }
            bytes
        });
        let refusal = open(copy.path()).expect_err("it was cut").to_string();
        let known = ["is damaged", "is not the file of a farm"].iter().any(|words| refusal.contains(words));
        assert!(known && refusal.contains("farm.db"), "cut at {cut} of {whole}: {refusal}");
        assert_eq!(length(copy.path(), ""), cut, "it is left as it is");
    }
    let whole_copy = copy(folder.path(), |_, bytes| bytes);
    open(whole_copy.path()).unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn database_of_which_bits_have_changed_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path()).unwrap();
    farm.import(bots(50), false).await.unwrap();
    farm.acquire(ask(3)).await.unwrap();
    drop(farm);
    let whole = length(folder.path(), "");
    let mut refused = 0;
    for _ in 0..150 {
        let (at, bit) = (fastrand::usize(0..whole), fastrand::u8(0..8));
        let copy = copy(folder.path(), |ending, mut bytes| {
            if ending.is_empty() {
                bytes[at] ^= 1 << bit;
            }
            bytes
        });
        match open(copy.path()) {
            // Of a farm that opens, all can be seen, until damage among the histories has been found.
            Ok(farm) => match Sight::try_of(&farm, &[]).await {
                Ok(_) => {}
                Err(refusal) => {
                    assert!(refusal.code() == "unavailable" && refusal.to_string().contains("is damaged"), "{refusal}");
                    refused += 1;
                }
            },
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn damage_among_the_histories_ends_the_service_of_a_farm_that_is_open_already() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path()).unwrap();
    farm.import(bots(20), false).await.unwrap();
    for _ in 0..100 {
        let lease = farm.acquire(ask(5)).await.unwrap();
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    drop(farm);
    let database = rusqlite::Connection::open(folder.path().join("farm.db")).unwrap();
    let sql = "select rootpage from sqlite_schema where name = 'history_of_bot'";
    let root: usize = database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap();
    drop(database);
    let copy = copy(folder.path(), |ending, mut bytes| {
        if ending.is_empty() {
            // Of the index by which a history is found: where its pages are.
            let page = &mut bytes[(root - 1) * 4_096..][..4_096];
            assert_eq!(page[0], 2, "it has several");
            page[12..20].fill(0xff);
        }
        bytes
    });
    let farm = open(copy.path()).expect("all that it goes on with is whole");
    let start = std::time::Instant::now();
    let refusal = loop {
        match farm.check().await {
            Ok(()) => assert!(start.elapsed() < Duration::from_mins(1), "nobody has noticed"),
            Err(refusal) => break refusal,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refusal.code(), "unavailable");
    assert!(refusal.to_string().contains("is damaged") && refusal.to_string().contains("botfarm backup"), "{refusal}");
    assert_eq!(farm.acquire(ask(1)).await.unwrap_err().code(), "unavailable", "nothing is decided any more");
}

#[test]
fn what_is_no_farm_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("farm.db");
    for (bytes, said) in [(&b"login,password\nada,s3cret\n"[..], "is not the file of a farm"), (b"", "it is empty")] {
        fs::write(&path, bytes).unwrap();
        fs::write(folder.path().join("farm.db.key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
        let refusal = open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(said), "{refusal}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
