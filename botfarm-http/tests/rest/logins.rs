//! `/login`, `/logout`, and the cookie.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm as _,
    operators::{PasswordHash, Role, Scope},
};
use botfarm_http::{
    Options,
    auth::{Auth, Required, SessionKey},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::{PASSWORD, Principals, call, log_in},
    searched::Log,
    service::{Answer, Raw, Rest, Served, bot},
};

const FORM: &str = "application/x-www-form-urlencoded";

async fn form(rest: &Rest, body: &str) -> Answer {
    rest.with_body(Method::POST, "/api/v1/login", FORM, body.to_owned()).await
}

/// What is in `Set-Cookie`, part by part.
fn cookie(answer: &Answer) -> Vec<&str> {
    answer.header(header::SET_COOKIE).unwrap().split("; ").collect()
}

#[tokio::test]
async fn a_login_gives_a_token_and_a_cookie_that_scripts_cannot_read() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let answers = [
        log_in(&rest, "ann", PASSWORD).await,
        log_in(&rest, "ANN", PASSWORD).await,
        form(&rest, "username=ann&password=correct+zebra%20battery+staple").await,
        form(
            &rest,
            "grant_type=password&username=ann&password=correct+zebra+battery+staple&scope=&client_id=x&client_secret=y",
        )
        .await,
    ];
    for answer in answers {
        assert_eq!((answer.status.as_u16(), answer.header(header::CACHE_CONTROL)), (200, Some("no-store")));
        let body = answer.json();
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(28_800)));
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        let token = body["access_token"].as_str().unwrap();
        let named = format!("__Host-botfarm={token}");
        let expected = [named.as_str(), "Max-Age=28800", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"];
        assert_eq!(cookie(&answer), expected);
        assert_eq!(
            answer.headers.get_all(header::SET_COOKIE).iter().count(),
            2,
            "and one that the browser is known by"
        );
        assert_eq!(call(&rest, token, Method::GET, "/operators", Value::Null).await.status, 200);
    }
}

