//! The claims about operators, idempotency keys and the audit trail, by two processes on a database of each test's own; and what the
//! database keeps of them.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    Env, Keyring, MasterKey, PageRequest,
    audit::{Act, Audit, AuditFilter},
    conformance::{audit::AuditFixture, idempotency::IdempotencyFixture, operators::OperatorsFixture},
    idempotency::{Idempotency, KeyedChange, Known},
    operators::{NewToken, Operators, PasswordHash, Role, Scope, SessionId, TokenDigest},
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Farms as separate as those of two processes, on one database.
struct Farms {
    farms: [PostgresFarm; 2],
    database: Database,
}

impl OperatorsFixture for Farms {
    fn handles(&self) -> Vec<Arc<dyn Operators>> {
        self.farms.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn Operators>).collect()
    }
}

impl IdempotencyFixture for Farms {
    fn stores(&self) -> Vec<Arc<dyn Idempotency>> {
        self.farms.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn Idempotency>).collect()
    }
}

impl AuditFixture for Farms {
    fn trails(&self) -> Vec<Arc<dyn Audit>> {
        self.farms.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn Audit>).collect()
    }
}

async fn farms() -> Farms {
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let options = PostgresOptions::new(&database.url()).unwrap().max_connections(4);
    let first = PostgresFarm::connect(options.clone(), keyring.clone()).await.unwrap();
    let second = PostgresFarm::connect(options, keyring).await.unwrap();
    Farms { farms: [first, second], database }
}

botfarm_core::conformance_operators!(farms);
botfarm_core::conformance_idempotency!(farms);
botfarm_core::conformance_audit!(farms);

impl Farms {
    async fn run(&self, statement: &str) -> u64 {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap().rows_affected()
    }
}

#[tokio::test]
async fn use_of_a_token_is_written_once_a_minute() {
    let farms = farms().await;
    let [farm, other] = &farms.farms;
    let digest = TokenDigest([7; 32]);
    let name = "ci".parse().unwrap();
    farm.add_token(NewToken { name, role: Role::Tester, scope: Scope::default(), expires_at: None, digest })
        .await
        .unwrap();
    let first = farm.token(digest).await.unwrap().unwrap().last_used_at.unwrap();
    for farm in [farm, other, farm] {
        assert_eq!(farm.token(digest).await.unwrap().unwrap().last_used_at, Some(first));
    }
    assert_eq!(farms.run("update tokens set last_used_at = last_used_at - interval '60 seconds'").await, 1);
    let second = farm.token(digest).await.unwrap().unwrap().last_used_at.unwrap();
    assert!(second > first);
    assert_eq!(other.tokens().await.unwrap()[0].last_used_at, Some(second));
}

#[tokio::test]
async fn who_writes_into_the_database_makes_no_operator_and_no_token() {
    let farms = farms().await;
    let [farm, other] = &farms.farms;
    let add = async |login: &str, hash: &str, role| {
        farm.add_operator(login.parse().unwrap(), PasswordHash::from_phc(hash), role).await.unwrap()
    };
    let ann = add("ann", "hash of ann", Role::Admin).await;
    let session = SessionId(Uuid::new_v4());
    for forged in ["role = 'admin'", "password_hash = 'hash of ann'", "generation = 7", "login = 'Tom'"] {
        let tom = add("tom", "hash of tom", Role::Viewer).await;
        assert_eq!(farms.run(&format!("update operators set {forged} where id = '{}'", tom.id)).await, 1);
        for farm in [farm, other] {
            assert_eq!(farm.operator(&tom.login).await.unwrap(), None, "{forged}");
            assert_eq!(farm.session(session, tom.id).await.unwrap(), None, "{forged}");
            assert_eq!(farm.operators().await.unwrap(), vec![ann.clone()], "{forged}");
        }
        assert_eq!(farm.set_password(tom.id, None, PasswordHash::from_phc("new")).await.unwrap(), None, "{forged}");
        assert_eq!(farm.end_sessions(tom.id).await.unwrap(), None, "{forged}");
        assert!(farm.remove_operator(tom.id).await.unwrap(), "what was forged can be removed");
    }

    let new = |name: &str, byte| NewToken {
        name: name.parse().unwrap(),
        role: Role::Viewer,
        scope: Scope { env: Some(Env::STAGE), project: None },
        expires_at: Some(ann.created_at + Duration::from_hours(1)),
        digest: TokenDigest([byte; 32]),
    };
    for forged in ["role = 'admin'", "env = null", "expires_at = null", "digest = decode(repeat('07', 32), 'hex')"] {
        let token = farm.add_token(new("ci", 7)).await.unwrap();
        assert_eq!(other.token(TokenDigest([7; 32])).await.unwrap().map(|found| found.id), Some(token.id));
        assert_eq!(farms.run(&format!("update tokens set {forged} where id = '{}'", token.id)).await, 1);
        assert_eq!(other.token(TokenDigest([7; 32])).await.unwrap(), None, "{forged}");
        assert_eq!(other.tokens().await.unwrap(), [], "{forged}");
        assert!(farm.remove_token(token.id).await.unwrap(), "what was forged can be removed");
    }
}

