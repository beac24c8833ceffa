//! `GET /users` and `GET /leases`: all of it as a stream, or page by page.

use axum::http::header;
use botfarm_core::{Env, LeaseRequest, PageRequest, Selector};
use serde_json::{Value, json};

use crate::service::{Answer, Rest, bot, labelled, time};

fn logins(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap()).collect()
}

fn next(answer: &Answer) -> Option<String> {
    let link = answer.header(header::LINK)?;
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

#[tokio::test]
async fn a_list_without_a_limit_is_whole_and_oldest_first() {
    let rest = Rest::empty();
    assert_eq!(rest.get("/api/v1/users").await.body, b"[]");
    let bots: Vec<_> = (0..2_345).map(|number| bot(&format!("bot-{number}"))).collect();
    rest.farm.import(bots, false).await.unwrap();
    let answer = rest.get("/api/v1/users").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), Some("application/json"));
    assert_eq!(next(&answer), None);
    let list = answer.json();
    let expected: Vec<_> = (0..2_345).map(|number| format!("bot-{number}")).collect();
    assert_eq!(logins(&list), expected);
    assert!(!list.to_string().contains("pass-"));
}

#[tokio::test]
async fn exactly_one_page_and_one_more_are_whole_too() {
    for count in [999, 1_000, 1_001, 2_000] {
        let rest = Rest::empty();
        let bots = (0..count).map(|number| bot(&format!("bot-{number}"))).collect();
        rest.farm.import(bots, false).await.unwrap();
        assert_eq!(rest.get("/api/v1/users").await.json().as_array().unwrap().len(), count);
    }
}

#[tokio::test]
async fn pages_hang_together_by_their_links() {
    let rest = Rest::empty();
    for number in 0..7 {
        let env = if number % 2 == 0 { Env::STAGE } else { Env::PROD };
        rest.farm.create(botfarm_core::NewBot { env, ..bot(&format!("bot-{number}")) }).await.unwrap();
    }
    let mut path = "/api/v1/users?env=stage&limit=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let answer = rest.get(&path).await;
        let page = answer.json();
        pages.push(logins(&page).iter().map(|&login| login.to_owned()).collect::<Vec<_>>());
        let Some(next) = next(&answer) else { break };
        assert!(next.starts_with("/api/v1/users?env=stage&limit=2&cursor="), "{next}");
        path = next;
    }
    assert_eq!(pages, [vec!["bot-0", "bot-2"], vec!["bot-4", "bot-6"]]);
}

#[tokio::test]
async fn every_filter_narrows_the_list_and_all_of_them_together() {
    let rest = Rest::empty();
    let wanted = labelled("ada", [("role", "admin"), ("team", "a:b")]);
    rest.farm.create(wanted.clone().domain(botfarm_core::Domain::REGULAR)).await.unwrap();
    rest.farm.create(labelled("bob", [("role", "admin")])).await.unwrap();
    rest.farm.create(botfarm_core::NewBot { env: Env::PROD, ..bot("eve") }).await.unwrap();
    let broken = rest.farm.create(bot("ted")).await.unwrap();
    let patched = rest.patch(&format!("/api/v1/users/{}", broken.id), json!({"condition": "broken"})).await;
    assert_eq!(patched.status, 200);
    let held = rest.farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any().env(Env::PROD))).await;
    held.unwrap();
    let project = wanted.project;
    for (query, expected) in [
        ("env=prod".to_owned(), vec!["eve"]),
        ("domain=regular".to_owned(), vec!["ada"]),
        ("login=ADA".to_owned(), vec!["ada"]),
        ("condition=broken".to_owned(), vec!["ted"]),
        ("state=leased".to_owned(), vec!["eve"]),
        ("state=cooling".to_owned(), vec![]),
        ("state=free&condition=ready".to_owned(), vec!["ada", "bob"]),
        ("label=role:admin".to_owned(), vec!["ada", "bob"]),
        ("label=role:admin&label=team:a:b".to_owned(), vec!["ada"]),
        (format!("project_id={project}"), vec!["ada", "bob", "eve", "ted"]),
        ("project_id=00000000-0000-4000-8000-000000000000".to_owned(), vec![]),
        (format!("project_id={project}&env=stage&domain=regular&login=ada&state=free&label=role%3Aadmin"), vec!["ada"]),
    ] {
        for query in [query.clone(), format!("{query}&limit=10")] {
            assert_eq!(logins(&rest.get(&format!("/api/v1/users?{query}")).await.json()), expected, "{query}");
        }
    }
}

#[tokio::test]
async fn active_leases_show_neither_ids_nor_passwords() {
    let rest = Rest::empty();
    assert_eq!(rest.get("/api/v1/leases").await.body, b"[]");
    for login in ["ada", "bob", "eve"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    let body =
        json!({"users": [{"as": "admin", "login": "ada"}, {"login": "bob"}], "holder": "me", "run": "r", "note": "n"});
    let lease = rest.post("/api/v1/leases", body).await.json();
    let other = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    let answer = rest.get("/api/v1/leases").await;
    let list = answer.json();
    let active = rest.farm.leases(&PageRequest::default()).await.unwrap().items;
    let users: Vec<_> = active[0].bots.iter().map(|(_, bot)| bot.id.to_string()).collect();
    let mut first = rest.get(&format!("/api/v1/users/{}", users[0])).await.json();
    first["as"] = json!("admin");
    let mut second = rest.get(&format!("/api/v1/users/{}", users[1])).await.json();
    second["as"] = Value::Null;
    let expected = json!({
        "holder": "me", "run": "r", "note": "n", "url": null, "acquired_at": lease["acquired_at"],
        "expires_at": lease["expires_at"], "users": [first, second],
    });
    assert_eq!(list[0], expected);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let text = list.to_string();
    for secret in [&lease["id"], &other["id"]] {
        assert!(!text.contains(secret.as_str().unwrap()) && !text.contains("pass-"), "{text}");
    }
    let page = rest.get("/api/v1/leases?limit=1").await;
    assert_eq!(page.json(), json!([list[0]]));
    assert_eq!(rest.get(&next(&page).unwrap()).await.json(), json!([list[1]]));
    assert_eq!(time(active[0].acquired_at), lease["acquired_at"].as_str().unwrap());
}