#[tokio::test]
async fn each_login_is_a_session_of_its_own() {
    let principals = Principals::new().await;
    let [one, other] = [principals.log_in("tom").await, principals.log_in("tom").await];
    let (here, there) = (principals.empty(), principals.empty());
    let answer = call(&here, &one, Method::POST, "/logout", Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    let expected = ["__Host-botfarm=", "Max-Age=0", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"];
    assert_eq!(cookie(&answer), expected);
    for replica in [&here, &there] {
        assert_eq!(call(replica, &one, Method::GET, "/users", Value::Null).await.status, 401);
        assert_eq!(call(replica, &other, Method::GET, "/users", Value::Null).await.status, 200);
    }
}

#[tokio::test]
async fn another_key_knows_no_session() {
    let principals = Principals::new().await;
    let session = principals.log_in("ann").await;
    let required = Required { key: SessionKey::random(), ..principals.required.clone() };
    let other = Principals { required, ..principals };
    assert_eq!(call(&other.empty(), &session, Method::GET, "/users", Value::Null).await.status, 401);
}

#[tokio::test]
async fn plain_http_is_to_be_asked_for() {
    let principals = Principals::new().await;
    let required = Required { plain_http: true, ..principals.required.clone() };
    let rest = Principals { required, ..principals }.empty();
    let answer = log_in(&rest, "ann", PASSWORD).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let named = format!("botfarm={token}");
    assert_eq!(cookie(&answer), [named.as_str(), "Max-Age=28800", "Path=/", "HttpOnly", "SameSite=Lax"]);
    for (name, expected) in [("botfarm", 200), ("__Host-botfarm", 401)] {
        let request = Request::get("/api/v1/users").header(header::COOKIE, format!("{name}={token}"));
        assert_eq!(rest.request(request.body(Body::empty()).unwrap()).await.status, expected, "{name}");
    }
}

#[tokio::test]
async fn another_site_gets_nothing_done_by_cookie() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let session = principals.log_in("tom").await;
    let (_, token) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    let (by_cookie, by_header) = ((header::COOKIE, format!("__Host-botfarm={session}")), header::AUTHORIZATION);
    let [session, token] = [format!("Bearer {session}"), format!("Bearer {token}")];
    for (credential, header, value, expected) in [
        (&by_cookie, "sec-fetch-site", "same-origin", 200),
        (&by_cookie, "sec-fetch-site", "none", 200),
        (&by_cookie, "sec-fetch-site", "same-site", 403),
        (&by_cookie, "sec-fetch-site", "cross-site", 403),
        (&by_cookie, "origin", "https://farm.test", 200),
        (&by_cookie, "origin", "https://evil.test", 403),
        (&by_cookie, "origin", "null", 403),
        (&by_cookie, "accept", "*/*", 200),
        (&(by_header.clone(), session.clone()), "origin", "https://evil.test", 200),
        (&(by_header.clone(), token.clone()), "sec-fetch-site", "cross-site", 200),
    ] {
        for (method, path) in [(Method::POST, "acquire"), (Method::DELETE, "lock")] {
            let request = Request::builder().method(method).uri(format!("/api/v1/users/{id}/{path}"));
            let request = request.header(header::HOST, "farm.test").header(header, value);
            let request = request.header(&credential.0, &credential.1).body(Body::empty()).unwrap();
            let answer = rest.request(request).await;
            assert_eq!(answer.status, expected, "{header}: {value}: {answer:?}");
            if expected == 403 {
                assert_eq!(answer.failure().1, "forbidden");
            }
        }
        let request = Request::get("/api/v1/users").header(header::HOST, "farm.test").header(header, value);
        let request = request.header(&credential.0, &credential.1).body(Body::empty()).unwrap();
        assert_eq!(rest.request(request).await.status, 200, "reading changes nothing");
    }
}

#[tokio::test]
async fn another_site_logs_nobody_in() {
    let rest = Principals::new().await.empty();
    let request =
        Request::post("/api/v1/login").header(header::CONTENT_TYPE, FORM).header("sec-fetch-site", "cross-site");
    let body = Body::from("username=ann&password=correct+zebra+battery+staple");
    let answer = rest.request(request.body(body).unwrap()).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()));
    assert_eq!(answer.header(header::SET_COOKIE), None);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_login_are_answered_alike() {
    let rest = Principals::new().await.empty();
    let mut answers = Vec::new();
    for (login, password) in [("ann", "wrong"), ("nobody", PASSWORD), ("ann", "Correct zebra battery staple")] {
        let answer = log_in(&rest, login, password).await;
        assert_eq!(answer.failure(), (401, "unauthenticated".to_owned()));
        assert_eq!(
            (answer.header(header::SET_COOKIE), answer.header(header::WWW_AUTHENTICATE)),
            (None, Some("Bearer"))
        );
        answers.push(answer.json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn an_unknown_login_takes_as_long_as_a_wrong_password() {
    let rest = Principals::new().await.empty();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        for (login, times) in [("ann", &mut known), ("nobody", &mut unknown)] {
            let start = Instant::now();
            assert_eq!(log_in(&rest, login, "wrong").await.status, 401);
            times.push(start.elapsed());
        }
    }
    // The quickest of each, since whatever else the machine does makes them longer; and with much room, since it still
    // may. Without a hash to compare with, an answer takes a hundredth of the time.
    let [known, unknown] = [known, unknown].map(|times| times.into_iter().min().unwrap());
    assert!(unknown * 10 > known, "{known:?} for a known login, {unknown:?} for another");
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_nobody_else_is() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(log_in(&rest, "ann", "wrong").await.status.as_u16());
    }
    assert_eq!(statuses, [vec![401; 10], vec![429; 2]].concat());
    let answer = log_in(&rest, "Ann", PASSWORD).await;
    assert_eq!(answer.failure(), (429, "too-many-requests".to_owned()), "the right password does not help");
    let after: u64 = answer.header(header::RETRY_AFTER).unwrap().parse().unwrap();
    assert!((25..=30).contains(&after), "{after}");
    assert_eq!(answer.json()["retry_after_seconds"], after);
    for _ in 0..15 {
        assert_eq!(log_in(&rest, "tom", PASSWORD).await.status, 200, "who knows the password may log in at any time");
    }
}

#[tokio::test]
async fn guesses_at_a_login_that_does_not_exist_are_counted_alike() {
    let rest = Principals::new().await.empty();
    for _ in 0..10 {
        assert_eq!(log_in(&rest, "nobody", "wrong").await.status, 401);
    }
    assert_eq!(log_in(&rest, "nobody", "wrong").await.status, 429);
}

#[tokio::test]
async fn logins_are_counted_by_the_address_of_the_connection() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let served = Served::start(rest.router.clone()).await;
    let guess = async || {
        let mut raw = Raw::connect(&served).await;
        raw.send(Method::POST, "/api/v1/login", &json!({"login": "ann", "password": "wrong"})).await;
        raw.answer().await.0
    };
    for _ in 0..10 {
        assert_eq!(guess().await, 401);
    }
    assert_eq!(guess().await, 429);
    // A caller without an address is another one.
    assert_eq!(log_in(&rest, "ann", "wrong").await.status, 401);
}

