//! What comes of it when something else than the farm writes into its database, and what who reads it does not get there.

use std::time::Duration;

use botfarm_core::{
    Bot, BotChanges, BotFarm, BotId, BotRelease, Condition, EndReason, Ending, Env, Error, Keyring, Lease, LeaseId,
    LeaseRequest, MasterKey, NewBot, ProjectId, Secret, Selector,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A project with bots, in a database of its own.
struct Ground {
    database: Database,
    key: MasterKey,
    farm: PostgresFarm,
    project: ProjectId,
    bots: Vec<Bot>,
}

fn copy(key: &MasterKey) -> MasterKey {
    key.expose_base64().parse().unwrap()
}

fn password(text: &str) -> Secret {
    text.try_into().unwrap()
}

impl Ground {
    /// The bots are handed out in the order in which they are made.
    async fn with(bots: usize) -> Self {
        let (database, key, project) = (Database::new().await, MasterKey::generate(), ProjectId::new());
        let farm = open(&database, Keyring::new(copy(&key), [])).await;
        let mut ground = Self { database, key, farm, project, bots: Vec::new() };
        for index in 0..bots {
            let bot = ground.new_bot(index, "first");
            ground.bots.push(ground.farm.create(bot).await.unwrap());
        }
        ground
    }

    fn new_bot(&self, index: usize, text: &str) -> NewBot {
        let login = format!("Bot-{index}@shop.test").parse().unwrap();
        NewBot::new(login, password(text), self.project.clone(), Env::STAGE)
    }

    /// Another process.
    async fn another(&self) -> PostgresFarm {
        open(&self.database, Keyring::new(copy(&self.key), [])).await
    }

    fn ask(&self) -> LeaseRequest {
        LeaseRequest::new("holder".parse().unwrap(), Selector::any().project(self.project.clone()))
    }

    async fn run(&self, statement: &str) -> u64 {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap().rows_affected()
    }

    async fn text(&self, statement: &str) -> String {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    async fn sealed(&self, bot: BotId) -> (String, String) {
        let of = |column| format!("select {column}::text from bots where id = '{bot}'");
        (self.text(&of("sealed")).await, self.text(&of("generation")).await)
    }

    async fn assert_set_aside(&self, bot: BotId, why: &str) {
        let bot = self.farm.get(bot).await.unwrap();
        assert_eq!((bot.condition, bot.holding), (Condition::Broken, None), "{why}");
    }
}

async fn open(database: &Database, keyring: Keyring) -> PostgresFarm {
    let options = PostgresOptions::new(&database.url()).unwrap().max_connections(4);
    PostgresFarm::connect(options.connect_timeout(Duration::from_secs(30)), keyring).await.unwrap()
}

fn lost(result: botfarm_core::Result<Lease>) -> (EndReason, String) {
    let Err(Error::LeaseLost(lost)) = result else { panic!("{result:?}") };
    (lost.reason, lost.note.unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_has_no_id_of_a_lease_and_what_it_has_is_none() {
    let ground = Ground::with(2).await;
    let farm = &ground.farm;
    let [over, held] = [farm.acquire(ground.ask()).await.unwrap(), farm.acquire(ground.ask()).await.unwrap()];
    farm.release(over.id, Ending::clean()).await.unwrap();
    let again = farm.acquire(ground.ask()).await.unwrap();
    let waiting = ground.ask().wait(Duration::from_mins(1));
    let waits = tokio::spawn({
        let (farm, waiting) = (farm.clone(), waiting.clone());
        async move { farm.acquire(waiting).await }
    });
    while ground.text("select count(*)::text from wants").await == "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut all = String::new();
    for table in ["bot_slots", "history", "waiters", "listeners", "wants", "changes", "audit"] {
        all += &ground.text(&format!("select coalesce(string_agg(t::text, ' '), '') from {table} t")).await;
    }
    for (what, id) in [("ended", over.id), ("held", held.id), ("again", again.id), ("waiting", waiting.id)] {
        assert!(!all.contains(&id.as_uuid().to_string()), "{what}: its id is in the database");
        assert!(all.contains(&farm.kept_as(id).to_string()), "{what}: it is known all the same");
    }

    // What stands there is of no use as an id.
    let kept: LeaseId = farm.kept_as(held.id).into();
    assert_eq!(farm.lookup(kept).await.unwrap_err().code(), "no-such-lease");
    assert_eq!(farm.renew(kept, None).await.unwrap_err().code(), "no-such-lease");
    assert_eq!(farm.release(kept, Ending::clean()).await.unwrap_err().code(), "no-such-lease");
    let bot = held.bot().bot.id;
    let named = BotRelease { lease: Some(kept), ..BotRelease::default() };
    assert_eq!(farm.release_bot(bot, named).await.unwrap_err().code(), "lease-lost");
    assert_eq!(farm.acquire(ground.ask().id(kept)).await.unwrap_err().code(), "exhausted", "it is another lease");
    assert_eq!(farm.lookup(held.id).await.unwrap().bots, held.bots, "and its holder has it");
    let named = BotRelease { lease: Some(held.id), ..BotRelease::default() };
    ground.another().await.release_bot(bot, named).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().bot().bot.id, bot, "who waits is told");
}

/// Every way in which a row can be passed off as another, with an account behind it that is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_passed_off_as_another_is_set_aside_and_the_next_one_is_handed_out() {
    for (what, statement) in [
        (
            "the password of another",
            "update bots set sealed = (select sealed from bots where id = '$other') where id = '$bot'",
        ),
        ("what was never sealed", "update bots set sealed = 'hunter2' where id = '$bot'"),
        (
            "a bit",
            "update bots set sealed = set_bit(sealed, 8 * length(sealed) - 1, 1 - get_bit(sealed, 8 * length(sealed) - 1)) where id = '$bot'",
        ),
        ("another login", "update bots set login = 'root@shop.test', login_key = 'root@shop.test' where id = '$bot'"),
        ("a login in other letters", "update bots set login = lower(login) where id = '$bot'"),
        ("another generation", "update bots set generation = generation + 1 where id = '$bot'"),
    ] {
        let ground = Ground::with(2).await;
        let [bot, other] = [&ground.bots[0], &ground.bots[1]];
        let statement = statement.replace("$bot", &bot.id.to_string()).replace("$other", &other.id.to_string());
        assert_eq!(ground.run(&statement).await, 1, "{what}");
        let lease = ground.farm.acquire(ground.ask()).await.unwrap();
        assert_eq!((lease.bot().bot.id, lease.bot().password.expose()), (other.id, "first"), "{what}");
        ground.assert_set_aside(bot.id, what).await;
        let named = LeaseRequest::new("holder".parse().unwrap(), Selector::bot(bot.id));
        let Err(Error::Busy(busy)) = ground.farm.acquire(named.clone()).await else { panic!("{what}") };
        assert_eq!((busy.condition, busy.holder), (Condition::Broken, None), "{what}");
        let history = ground.farm.history(bot.id, &botfarm_core::PageRequest::default()).await.unwrap().items;
        assert_eq!(history, [], "{what}: nobody had it");

        // Whoever gives it a password again has looked at it.
        let moved = BotChanges { project: Some(ProjectId::new()), ..BotChanges::default() };
        let said = ground.farm.update(bot.id, moved).await.unwrap_err();
        assert!(said.code() == "invalid" && said.to_string().contains("must be given again"), "{what}: {said}");
        let password = Some(password("second"));
        let mended = BotChanges { password, condition: Some(Condition::Ready), ..BotChanges::default() };
        ground.farm.update(bot.id, mended).await.unwrap();
        let lease = ground.farm.acquire(named).await.unwrap();
        assert_eq!(lease.bot().password.expose(), "second", "{what}");
    }
}

/// What a row says of its env and project is believed only when it was sealed so: no production account gets into a test,
/// and none of another team.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_of_another_env_or_project_is_not_passed_off_as_one_of_this() {
    let ground = Ground::with(2).await;
    let prod = NewBot { env: Env::PROD, ..ground.new_bot(7, "of production") };
    let theirs = NewBot { project: ProjectId::new(), ..ground.new_bot(8, "of another team") };
    for (what, foreign) in [("env", prod), ("project", theirs)] {
        let foreign = ground.farm.create(foreign).await.unwrap().id;
        let into = format!("pool_id = (select pool_id from bots where id = '{}')", ground.bots[0].id);
        ground.run(&format!("update bots set {into}, env = 'stage' where id = '{foreign}'")).await;
        ground.run(&format!("update bot_slots set {into}, free_at = 'epoch' where bot_id = '{foreign}'")).await;
        let lease = ground.farm.acquire(ground.ask()).await.unwrap();
        assert!(ground.bots.iter().any(|bot| bot.id == lease.bot().bot.id), "{what}");
        ground.assert_set_aside(foreign, what).await;
    }
}

/// Whoever looks after broken accounts gets those that can be looked after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_account_that_was_tampered_with_is_passed_over_by_who_wants_broken_ones() {
    let ground = Ground::with(2).await;
    ground.run("update bot_slots set condition = 'broken'").await;
    ground.run(&format!("update bots set sealed = 'hunter2' where id = '{}'", ground.bots[0].id)).await;
    let broken = || {
        let selector = Selector::any().project(ground.project.clone()).condition(Condition::Broken);
        LeaseRequest::new("cleaner".parse().unwrap(), selector)
    };
    let lease = ground.farm.acquire(broken()).await.unwrap();
    assert_eq!(lease.bot().bot.id, ground.bots[1].id);
    let Err(Error::Backend { source, .. }) = ground.farm.acquire(broken()).await else { panic!("it cannot be read") };
    assert!(source.to_string().contains(&ground.bots[0].id.to_string()), "{source}");
    ground.assert_set_aside(ground.bots[0].id, "nobody has it").await;
}