/// Who reads the database cannot say what a token is known by.
#[tokio::test]
async fn the_database_has_no_digest_of_a_token() {
    let farms = farms().await;
    let [farm, _] = &farms.farms;
    let digest = TokenDigest([7; 32]);
    let new =
        NewToken { name: "ci".parse().unwrap(), role: Role::Tester, scope: Scope::default(), expires_at: None, digest };
    farm.add_token(new).await.unwrap();
    assert_eq!(farms.run("update tokens set name = 'x' where digest = decode(repeat('07', 32), 'hex')").await, 0);
    assert!(farm.token(digest).await.unwrap().is_some());
}

#[tokio::test]
async fn ended_sessions_are_swept_once_they_are_long_over() {
    let farms = farms().await;
    let [farm, _] = &farms.farms;
    let now = farm.add_operator("ada".parse().unwrap(), hash(), Role::Tester).await.unwrap().created_at;
    let [old, recent, live, last] = std::array::from_fn(|_| SessionId(Uuid::new_v4()));
    for (session, until) in
        [(old, now - Duration::from_secs(3_601)), (recent, now), (live, now + Duration::from_hours(1)), (last, now)]
    {
        farm.end_session(session, until).await.unwrap();
    }
    let kept = format!("delete from ended_sessions where id in ('{}', '{}', '{}')", recent.0, live.0, last.0);
    assert_eq!(farms.run(&kept).await, 3);
    assert_eq!(farms.run("delete from ended_sessions").await, 0);
}

#[tokio::test]
async fn changes_are_unknown_when_nobody_is_at_them_and_forgotten_when_they_are_old() {
    let farms = farms().await;
    let [farm, other] = &farms.farms;
    let [slow, old] = [1, 2].map(|key| KeyedChange::new([0; 32], [key; 32], [0; 32]));
    for change in [&slow, &old] {
        assert_eq!(farm.begin(change).await.unwrap(), Known::New);
    }
    farms
        .run(
            "update changes set begun_at = begun_at - interval '2 minutes' where key = decode(repeat('01', 32), 'hex')",
        )
        .await;
    let again = KeyedChange { attempt: Uuid::new_v4(), ..slow };
    assert_eq!(other.begin(&again).await.unwrap(), Known::Unknown);
    farms.run("update changes set begun_at = begun_at - interval '10 minutes' where key = decode(repeat('02', 32), 'hex')").await;
    farm.prune().await.unwrap();
    assert_eq!(farms.run("delete from changes").await, 1);
}

fn hash() -> botfarm_core::operators::PasswordHash {
    botfarm_core::operators::PasswordHash::from_phc("$argon2id$")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_of_the_audit_trail_are_forgotten_and_young_ones_stay() {
    let farms = farms().await;
    let trail: &dyn Audit = &farms.farms[0];
    let act = || Act::new("POST /users".parse().unwrap(), "done".parse().unwrap());
    trail.record((0..2_500).map(|_| act()).collect()).await.unwrap();
    farms.run("update audit set at = at - interval '91 days'").await;
    let young = act();
    trail.record(vec![young.clone()]).await.unwrap();
    assert_eq!(farms.farms[1].prune().await.unwrap(), 2_500);
    let left = trail.recorded(&AuditFilter::default(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(left.into_iter().map(|entry| entry.act).collect::<Vec<_>>(), [young]);
}