#[tokio::test]
async fn behind_a_proxy_that_is_named_logins_are_counted_by_what_it_says() {
    for (trusted, expected) in [(vec!["127.0.0.0/8".parse().unwrap()], [429, 401]), (vec![], [429, 429])] {
        let principals = Principals::new().await;
        let auth = Auth::Required(principals.required.clone());
        let options = Options { auth, trusted_proxies: trusted, ..Options::default() };
        let served = Served::start(Rest::with(Arc::new(MemoryFarm::new()), options).router).await;
        let guess = async |from: &str| {
            let mut raw = Raw::connect(&served).await;
            let body = json!({"login": "ann", "password": "wrong"});
            raw.send_with(Method::POST, "/api/v1/login", &format!("x-forwarded-for: {from}\r\n"), &body).await;
            raw.answer().await.0
        };
        for turn in 0..10 {
            assert_eq!(guess(&format!("198.51.100.{turn}, 192.0.2.1:{turn}")).await, 401);
        }
        assert_eq!([guess("198.51.100.99, 192.0.2.1").await, guess("192.0.2.1, 198.51.100.99").await], expected);
    }
}

#[tokio::test]
async fn guesses_do_not_shut_out_the_browser_of_who_has_logged_in_before() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let answer = log_in(&rest, "ann", PASSWORD).await;
    let set = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let device = set.into_iter().find(|cookie| cookie.starts_with("__Host-botfarm-device=")).unwrap();
    assert!(device.ends_with("; Max-Age=15552000; Path=/; HttpOnly; SameSite=Strict; Secure"), "{device}");
    let device = device.split(';').next().unwrap();
    let log_in_with = async |login: &str, password: &str, cookie: &str| {
        let request = Request::post("/api/v1/login").header(header::CONTENT_TYPE, "application/json");
        let body = json!({"login": login, "password": password}).to_string();
        let request = request.header(header::COOKIE, cookie).body(Body::from(body)).unwrap();
        rest.request(request).await
    };
    for _ in 0..10 {
        assert_eq!(log_in(&rest, "ann", "wrong").await.status, 401);
    }
    assert_eq!(log_in(&rest, "ann", PASSWORD).await.status, 429, "a stranger");
    let again = log_in_with("ann", PASSWORD, device).await;
    assert_eq!(again.status, 200);
    let kept = again.headers.get_all(header::SET_COOKIE).iter().any(|cookie| {
        let id = device.split('.').next().unwrap();
        cookie.to_str().unwrap().starts_with(id)
    });
    assert!(kept, "it stays the same browser");
    assert_eq!(log_in_with("ann", PASSWORD, &format!("{device}x")).await.status, 429, "a forged one");
    // As another operator, it is nobody that is known.
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(log_in_with("tom", "wrong", device).await.status.as_u16());
    }
    assert_eq!(statuses, [vec![401; 10], vec![429]].concat());
    // And whoever has taken it gets no more guesses with it.
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(log_in_with("ann", "wrong", device).await.status.as_u16());
    }
    assert_eq!(statuses, [vec![401; 10], vec![429]].concat());
}

