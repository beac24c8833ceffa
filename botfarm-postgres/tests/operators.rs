//! The claims about operators and idempotency keys, by two processes on a database of each test's own; and what the
//! database keeps of them.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    Keyring, MasterKey,
    conformance::{idempotency::IdempotencyFixture, operators::OperatorsFixture},
    idempotency::{Idempotency, KeyedChange, Known},
    operators::{NewToken, Operators, Role, Scope, SessionId, TokenDigest},
};
use botfarm_postgres::{PostgresFarm, PostgresOptions, testing::Database};
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
