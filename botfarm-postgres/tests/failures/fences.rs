//! Fences: for each account, whoever got it later has a larger one, whatever has become of the account and the server.

use std::process::{Command, Stdio};

use botfarm_core::{BotFarm, Ending, LeaseRequest, Selector};
use postgres_lab::Cluster;

use crate::ground::{Ground, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fence_of_an_account_that_was_deleted_and_made_again_is_larger() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let mut last = 0;
    for _ in 0..3 {
        let bot = ground.bot(&farm).await;
        for _ in 0..3 {
            let lease =
                farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::bot(bot.id))).await.unwrap();
            assert!(lease.bot().fence.0 > last, "{} is not larger than {last}", lease.bot().fence);
            last = lease.bot().fence.0;
            farm.release(lease.id, Ending::clean()).await.unwrap();
        }
        farm.delete(bot.id).await.unwrap();
    }
}

/// The clock of a server is wrong by days, or is set back: fences grow all the same, each by one at least.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fence_is_larger_though_the_clock_was_set_back() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let ahead = ground
        .run("update bot_slots set fence = fence + (extract(epoch from now() + interval '30 days') * 1000000)::bigint");
    assert_eq!(ahead.await, 1);
    let mut last: i64 = ground.value("select fence from bot_slots").await;
    for _ in 0..3 {
        let lease = farm.acquire(ground.ask("holder")).await.unwrap();
        assert_eq!(lease.bot().fence.0, last + 1);
        last = lease.bot().fence.0;
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
}

/// A backup is restored on another server, which lacks what the first one granted since; its clock may be days behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fence_after_a_dump_and_a_restore_elsewhere_is_larger_than_all_before() {
    const DAYS_12: i64 = 12 * 86_400 * 1_000_000;
    let [first, second] = [Cluster::start(&[]).await, Cluster::start(&[]).await];
    let ground = Ground::on(first.server()).await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let known = farm.acquire(ground.ask("known")).await.unwrap();
    farm.release(known.id, Ending::clean()).await.unwrap();
    let dump = run("pg_dump", &["--dbname", &plain(&ground.database.url())], None);
    let lost = farm.acquire(ground.ask("lost")).await.unwrap();
    farm.release(lost.id, Ending::clean()).await.unwrap();
    first.kill().await;

    let elsewhere = Ground { key: ground.key.expose_base64().parse().unwrap(), ..Ground::on(second.server()).await };
    run("psql", &["--set", "ON_ERROR_STOP=1", "--dbname", &plain(&elsewhere.database.url())], Some(dump));
    // The servers of tests are copies of one, and take themselves for the same.
    elsewhere.run("update epochs set system = system - 1").await;
    let restored = elsewhere.open(options(&elsewhere.database.url())).await;
    let next = restored.acquire(ground.ask("next")).await.unwrap();
    let (next, lost) = (next.bot().fence.0, lost.bot().fence.0);
    assert!(next > lost + DAYS_12, "{next} is hardly larger than {lost}");
    // JSON numbers hold it.
    assert!(next < 1 << 53);
}

/// Without the parameters of the client here.
fn plain(url: &str) -> String {
    url.split_once('?').map_or(url, |(url, _)| url).to_owned()
}

/// A program of the server's, where there are several.
fn run(program: &str, args: &[&str], input: Option<Vec<u8>>) -> Vec<u8> {
    tokio::task::block_in_place(|| {
        let path = ["18", "17", "16", "15", "14"]
            .map(|version| format!("/usr/lib/postgresql/{version}/bin/{program}"))
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .unwrap_or_else(|| program.to_owned());
        let file = tempfile(input);
        let output = Command::new(path).args(args).stdin(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    })
}

fn tempfile(input: Option<Vec<u8>>) -> Stdio {
    let Some(input) = input else { return Stdio::null() };
    let path = std::env::temp_dir().join(format!("botfarm-test-{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&path, input).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.into()
}