#[tokio::test]
async fn what_is_no_login_is_refused_with_every_fault() {
    let rest = Principals::new().await.empty();
    let pointers = |answer: &Answer| {
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (body, expected) in [
        (json!({}), vec!["/login", "/password"]),
        (json!({"login": "ann", "password": PASSWORD, "remember": true}), vec!["/remember"]),
        (json!({"username": "ann", "password": PASSWORD}), vec!["/login", "/username"]),
        (json!({"login": 7, "password": "x".repeat(1_025)}), vec!["/login", "/password"]),
        (json!([]), vec![""]),
    ] {
        let answer = rest.post("/api/v1/login", body).await;
        assert_eq!(
            (answer.failure(), pointers(&answer)),
            ((422, "invalid".to_owned()), expected.iter().map(ToString::to_string).collect())
        );
    }
    for (body, expected) in [
        ("", vec!["/username", "/password"]),
        ("username=ann&password=x&grant_type=client_credentials", vec!["/grant_type"]),
        ("username=ann&password=x&otp=1", vec!["/otp"]),
    ] {
        let answer = form(&rest, body).await;
        assert_eq!(
            (answer.failure(), pointers(&answer)),
            ((422, "invalid".to_owned()), expected.iter().map(ToString::to_string).collect())
        );
    }
    for (kind, body, expected) in [
        (FORM, "username=ann&username=tom&password=x".to_owned(), (400, "malformed")),
        ("application/json", "{".to_owned(), (400, "malformed")),
        ("application/json", String::new(), (400, "malformed")),
        ("text/plain", "ann".to_owned(), (415, "unsupported-media-type")),
        ("multipart/form-data", "ann".to_owned(), (415, "unsupported-media-type")),
        (FORM, format!("username=ann&password={}", "x".repeat(20_000)), (413, "too-large")),
    ] {
        let answer = rest.with_body(Method::POST, "/api/v1/login", kind, body).await;
        assert_eq!(answer.failure(), (expected.0, expected.1.to_owned()), "{kind}");
    }
    let answer = form(&rest, "username=ann&password=x").await;
    assert_eq!(answer.status, 401);
    let in_query = rest.with_body(Method::POST, "/api/v1/login?password=x", FORM, "username=ann").await;
    assert_eq!(in_query.failure(), (422, "invalid".to_owned()), "a password in a URL ends up in logs");
}

#[tokio::test]
async fn a_hash_of_older_parameters_is_replaced_at_the_next_login() {
    let principals = Principals::new().await;
    let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(256, 1, 1, None).unwrap());
    let old = PasswordHash::from_phc(weak.hash_password(b"old").unwrap().to_string());
    let login: botfarm_core::Login = "olga".parse().unwrap();
    principals.store.add_operator(login.clone(), old.clone(), Role::Viewer).await.unwrap();
    let rest = principals.empty();
    assert_eq!(log_in(&rest, "olga", "new").await.status, 401);
    let kept = async || principals.store.operator(&login).await.unwrap().unwrap().1;
    assert_eq!(kept().await, old);
    assert_eq!(log_in(&rest, "olga", "old").await.status, 200);
    let new = kept().await;
    assert!(new.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(log_in(&rest, "olga", "old").await.status, 200);
    assert_eq!(kept().await, new, "once");
}

#[tokio::test]
async fn no_log_line_and_no_answer_shows_a_password_a_hash_or_a_token() {
    let log = Log::start();
    let principals = Principals::new().await;
    let rest = principals.empty();
    let session = principals.log_in("ann").await;
    let made = call(&rest, &session, Method::POST, "/tokens", json!({"name": "ci", "role": "admin"})).await.json();
    let token = made["token"].as_str().unwrap().to_owned();
    let new = json!({"login": "zoe", "password": "hunter2-as-one-goes", "role": "tester"});
    let mut answers = vec![
        call(&rest, &token, Method::POST, "/operators", new.clone()).await,
        call(&rest, &token, Method::POST, "/operators", new).await,
        call(&rest, &token, Method::GET, "/operators", Value::Null).await,
        call(&rest, &token, Method::GET, "/tokens", Value::Null).await,
        call(&rest, &format!("{token}x"), Method::GET, "/tokens", Value::Null).await,
        call(&rest, &format!("{session}x"), Method::GET, "/tokens", Value::Null).await,
        log_in(&rest, "ann", "hunter3-hunter3").await,
        log_in(&rest, "hunter4-hunter4", "x").await,
        form(&rest, "username=ann&password=hunter5-hunter5&client_secret=hunter6-hunter6&otp=hunter7").await,
        call(&rest, &session, Method::POST, "/logout", Value::Null).await,
    ];
    for _ in 0..11 {
        answers.push(log_in(&rest, "tom", "hunter8-hunter8").await);
    }
    let bodies: String = answers.iter().map(|answer| String::from_utf8_lossy(&answer.body)).collect();
    let logged = log.text();
    assert!(logged.contains("a login failed") && logged.contains("logged in"), "{logged}");
    for shown in [&logged, &bodies] {
        for secret in [session.as_str(), token.as_str(), PASSWORD, "hunter", "argon2", "$v=19"] {
            assert!(!shown.contains(secret), "{secret} is in: {shown}");
        }
    }
    let debug = format!("{:?}", principals.required);
    assert!(debug.contains("SessionKey(***)"), "{debug}");
}

#[tokio::test]
async fn a_caller_who_hangs_up_on_a_login_is_counted() {
    let principals = Principals::new().await;
    let rest = Arc::new(principals.empty());
    for _ in 0..10 {
        let call = log_in(&rest, "ann", "wrong");
        let hung_up = tokio::time::timeout(Duration::ZERO, call).await;
        assert!(hung_up.is_err());
    }
    assert_eq!(log_in(&rest, "ann", PASSWORD).await.status, 429);
}