/// A request meets a hundred of them, and the next one the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_accounts_were_tampered_with_none_stays_held() {
    let ground = Ground::with(0).await;
    let bots = (0..150).map(|number| ground.new_bot(number, "first"));
    ground.farm.import(bots.collect(), false).await.unwrap();
    ground.run("update bots set sealed = 'hunter2' where login <> 'Bot-149@shop.test'").await;
    assert_eq!(ground.farm.acquire(ground.ask()).await.unwrap_err().code(), "internal");
    assert_eq!(ground.text("select count(*)::text from bot_slots where lease_id is not null").await, "0");
    let lease = ground.farm.acquire(ground.ask()).await.unwrap();
    assert_eq!(lease.bot().bot.login.as_str(), "Bot-149@shop.test");
    assert_eq!(ground.text("select count(*)::text from bot_slots where condition = 'broken'").await, "149");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_password_that_is_put_back_is_refused() {
    let ground = Ground::with(2).await;
    let bot = ground.bots[0].id;
    let named = || LeaseRequest::new("holder".parse().unwrap(), Selector::bot(bot));
    let old = ground.sealed(bot).await;
    let change = |text: &str| BotChanges {
        password: Some(password(text)),
        condition: Some(Condition::Ready),
        ..BotChanges::default()
    };
    ground.farm.update(bot, change("second")).await.unwrap();
    // Alone it is refused by everybody, since the row says of which generation it is to be.
    ground.run(&format!("update bots set sealed = '{}' where id = '{bot}'", old.0)).await;
    let another = ground.another().await;
    assert_eq!(another.acquire(named()).await.unwrap_err().code(), "busy");
    ground.assert_set_aside(bot, "the sealed value alone").await;

    // With the generation beside it, by each process that has seen the newer one.
    ground.farm.update(bot, change("third")).await.unwrap();
    let lease = another.acquire(named()).await.unwrap();
    another.release(lease.id, Ending::clean()).await.unwrap();
    ground.run(&format!("update bots set sealed = '{}', generation = {} where id = '{bot}'", old.0, old.1)).await;
    for farm in [&another, &ground.farm] {
        ground.run(&format!("update bot_slots set condition = 'ready' where bot_id = '{bot}'")).await;
        assert_eq!(farm.acquire(named()).await.unwrap_err().code(), "busy");
        ground.assert_set_aside(bot, "the whole row").await;
    }
    // And what is set then is newer than all that anybody has seen.
    ground.another().await.update(bot, change("fourth")).await.unwrap();
    assert_eq!(another.acquire(named()).await.unwrap().bot().password.expose(), "fourth");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_served_past_an_account_that_was_tampered_with() {
    let ground = Ground::with(2).await;
    let farm = &ground.farm;
    let [first, second] = [farm.acquire(ground.ask()).await.unwrap(), farm.acquire(ground.ask()).await.unwrap()];
    let wait = || {
        let (farm, request) = (farm.clone(), ground.ask().wait(Duration::from_mins(1)));
        tokio::spawn(async move { farm.acquire(request).await })
    };
    let waits = wait();
    while ground.text("select count(*)::text from wants").await == "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let bot = first.bot().bot.id;
    ground.run(&format!("update bots set sealed = 'hunter2' where id = '{bot}'")).await;
    farm.release(first.id, Ending::clean()).await.unwrap();
    while farm.get(bot).await.unwrap().condition != Condition::Broken {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    farm.release(second.id, Ending::clean()).await.unwrap();
    let lease = tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap().unwrap().unwrap();
    assert_eq!((lease.bot().bot.id, lease.bot().password.expose()), (second.bot().bot.id, "first"));
    ground.assert_set_aside(bot, "it was offered to who waits").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_account_was_tampered_with_ends_and_says_why() {
    for call in ["lookup", "renew", "acquire"] {
        let ground = Ground::with(3).await;
        let request = LeaseRequest::many("holder".parse().unwrap(), vec![ground.ask().selectors[0].clone(); 2]);
        let lease = ground.farm.acquire(request.clone()).await.unwrap();
        let [bot, other] = [lease.bots[0].bot.id, lease.bots[1].bot.id];
        ground.run(&format!("update bots set login = 'x', login_key = 'x' where id = '{bot}'")).await;
        // Also where nobody remembers the lease.
        let farm = ground.another().await;
        let (reason, note) = lost(match call {
            "lookup" => farm.lookup(lease.id).await,
            "renew" => farm.renew(lease.id, None).await,
            _ => farm.acquire(request).await,
        });
        assert_eq!(reason, EndReason::Revoked, "{call}");
        assert!(note.contains(&bot.to_string()) && note.contains("by something else than the farm"), "{call}: {note}");
        ground.assert_set_aside(bot, call).await;
        let other = ground.farm.get(other).await.unwrap();
        assert_eq!((other.condition, other.holding), (Condition::Ready, None), "{call}: the other one is free");
        assert_eq!(lost(farm.renew(lease.id, None).await).0, EndReason::Revoked, "{call}");
    }
}

/// A key that this process was not given may be the next one of the farm: others can read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_under_a_key_that_is_missing_here_is_passed_over_and_stays() {
    let ground = Ground::with(2).await;
    let next = Keyring::new(MasterKey::generate(), [copy(&ground.key)]);
    let elsewhere = open(&ground.database, next).await;
    let changes = BotChanges { password: Some(password("second")), ..BotChanges::default() };
    elsewhere.update(ground.bots[0].id, changes).await.unwrap();
    let lease = ground.farm.acquire(ground.ask()).await.unwrap();
    assert_eq!(lease.bot().bot.id, ground.bots[1].id);
    for request in [ground.ask(), LeaseRequest::new("me".parse().unwrap(), Selector::bot(ground.bots[0].id))] {
        let Err(Error::Backend { source, .. }) = ground.farm.acquire(request).await else {
            panic!("it cannot be read")
        };
        assert!(source.to_string().contains(&ground.bots[0].id.to_string()), "{source}");
    }
    let bot = ground.farm.get(ground.bots[0].id).await.unwrap();
    assert_eq!((bot.condition, bot.holding), (Condition::Ready, None));
    assert_eq!(elsewhere.acquire(ground.ask()).await.unwrap().bot().password.expose(), "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_gives_an_account_that_was_tampered_with_its_password_again() {
    let ground = Ground::with(2).await;
    ground.run(&format!("update bots set sealed = 'hunter2' where id = '{}'", ground.bots[0].id)).await;
    let rows = vec![ground.new_bot(0, "first"), ground.new_bot(1, "first")];
    let report = ground.farm.import(rows, false).await.unwrap();
    assert_eq!((report.created, report.updated, report.unchanged), (0, 1, 1));
    let lease = ground.farm.acquire(ground.ask()).await.unwrap();
    assert_eq!((lease.bot().bot.id, lease.bot().password.expose()), (ground.bots[0].id, "first"));
}

/// What is sealed for a project, a login and a generation is sealed anew with each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_follow_their_accounts_through_every_change() {
    let ground = Ground::with(1).await;
    let (farm, bot) = (&ground.farm, ground.bots[0].id);
    let elsewhere = ProjectId::new();
    let changes = |project: &ProjectId| BotChanges { project: Some(project.clone()), ..BotChanges::default() };
    // Twice at once: one of them sees that it was outrun.
    let (one, other) = (ground.another().await, ground.another().await);
    let second = BotChanges { password: Some(password("second")), ..BotChanges::default() };
    let (moved, mended) = tokio::join!(one.update(bot, changes(&elsewhere)), other.update(bot, second));
    moved.unwrap();
    mended.unwrap();
    let named = || LeaseRequest::new("holder".parse().unwrap(), Selector::bot(bot));
    let lease = farm.acquire(named()).await.unwrap();
    assert_eq!((&lease.bot().bot.project, lease.bot().password.expose()), (&elsewhere, "second"));
    farm.release(lease.id, Ending::clean()).await.unwrap();
    let back = NewBot { login: "BOT-0@shop.test".parse().unwrap(), ..ground.new_bot(0, "second") };
    assert_eq!(farm.import(vec![back], false).await.unwrap().updated, 1);
    let lease = farm.acquire(named()).await.unwrap();
    assert_eq!((lease.bot().bot.login.as_str(), lease.bot().password.expose()), ("BOT-0@shop.test", "second"));
    assert_eq!(lease.bot().bot.project, ground.project);
}
