//! What a service has in its memory.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use botfarm::{BotFarm as _, Ending, Env, Keyring, LeaseRequest, MasterKey, NewBot, PostgresFarm, ProjectId, Selector};
use postgres_lab::Database;
use tempfile::TempDir;

use crate::service::{Service, bare};

/// How many passwords are given out.
const GIVEN: usize = 100;

/// What a core dump of a process would have in it: each stretch that it may write to, as far as it has been used. `None`:
/// this user may not look.
fn memory(process: u32) -> Option<Vec<Vec<u8>>> {
    // That of this machine: its size is told of each stretch.
    let own = fs::read_to_string("/proc/self/smaps").unwrap();
    let page = own.lines().find_map(|line| line.strip_prefix("KernelPageSize:")).unwrap();
    let page = page.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    let open = |name: &str| match File::open(format!("/proc/{process}/{name}")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        file => Some(file.unwrap()),
    };
    let (file, pages) = (open("mem")?, open("pagemap")?);
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut stretches = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap() / page);
        let mut entries = vec![0; usize::try_from((to - from) * 8).unwrap()];
        // One that is gone by now is none.
        if !rest.starts_with("rw") || pages.read_exact_at(&mut entries, from * 8).is_err() {
            continue;
        }
        // Present, or swapped.
        let used = entries.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry) >> 62 != 0);
        let used: Vec<_> = (from..).zip(used).filter_map(|(number, used)| used.then_some(number)).collect();
        for run in used.chunk_by(|one, next| one + 1 == *next) {
            let mut bytes = vec![0; run.len() * usize::try_from(page).unwrap()];
            if file.read_exact_at(&mut bytes, run[0] * page).is_ok() {
                stretches.push(bytes);
            }
        }
    }
    Some(stretches)
}

/// How often a text is in it.
fn count(memory: &[Vec<u8>], text: &str) -> usize {
    let (first, rest) = text.as_bytes().split_first().unwrap();
    let begins = |stretch: &[u8]| {
        let starts = stretch.iter().enumerate().filter(|(_, byte)| *byte == first);
        starts.filter(|(at, _)| stretch[at + 1..].starts_with(rest)).count()
    };
    memory.iter().map(|stretch| begins(stretch)).sum()
}

/// On a database, where no password stays in the process. The process of a user is closed to that user; so where root does
/// not look, there is nobody who can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_no_password_that_was_given_back_and_not_the_text_of_its_key() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let key = MasterKey::generate().expose_base64().to_string();
    let options = botfarm::PostgresOptions::new(&database.url()).unwrap();
    let farm = PostgresFarm::connect(options, Keyring::new(key.parse().unwrap(), [])).await.unwrap();
    // Like nothing else that a process has in its memory.
    let password = format!("made-up-{}", uuid::Uuid::new_v4().simple());
    let bots = (0..GIVEN).map(|number| {
        let login = format!("bot-{number}").parse().unwrap();
        NewBot::new(login, format!("{password}-{number}").try_into().unwrap(), ProjectId::new(), Env::STAGE)
    });
    farm.import(bots.collect(), false).await.unwrap();
    drop(farm);
    let mut serve = bare(&folder);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--max-connections", "4"]);
    serve.env("BOTFARM_STORE", database.url()).env("BOTFARM_KEY", &key);
    let service = Service::start(folder, serve).await;
    let client = botfarm::connect(&service.url).await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..GIVEN {
        let request = LeaseRequest::new("holder".parse().unwrap(), Selector::any());
        leases.push(client.acquire(request).await.unwrap());
    }
    for lease in &leases {
        assert!(lease.bot().password.expose().starts_with(&password));
        client.lookup(lease.id).await.unwrap();
        client.release(lease.id, Ending::clean()).await.unwrap();
    }
    // With it go its connections; the service hears of that a moment later.
    drop((client, leases));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let Some(memory) = memory(service.process_id()) else {
            assert!(!rustix::process::geteuid().is_root(), "root may look");
            return;
        };
        assert!(count(&memory, database.name()) > 0, "the memory was read");
        let found = [password.as_str(), &key[..40]].map(|text| count(&memory, text));
        if found == [0, 0] {
            return;
        }
        assert!(Instant::now() < deadline, "passwords, and the key as a text, are there: {found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
