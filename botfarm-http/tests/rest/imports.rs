//! `POST /users/import`.

use axum::http::Method;
use botfarm_core::{BotFarm, BotFarmExt, BotFilter, LeaseRequest, Selector};
use serde_json::{Value, json};

use crate::service::{Answer, Rest, bot, project};

const JSON: &str = "application/json; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";

/// What is said of what is no name.
const NAME: &str = "must be a name: 1 to 64 of a-z, 0-9, '.', '_' and '-', of which the first is a letter or a digit";

async fn import(rest: &Rest, query: &str, kind: &str, file: impl Into<String>) -> Answer {
    rest.with_body(Method::POST, &format!("/api/v1/users/import{query}"), kind, file.into()).await
}

fn row(login: &str, password: &str) -> Value {
    json!({"login": login, "password": password, "project_id": project(), "env": "stage"})
}

fn csv(rows: &[(&str, &str)]) -> String {
    let rows: Vec<_> = rows.iter().map(|(login, password)| format!("{login},{password},{},stage", project())).collect();
    format!("login,password,project_id,env\n{}\n", rows.join("\n"))
}

#[tokio::test]
async fn an_import_counts_what_it_did_in_every_format() {
    for (kind, file) in [
        (JSON, json!([row("ada", "new"), row("bob", "pass-bob"), row("eve", "x")]).to_string()),
        (NDJSON, [row("ada", "new"), row("bob", "pass-bob"), row("eve", "x")].map(|row| row.to_string()).join("\n")),
        (CSV, csv(&[("ada", "new"), ("bob", "pass-bob"), ("eve", "x")])),
    ] {
        let rest = Rest::empty();
        rest.farm.create(bot("ada")).await.unwrap();
        rest.farm.create(bot("bob")).await.unwrap();
        let expected = json!({"created": 1, "updated": 1, "unchanged": 1});
        let tried = import(&rest, "?dry_run=true", kind, file.clone()).await;
        assert_eq!((tried.status.as_u16(), tried.json()), (200, expected.clone()), "{kind}");
        assert_eq!(rest.farm.list_all(&BotFilter::default()).await.unwrap().len(), 2);
        let done = import(&rest, "", kind, file.clone()).await;
        assert_eq!((done.status.as_u16(), done.json()), (200, expected), "{kind}");
        assert_eq!(rest.farm.list_all(&BotFilter::default()).await.unwrap().len(), 3);
        let lease = rest.post("/api/v1/leases", json!({"users": [{"login": "ada"}]})).await.json();
        assert_eq!(lease["users"][0]["password"], "new");
        let again = import(&rest, "?dry_run=false", kind, file).await;
        assert_eq!(again.json(), json!({"created": 0, "updated": 0, "unchanged": 3}), "{kind}");
    }
}

#[tokio::test]
async fn one_bad_row_refuses_all_and_every_fault_names_its_row() {
    let rest = Rest::empty();
    let file = format!(
        "login,password,project_id,env,label.role\nada,x,{0},stage,admin\n,hunter2,{0},the moon,\nbob,hunter2,{0}\n",
        project()
    );
    let answer = import(&rest, "", CSV, file).await;
    assert_eq!(answer.failure(), (422, "invalid".to_owned()));
    let expected = json!([
        {"pointer": "/1/login", "detail": "row 2 (line 3): is required"},
        {"pointer": "/1/env", "detail": format!("row 2 (line 3): {NAME}")},
        {"pointer": "/2", "detail": "row 3 (line 4): must have 5 cells, as the header row has; has 3"},
    ]);
    assert_eq!(answer.json()["errors"], expected);
    assert!(!answer.json().to_string().contains("hunter2"));
    assert_eq!(rest.farm.list_all(&BotFilter::default()).await.unwrap(), []);
}

#[tokio::test]
async fn what_the_farm_finds_wrong_names_its_row_too() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    rest.farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap();
    let mut moved = row("ada", "x");
    moved["domain"] = json!("regular");
    let file = format!("{}\n\n{}\n{}\n", row("bob", "x"), row("BOB", "x"), moved);
    let answer = import(&rest, "", NDJSON, file).await;
    assert_eq!(answer.failure(), (422, "invalid".to_owned()));
    let errors = answer.json()["errors"].clone();
    let places: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let row = fault["pointer"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
            (row, fault["detail"].as_str().unwrap().split(':').next().unwrap().to_owned())
        })
        .collect();
    let expected = [("1", "row 2 (line 3)"), ("2", "row 3 (line 4)")];
    assert_eq!(places, expected.map(|(row, place)| (row.to_owned(), place.to_owned())));
}

#[tokio::test]
async fn an_import_may_be_far_larger_than_other_bodies() {
    let rest = Rest::empty();
    let rows: Vec<_> = (0..12_000).map(|number| row(&format!("bot-{number}"), &"p".repeat(100))).collect();
    let file = Value::Array(rows).to_string();
    assert!(file.len() > 2 << 20);
    assert_eq!(import(&rest, "", JSON, file).await.json()["created"], 12_000);
}
