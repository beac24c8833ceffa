//! Envs and domains of a team's own, and those that must be named.

use std::sync::Arc;

use axum::http::Method;
use botfarm_core::{AllowedNames, BotFarm, BotFarmExt, BotFilter, Env, EnvPolicy, LeasePolicy, NewBot};
use botfarm_http::Options;
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::service::{Rest, bot};

fn team() -> Rest {
    let names = AllowedNames {
        envs: ["dev", "qa", "eu-west.stage"].map(|env| env.parse().unwrap()).into(),
        domains: vec!["smoke".parse().unwrap()],
    };
    Rest::with(Arc::new(MemoryFarm::new()), Options { names, ..Options::default() })
}

fn user(login: &str, env: &str) -> Value {
    json!({"login": login, "password": "pass-x", "project_id": "Shop_1", "env": env, "domain": "smoke"})
}

#[tokio::test]
async fn envs_of_a_team_go_all_the_way_through() {
    let rest = team();
    let created = rest.post("/api/v1/users", user("dee", "dev")).await;
    assert_eq!(created.status, 201);
    let csv =
        "Email;Pass;Project;Environment;Domain\nquinn;pass-x;shop_1;QA;smoke\neve;pass-x;shop_1;eu-west.stage;Smoke\n";
    let imported = rest.with_body(Method::POST, "/api/v1/users/import", "text/csv", csv).await;
    assert_eq!(imported.json(), json!({"created": 2, "updated": 0, "unchanged": 0}));
    for (login, env) in [("dee", "dev"), ("quinn", "qa"), ("eve", "eu-west.stage")] {
        let listed = rest.get(&format!("/api/v1/users?env={env}&project_id=shop_1&domain=smoke")).await.json();
        assert_eq!((&listed[0]["login"], listed.as_array().unwrap().len()), (&json!(login), 1));
        let lease = rest.post("/api/v1/leases", json!({"users": [{"env": env.to_uppercase()}]})).await.json();
        let leased = &lease["users"][0];
        assert_eq!(
            (&leased["login"], &leased["env"], &leased["domain"]),
            (&json!(login), &json!(env), &json!("smoke"))
        );
        assert_eq!(leased["project_id"], "shop_1", "names are folded");
    }
    let pools = rest.get("/api/v1/stats").await.json()["pools"].clone();
    let envs: Vec<_> = pools.as_array().unwrap().iter().map(|pool| pool["env"].as_str().unwrap()).collect();
    assert_eq!(envs, ["dev", "eu-west.stage", "qa"]);
}

#[tokio::test]
async fn no_account_is_made_in_an_env_by_accident() {
    let rest = Rest::empty();
    let detail = "must be one of prod, preprod, stage, unless the setting envs has others; did you mean stage?";
    let row = json!({"login": "ada", "password": "pass-x", "project_id": "shop", "env": "stgae"});
    let created = rest.post("/api/v1/users", row.clone()).await;
    assert_eq!(created.failure(), (422, "invalid".to_owned()));
    assert_eq!(created.json()["errors"], json!([{"pointer": "/env", "detail": detail}]));
    let imported = rest.post("/api/v1/users/import", json!([row])).await;
    assert_eq!(imported.failure(), (422, "invalid".to_owned()));
    let detail = format!("row 1: {detail}");
    assert_eq!(imported.json()["errors"], json!([{"pointer": "/0/env", "detail": detail}]));
    let ada = rest.farm.create(bot("ada")).await.unwrap();
    let moved = rest.patch(&format!("/api/v1/users/{}", ada.id), json!({"domain": "cannary"})).await;
    assert_eq!(moved.failure(), (422, "invalid".to_owned()));
    assert_eq!(rest.farm.list_all(&BotFilter::default()).await.unwrap(), [ada]);
    // What asks for the typo is told so at once, however long it would wait.
    let asked = rest.post("/api/v1/leases", json!({"users": [{"env": "stgae"}], "wait_seconds": 60})).await;
    assert_eq!(asked.failure(), (422, "no-match".to_owned()));
    let detail = "no bot matches env=stgae; no bot is of the env stgae; did you mean stage?";
    assert_eq!(asked.json()["detail"], detail);
}

#[tokio::test]
async fn an_empty_selector_never_yields_a_prod_account() {
    let rest = Rest::empty();
    for name in ["ada", "ben", "cleo"] {
        rest.farm.create(NewBot { env: Env::PROD, ..bot(name) }).await.unwrap();
    }
    let nothing = rest.post("/api/v1/leases", json!({"users": [{}]})).await;
    assert_eq!(nothing.failure(), (422, "no-match".to_owned()));
    let detail = nothing.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("bots of prod are for those alone who name the env, the login or the id"), "{detail}");
    let stage = rest.farm.create(bot("dan")).await.unwrap();
    let lease = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    assert_eq!(lease["users"][0]["id"], stage.id.to_string());
    let none_left = rest.post("/api/v1/leases", json!({"users": [{}]})).await;
    assert_eq!((none_left.failure().1.as_str(), &none_left.json()["matching"]), ("exhausted", &json!(1)));
    for named in [json!({"env": "prod"}), json!({"login": "BEN"})] {
        let lease = rest.post("/api/v1/leases", json!({"users": [named]})).await.json();
        assert_eq!(lease["users"][0]["env"], "prod");
    }
}

#[tokio::test]
async fn a_policy_says_what_must_be_named_and_for_how_long_it_is_leased() {
    let qa: Env = "qa".parse().unwrap();
    let brief =
        EnvPolicy { max_ttl: Some(std::time::Duration::from_mins(1)), named_only: Some(true), ..EnvPolicy::default() };
    let open = EnvPolicy { named_only: Some(false), ..EnvPolicy::default() };
    let envs = [(qa.clone(), brief), (Env::PROD, open)].into();
    let farm = MemoryFarm::with_policy(LeasePolicy { envs, ..LeasePolicy::default() });
    farm.create(NewBot { env: qa, ..bot("quinn") }).await.unwrap();
    farm.create(NewBot { env: Env::PROD, ..bot("pat") }).await.unwrap();
    let rest = Rest::over(Arc::new(farm));
    let any = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    assert_eq!((&any["users"][0]["login"], &any["ttl_seconds"]), (&json!("pat"), &json!(900)));
    let long = rest.post("/api/v1/leases", json!({"users": [{"env": "qa"}], "ttl_seconds": 61})).await;
    let detail = "must be from 5 to 60 seconds, as qa has it";
    assert_eq!(long.json()["errors"], json!([{"pointer": "/ttl_seconds", "detail": detail}]));
    let lease = rest.post("/api/v1/leases", json!({"users": [{"env": "qa"}]})).await.json();
    assert_eq!(lease["ttl_seconds"], 60, "the default is one that the env allows");
    let renewal = format!("/api/v1/leases/{}/renew", lease["id"].as_str().unwrap());
    assert_eq!(rest.post(&renewal, json!({"ttl_seconds": 61})).await.failure(), (422, "invalid".to_owned()));
}
