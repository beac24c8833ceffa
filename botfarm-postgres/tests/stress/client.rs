//! A client: does what clients do, all of it at random, and writes down what it sees.

use std::{env, path::Path, sync::Arc, time::Duration};

use botfarm_core::{
    BotFarm, BotFilter, BotId, BotRelease, Condition, Ending, Env, Keyring, Labels, Lease, LeasePolicy, LeaseRequest,
    PageRequest, Revocation, Selector, conformance,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    chance,
    record::{Record, Writer, after, now},
};

pub(crate) const URL: &str = "BOTFARM_STRESS_URL";
pub(crate) const KEY: &str = "BOTFARM_STRESS_KEY";
pub(crate) const FILE: &str = "BOTFARM_STRESS_FILE";

pub(crate) const LONGEST_TTL: Duration = Duration::from_millis(1_500);
const TASKS: usize = 5;

pub(crate) fn options(url: &str) -> PostgresOptions {
    // A short rest, so that little is between one holder and the next.
    let policy = LeasePolicy { cooling: Duration::from_millis(5), ..conformance::policy() };
    PostgresOptions::new(url)
        .unwrap()
        .policy(policy)
        .max_connections(4)
        .connect_timeout(Duration::from_secs(30))
        .statement_timeout(Duration::from_secs(30))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the history check, in a process of its own"]
async fn helper_leases_until_it_is_killed() {
    let [url, key, file] = [URL, KEY, FILE].map(|name| env::var(name).unwrap());
    let farm = PostgresFarm::connect(options(&url), Keyring::new(key.parse().unwrap(), [])).await.unwrap();
    let bots = farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items;
    let bots: Arc<[BotId]> = bots.into_iter().map(|bot| bot.id).collect();
    let writer = Arc::new(Writer::to(Path::new(&file)));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let client = Client { farm: farm.clone(), bots: bots.clone(), writer: writer.clone() };
        tasks.spawn(async move {
            loop {
                client.turn().await;
            }
        });
    }
    tasks.join_all().await;
}

struct Client {
    farm: PostgresFarm,
    bots: Arc<[BotId]>,
    writer: Arc<Writer>,
}

impl Client {
    fn any_bot(&self) -> BotId {
        self.bots[usize::try_from(chance(self.bots.len() as u64)).unwrap()]
    }

    fn request(&self) -> LeaseRequest {
        let role = |role: &str| Selector::any().labels(Labels::try_from([("role", role)]).unwrap());
        let selectors = match chance(12) {
            0..=3 => vec![Selector::any()],
            4 => vec![role("admin")],
            5 => vec![Selector::any().env(Env::STAGE), role("admin")],
            6 => vec![role("member"), Selector::any(), role("member")],
            7 => vec![Selector::bot(self.any_bot())],
            8 => vec![Selector::bot(self.any_bot()), role("member")],
            _ => vec![Selector::any().condition(Condition::Dirty)],
        };
        let ttl = Duration::from_millis(200 + chance(1_300)).min(LONGEST_TTL);
        let request = LeaseRequest::many(format!("client {}", std::process::id()).parse().unwrap(), selectors).ttl(ttl);
        match chance(3) {
            0 => request.wait(Duration::from_millis(chance(1_000))),
            _ => request,
        }
    }

    async fn turn(&self) {
        match chance(20) {
            0 => {
                let bot = self.any_bot();
                let call = uuid::Uuid::new_v4();
                self.writer.write(&[Record::Revoking { call, bot: bot.as_uuid(), at: now() }]);
                let revocation = Revocation { reason: "stress".parse().unwrap(), by: "admin".parse().unwrap() };
                if self.farm.revoke(bot, revocation).await.is_ok() {
                    self.writer.write(&[Record::Revoked { call, at: now() }]);
                }
            }
            _ => self.lease().await,
        }
        sleep(Duration::from_millis(chance(20))).await;
    }

    async fn lease(&self) {
        let request = self.request();
        let asked = now();
        let mut sent = asked;
        let acquired = if chance(5) == 0 {
            // Hangs up, and half the time asks again.
            let patience = Duration::from_millis(chance(60));
            match timeout(patience, self.farm.acquire(request.clone())).await {
                Ok(acquired) => acquired,
                Err(_) if chance(2) == 0 => return,
                Err(_) => {
                    sent = now();
                    self.farm.acquire(request).await
                }
            }
        } else {
            self.farm.acquire(request).await
        };
        let Ok(lease) = acquired else { return };
        let until = after(sent, lease.remaining);
        let from = now();
        let grants = lease.bots.iter().map(|leased| Record::Grant {
            lease: lease.id.as_uuid(),
            bot: leased.bot.id.as_uuid(),
            fence: leased.fence.0,
            sent: asked,
            from,
            until,
        });
        self.writer.write(&grants.collect::<Vec<_>>());
        self.hold(lease).await;
    }

    /// Uses the bots for a while; then gives them back, or lets them go.
    async fn hold(&self, lease: Lease) {
        let id = lease.id;
        for _ in 0..chance(4) {
            sleep(Duration::from_millis(chance(200))).await;
            let sent = now();
            match self.farm.renew(id, None).await {
                Ok(renewed) => {
                    let until = after(sent, renewed.remaining);
                    self.writer.write(&[Record::Renewed { lease: id.as_uuid(), until }]);
                }
                Err(_) => return,
            }
        }
        sleep(Duration::from_millis(chance(100))).await;
        let ending = match chance(4) {
            0 => Ending::dirty(),
            _ => Ending::clean(),
        };
        match chance(10) {
            // It expires.
            0 | 1 => {}
            2 => {
                self.writer.write(&[Record::Ended { lease: id.as_uuid(), at: now() }]);
                let release = BotRelease { ending, lease: Some(id), ..BotRelease::default() };
                let _ = self.farm.release_bot(lease.bots[0].bot.id, release).await;
            }
            _ => {
                self.writer.write(&[Record::Ended { lease: id.as_uuid(), at: now() }]);
                let _ = self.farm.release(id, ending).await;
            }
        }
    }
}
