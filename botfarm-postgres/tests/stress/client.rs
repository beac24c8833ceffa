//! A client: does what clients do, all of it at random, and writes down what it sees.

use std::{env, path::Path, sync::Arc, time::Duration};

use botfarm_core::{
    Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, Condition, Ending, Env, Error, Keyring, Labels, Lease,
    LeaseId, LeasePolicy, LeaseRequest, NewBot, PageRequest, Result, Revocation, Selector, conformance,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Point, Proxy};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

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
        .takeover_grace(Duration::from_secs(1))
}

/// One process, with two ways to the farm: one of them loses statements and replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the history check, in a process of its own"]
async fn helper_leases_until_it_is_killed() {
    let [url, key, file] = [URL, KEY, FILE].map(|name| env::var(name).unwrap());
    let proxy = Proxy::to(&url).await;
    let keyring = || Keyring::new(key.parse().unwrap(), []);
    let mut farms = Vec::new();
    for url in [&url, &proxy.url()] {
        // The database may be away just now.
        farms.push(loop {
            match PostgresFarm::connect(options(url), keyring()).await {
                Ok(farm) => break farm,
                Err(Error::Unavailable { .. }) => sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    let bots: Arc<[Bot]> = loop {
        if let Ok(page) = farms[0].list(&BotFilter::default(), &PageRequest::default()).await {
            break page.items.into();
        }
    };
    let writer = Arc::new(Writer::to(Path::new(&file)));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let client = Client { farms: farms.clone(), bots: bots.clone(), writer: writer.clone() };
        tasks.spawn(async move {
            loop {
                client.turn().await;
            }
        });
    }
    loop {
        let point = [Point::Request, Point::Commit, Point::Reply, Point::Reply][below(4)];
        let cut = proxy.cut_at(point, "botfarm_");
        if timeout(Duration::from_secs(1), cut.reached()).await.is_ok() {
            writer.write(&[Record::Lost { at: now() }]);
        }
        drop(cut);
        if chance(10) == 0 {
            proxy.cut().await;
        }
        sleep(Duration::from_millis(chance(400))).await;
    }
}

fn below(count: usize) -> usize {
    usize::try_from(chance(count as u64)).unwrap()
}

fn role(name: &str) -> Labels {
    Labels::try_from([("role", name)]).unwrap()
}

struct Client {
    farms: Vec<PostgresFarm>,
    bots: Arc<[Bot]>,
    writer: Arc<Writer>,
}

impl Client {
    fn farm(&self) -> &PostgresFarm {
        &self.farms[below(self.farms.len())]
    }

    fn any_bot(&self) -> BotId {
        self.bots[below(self.bots.len())].id
    }

    /// A request, and of what kind it is when there are others that want the same.
    fn request(&self) -> (LeaseRequest, Option<u8>) {
        let any = Selector::any;
        let (selectors, kind) = match chance(12) {
            0..=3 => (vec![any()], Some(0)),
            4 => (vec![any().labels(role("admin"))], Some(1)),
            5 => (vec![any().env(Env::STAGE), any().labels(role("admin"))], None),
            6 => (vec![any().labels(role("member")), any(), any().labels(role("member"))], None),
            7 => (vec![Selector::bot(self.any_bot())], None),
            8 => (vec![Selector::bot(self.any_bot()), any().labels(role("member"))], None),
            _ => (vec![any().condition(Condition::Dirty)], Some(2)),
        };
        let ttl = Duration::from_millis(200 + chance(1_300)).min(LONGEST_TTL);
        let request = LeaseRequest::many(format!("client {}", std::process::id()).parse().unwrap(), selectors).ttl(ttl);
        match chance(3) {
            0 => (request, kind),
            _ => (request.wait(Duration::from_millis(chance(2_000))), kind),
        }
    }

    async fn turn(&self) {
        match chance(40) {
            0 | 1 => {
                let bot = self.any_bot();
                let call = Uuid::new_v4();
                self.writer.write(&[Record::Revoking { call, bot: bot.as_uuid(), at: now() }]);
                let revocation = Revocation::new("stress".parse().unwrap(), "admin".parse().unwrap());
                if self.farm().revoke(bot, revocation).await.is_ok() {
                    self.writer.write(&[Record::Revoked { call, at: now() }]);
                }
            }
            2 => {
                let labels = role(if chance(3) == 0 { "admin" } else { "member" });
                let condition = (chance(2) == 0).then_some(Condition::Ready);
                let changes = BotChanges { labels: Some(labels), condition, ..BotChanges::default() };
                let _ = self.farm().update(self.any_bot(), changes).await;
            }
            3 => {
                let rows = (0..=below(3)).map(|_| {
                    let Bot { login, project, env, .. } = self.bots[below(self.bots.len())].clone();
                    let password = "not-a-real-password".try_into().unwrap();
                    NewBot::new(login, password, project, env).labels(role(["admin", "member", "member"][below(3)]))
                });
                let _ = self.farm().import(rows.collect(), false).await;
            }
            _ => self.lease().await,
        }
        sleep(Duration::from_millis(chance(20))).await;
    }

    /// What the database calls a lease.
    fn kept_as(&self, lease: LeaseId) -> Uuid {
        self.farms[0].kept_as(lease)
    }

    async fn lease(&self) {
        let (request, kind) = self.request();
        let (id, size) = (request.id, request.selectors.len());
        let asked = now();
        self.writer.write(
            &kind
                .map(|kind| Record::Asked { lease: self.kept_as(id), kind, sent: asked })
                .into_iter()
                .collect::<Vec<_>>(),
        );
        let (sent, acquired) = match chance(10) {
            0 | 1 => self.hang_up(request).await,
            2 => self.twins(request).await,
            _ => {
                let acquired = self.farm().acquire(request.clone()).await;
                match acquired {
                    // Whether it was carried out or not, it asks again.
                    Err(Error::Unavailable { .. }) => (now(), self.farm().acquire(request).await),
                    acquired => (asked, acquired),
                }
            }
        };
        let Ok(lease) = acquired else { return };
        let until = after(sent, lease.remaining);
        let from = now();
        let grants = lease.bots.iter().map(|leased| Record::Grant {
            lease: self.kept_as(id),
            size,
            bot: leased.bot.id.as_uuid(),
            fence: leased.fence.0,
            sent: asked,
            from,
            until,
        });
        self.writer.write(&grants.collect::<Vec<_>>());
        self.hold(lease).await;
    }

    /// Hangs up; then asks again, or renews the lease or looks it up by its id, if there is one.
    async fn hang_up(&self, request: LeaseRequest) -> (i64, Result<Lease>) {
        let id = request.id;
        let patience = if chance(2) == 0 { chance(5_000) } else { chance(60_000) };
        let sent = now();
        if let Ok(acquired) = timeout(Duration::from_micros(patience), self.farm().acquire(request.clone())).await {
            return (sent, acquired);
        }
        self.writer.write(&[Record::HungUp { lease: self.kept_as(id) }]);
        let sent = now();
        let seen = match chance(4) {
            0 => Err(Error::NoSuchLease),
            1 => self.farm().acquire(request).await,
            2 => self.farm().renew(id, None).await,
            _ => self.farm().lookup(id).await,
        };
        (sent, seen)
    }

    /// Asks twice at once, and sometimes one of them hangs up.
    async fn twins(&self, request: LeaseRequest) -> (i64, Result<Lease>) {
        let sent = now();
        let hangs_up = chance(2) == 0;
        let patience = Duration::from_millis(if hangs_up { chance(100) } else { 60_000 });
        let one = async {
            let acquired = timeout(patience, self.farms[0].acquire(request.clone())).await;
            if acquired.is_err() {
                self.writer.write(&[Record::HungUp { lease: self.kept_as(request.id) }]);
            }
            acquired.unwrap_or(Err(Error::NoSuchLease))
        };
        let (one, other) = tokio::join!(one, self.farms[1].acquire(request.clone()));
        (sent, one.or(other))
    }

    /// Uses the bots for a while; then gives them back, or lets them go.
    async fn hold(&self, lease: Lease) {
        let id = lease.id;
        for _ in 0..chance(4) {
            sleep(Duration::from_millis(chance(200))).await;
            let sent = now();
            let renewed = if chance(4) == 0 { self.farm().lookup(id).await } else { self.farm().renew(id, None).await };
            let Ok(renewed) = renewed else { return };
            let until = after(sent, renewed.remaining);
            self.writer.write(&[Record::Renewed { lease: self.kept_as(id), size: renewed.bots.len(), until }]);
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
                self.writer.write(&[Record::Ended { lease: self.kept_as(id), at: now() }]);
                let release = BotRelease { ending, lease: Some(id), ..BotRelease::default() };
                let _ = self.farm().release_bot(lease.bots[0].bot.id, release).await;
            }
            _ => {
                self.writer.write(&[Record::Ended { lease: self.kept_as(id), at: now() }]);
                let _ = self.farm().release(id, ending).await;
            }
        }
    }
}
