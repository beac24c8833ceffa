//! Two processes of one farm, behind proxies, and the bots that schedules are played on.

use std::{collections::HashMap, time::Duration};

use botfarm_core::{
    BotFarm, BotId, Env, Keyring, Labels, LeaseId, LeasePolicy, MasterKey, NewBot, ProjectId, conformance,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Database, Proxy};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::{
    judge::{Complaint, judge},
    play::Play,
    schedule::{BOTS, Step},
    story::HandOut,
};

/// Two processes of one farm, each behind a proxy of its own, and three bots.
pub(crate) struct Stage {
    pub(crate) proxies: [Proxy; 2],
    pub(crate) farms: [PostgresFarm; 2],
    pub(crate) project: ProjectId,
    pub(crate) bots: Vec<NewBot>,
    pub(crate) ids: Vec<BotId>,
    /// Past the proxies.
    books: PgConnection,
    /// The last fence of the schedule before.
    fence: i64,
}

impl Stage {
    pub(crate) async fn on(database: &Database, key: &MasterKey) -> Self {
        let proxies = [Proxy::to(&database.url()).await, Proxy::to(&database.url()).await];
        let policy = LeasePolicy { cooling: Duration::ZERO, ..conformance::policy() };
        let farm = async |proxy: &Proxy| {
            let options = PostgresOptions::new(&proxy.url())
                .unwrap()
                .policy(policy.clone())
                .connect_timeout(Duration::from_secs(30))
                .statement_timeout(Duration::from_secs(30));
            let keyring = Keyring::new(key.expose_base64().parse().unwrap(), []);
            PostgresFarm::connect(options, keyring).await.unwrap()
        };
        let farms = [farm(&proxies[0]).await, farm(&proxies[1]).await];
        let books = PgConnection::connect(&database.url()).await.unwrap();
        let mut stage =
            Self { proxies, farms, project: ProjectId::new(), bots: Vec::new(), ids: Vec::new(), books, fence: 0 };
        stage.renew().await;
        stage
    }

    /// Other bots, that nothing has happened to.
    pub(crate) async fn renew(&mut self) {
        self.project = ProjectId::new();
        self.fence = 0;
        (self.bots, self.ids) = (Vec::new(), Vec::new());
        for number in 0..BOTS {
            let login = format!("bot-{number}@{}.test", self.project).parse().unwrap();
            let password = "not-a-real-password".try_into().unwrap();
            let bot = NewBot::new(login, password, self.project.clone(), Env::STAGE).labels(role(number % 2));
            self.ids.push(self.farms[0].create(bot.clone()).await.unwrap().id);
            self.bots.push(bot);
        }
    }

    /// Plays a schedule to its end, and judges it.
    pub(crate) async fn play(&mut self, steps: &[Step]) -> Result<(), Complaint> {
        let (story, ended) = Play::on(self).all(steps).await;
        let (mut books, ids) = (self.read_books().await, self.ids.clone());
        let asked = story.calls.iter().filter_map(|told| story.lease_of(told.call));
        let known: HashMap<LeaseId, LeaseId> =
            asked.map(|lease| (self.farms[0].kept_as(lease).into(), lease)).collect();
        for row in &mut books {
            row.lease = known.get(&row.lease).copied().unwrap_or(row.lease);
        }
        if story.calls.iter().any(|told| told.hung_up) {
            // What it asked for may be granted late, and undone.
            self.renew().await;
        }
        ended.and_then(|()| judge(&story, &books, &ids)).map_err(|complaint| {
            let shown: Vec<_> = books.iter().map(|row| format!("\n  {} {row:?}", story.number(row.lease))).collect();
            format!("{complaint}; the calls:{story}\nthe books:{}\nthe bots: {:?}", shown.concat(), ids)
        })
    }

    /// Those of these leases that are waited for at this moment.
    pub(crate) async fn standing(&mut self, leases: &[LeaseId]) -> Vec<LeaseId> {
        const STANDING: &str = "select distinct w.lease_id
            from wants w
            join waiters t using (lease_id)
            join listeners l using (lease_id)
            where t.parked
                and w.lease_id = any($1)";
        let standing = sqlx::query_scalar(STANDING).bind(self.kept_as(leases)).fetch_all(&mut self.books);
        let standing: Vec<Uuid> = standing.await.unwrap();
        leases.iter().copied().filter(|lease| standing.contains(&self.farms[0].kept_as(*lease))).collect()
    }

    /// What the database calls these leases.
    fn kept_as(&self, leases: &[LeaseId]) -> Vec<Uuid> {
        leases.iter().map(|lease| self.farms[0].kept_as(*lease)).collect()
    }

    /// How many calls still listen for these leases, by the database.
    pub(crate) async fn listeners(&mut self, leases: &[LeaseId]) -> i64 {
        let leases = self.kept_as(leases);
        let listeners = sqlx::query_scalar("select count(*) from listeners where lease_id = any($1)").bind(leases);
        listeners.fetch_one(&mut self.books).await.unwrap()
    }

    /// The bots whose role is another than in the beginning, or whose condition is, each with its number.
    pub(crate) async fn changed(&mut self) -> Vec<usize> {
        let ids: Vec<_> = self.ids.iter().map(BotId::as_uuid).collect();
        let sound = "select b.id
            from bots b
            join bot_slots s on s.bot_id = b.id
            join unnest($1::uuid[]) with ordinality n (id, number) on n.id = b.id
            where s.condition = 'ready'
                and b.labels = array['role:' || (n.number - 1) % 2]";
        let sound: Vec<Uuid> = sqlx::query_scalar(sound).bind(&ids).fetch_all(&mut self.books).await.unwrap();
        (0..BOTS).filter(|number| !sound.contains(&ids[*number])).collect()
    }

    async fn read_books(&mut self) -> Vec<HandOut> {
        let ids: Vec<_> = self.ids.iter().map(BotId::as_uuid).collect();
        let rows = sqlx::query(
            "select
                bot_id,
                fence,
                lease_id,
                (extract(epoch from leased_at) * 1000000)::bigint as since,
                (extract(epoch from ended_at) * 1000000)::bigint as until,
                reason,
                end_note
            from history
            where bot_id = any($1)
                and fence > $2
            order by bot_id, fence",
        )
        .bind(&ids)
        .bind(self.fence)
        .fetch_all(&mut self.books)
        .await
        .unwrap();
        let hand_outs = rows.into_iter().map(|row| HandOut {
            bot: row.get::<Uuid, _>("bot_id").into(),
            fence: row.get("fence"),
            lease: row.get::<Uuid, _>("lease_id").into(),
            since: row.get("since"),
            until: row.get("until"),
            reason: row.get("reason"),
            note: row.get("end_note"),
        });
        let hand_outs: Vec<_> = hand_outs.collect();
        self.fence = hand_outs.iter().map(|row| row.fence).max().unwrap_or(self.fence);
        hand_outs
    }
}

pub(crate) fn role(number: usize) -> Labels {
    Labels::try_from([("role", number.to_string().as_str())]).unwrap()
}
