//! The day-to-day commands.

use std::process::Stdio;

use crate::service::{PATIENCE, PROJECT, Running, Service, finish};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, time::timeout};

/// What a failing command says, and its exit code.
async fn refused(service: &Service, arguments: &[&str]) -> (i32, String) {
    let (code, stdout, said) = finish(service.botfarm(arguments)).await;
    assert_eq!(stdout, "", "{arguments:?}");
    (code, said)
}

/// A command that holds `login` until its end.
async fn hold(service: &Service, login: &str) -> Running {
    let arguments = ["run", "--holder", "nightly checkout", "--note", "two\nlines", "--login", login, "--", "cat"];
    let run = Running::start(service.botfarm(&arguments));
    service.until_bot(login, |bot| !bot["lease"].is_null()).await;
    run
}

fn logins(users: &Value) -> Vec<&str> {
    users.as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_are_listed_as_a_table_for_people_and_as_the_api_has_them_for_programs() {
    let service = Service::with(&[("qa-1", "role=admin;plan=pro"), ("qa-2", "")]).await;
    let run = hold(&service, "qa-1").await;
    let table = service.output(&["users", "--wide"]).await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[3..], ["", "2 accounts: 1 free, 1 leased"], "{table}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["LOGIN", "ENV", "DOMAIN", "STATE", "HOLDER", "SINCE", "LABELS", "PROJECT", "ID"]
    );
    assert!(lines[1].starts_with("qa-1   stage  canary  leased  nightly checkout  "), "{table}");
    assert!(lines[1].contains("plan=pro role=admin"), "{table}");

    let users = service.json(&["users"]).await;
    let expected = json!({
        "id": users[1]["id"], "login": "qa-2", "project_id": PROJECT, "env": "stage", "domain": "canary", "labels": {},
        "condition": "ready", "created_at": users[1]["created_at"], "locktime": null, "cooling_until": null, "lease": null,
    });
    assert_eq!(users[1], expected);
    assert_eq!(users[0]["lease"]["holder"], "nightly checkout");
    let (shown, told) = (table, users.to_string());
    assert!(!shown.contains("s3cret") && !told.contains("s3cret") && !told.contains("password"), "{shown} {told}");
    run.end().await;
}

#[tokio::test]
async fn users_can_be_filtered() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "role=member"), ("qa-3", "role=member")]).await;
    let run = hold(&service, "qa-2").await;
    service.output(&["release", "qa-3", "--outcome", "dirty"]).await;
    let listed = |flags: &'static [&'static str]| {
        let service = &service;
        async move {
            let users = service.json(&[&["users"], flags].concat()).await;
            logins(&users).join(" ")
        }
    };
    assert_eq!(listed(&[]).await, "qa-1 qa-2 qa-3");
    assert_eq!(listed(&["--label", "role=member"]).await, "qa-2 qa-3");
    assert_eq!(listed(&["--label", "role=member", "--state", "free"]).await, "qa-3");
    assert_eq!(listed(&["--state", "leased"]).await, "qa-2");
    assert_eq!(listed(&["--login", "QA-1"]).await, "qa-1");
    assert_eq!(listed(&["--env", "prod"]).await, "");
    assert_eq!(listed(&["--domain", "regular"]).await, "");
    assert_eq!(listed(&["--project", PROJECT, "--condition", "ready"]).await, "qa-1 qa-2 qa-3");
    let (code, said) = refused(&service, &["users", "--state", "fre"]).await;
    assert!(code == 2 && said.contains("must be one of: free, leased, cooling"), "{said}");
    run.end().await;
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut command = service.botfarm(&["users"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[tokio::test]
async fn an_import_adds_and_updates_and_a_dry_run_only_says_so() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "")]).await;
    let file = format!(
        "login,password,project_id,env,label.role\nqa-1,s3cret of qa-1,{PROJECT},stage,admin\nqa-2,new,{PROJECT},stage,\n\
         qa-3,x,{PROJECT},prod,\n"
    );
    service.file("new.csv", &file);
    let dry = service.output(&["import", "new.csv", "--dry-run"]).await;
    assert_eq!(dry, "+1 ~1 =1: 1 created, 1 updated, 1 unchanged (dry run: nothing was done)\nnew env: prod\n");
    assert_eq!(logins(&service.json(&["users"]).await), ["qa-1", "qa-2"]);
    let done = json!({"created": 1, "updated": 1, "unchanged": 1, "new": {"envs": ["prod"]}});
    assert_eq!(service.json(&["import", "new.csv"]).await, done);
    assert_eq!(logins(&service.json(&["users", "--env=prod"]).await), ["qa-3"]);
    assert_eq!(service.output(&["import", "new.csv"]).await, "+0 ~0 =3: 0 created, 0 updated, 3 unchanged\n");
    let password = ["run", "--login", "qa-2", "--", "sh", "-c", "echo $BOTFARM_USER_PASSWORD"];
    assert_eq!(service.output(&password).await, "new\n");
}

#[tokio::test]
async fn an_import_reads_stdin_in_any_format() {
    let service = Service::with(&[]).await;
    let row = |login| json!({"login": login, "password": "x", "project_id": PROJECT, "env": "stage"});
    for (text, expected) in [
        (json!([row("a")]).to_string(), "+1 ~0 =0"),
        (format!("{}\n{}\n", row("a"), row("b")), "+1 ~0 =1"),
        (format!("login,password,project_id,env\nc,x,{PROJECT},stage\n"), "+1 ~0 =0"),
    ] {
        let mut command = service.botfarm(&["import", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.starts_with(expected), "{text}: {stdout}");
    }
}

#[tokio::test]
async fn a_faulty_import_does_nothing_and_names_every_row_and_line() {
    let service = Service::with(&[("qa-1", "")]).await;
    let header = "login,password,project_id,env";
    service.file("bad.csv", &format!("{header}\nqa-2,hunter2,{PROJECT},stage\n,hunter2,{PROJECT},the moon\n"));
    let (code, said) = refused(&service, &["import", "bad.csv"]).await;
    assert_eq!(code, 2, "{said}");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "botfarm: bad.csv: nothing was imported, for these faults:",
            "  row 2 (line 3): login is required",
            "  row 2 (line 3): env must be a name: 1 to 64 of a-z, 0-9, '.', '_' and '-', of which the first is a letter or a digit",
        ]
    );
    // What only the farm can find out has its line, too.
    service.file("twice.csv", &format!("{header}\nqa-2,hunter2,{PROJECT},stage\nQA-2,hunter2,{PROJECT},stage\n"));
    let (code, said) = refused(&service, &["import", "twice.csv"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("row 2 (line 3): ") && !said.contains("hunter2"), "{said}");
    assert_eq!(logins(&service.json(&["users"]).await), ["qa-1"]);
    let (code, said) = refused(&service, &["import", "none.csv"]).await;
    assert!(code == 2 && said.starts_with("botfarm: none.csv: "), "{said}");
}

#[tokio::test]
async fn an_export_is_what_import_reads_but_for_the_passwords() {
    let service = Service::with(&[("qa-1", "role=admin;plan=a, \"b\""), ("qa-2", "team=x")]).await;
    let (code, csv, said) = finish(service.botfarm(&["export"])).await;
    assert_eq!((code, said.contains("passwords are not exported")), (0, true));
    let expected = format!(
        "login,project_id,env,domain,label.plan,label.role,label.team\nqa-1,{PROJECT},stage,canary,\"a, \"\"b\"\"\",admin,\n\
         qa-2,{PROJECT},stage,canary,,,x\n"
    );
    assert_eq!(csv, expected);
    let with_passwords: Vec<_> = csv
        .lines()
        .enumerate()
        .map(|(row, line)| if row == 0 { format!("{line},password\n") } else { format!("{line},s3cret of qa-{row}\n") })
        .collect();
    service.file("again.csv", &with_passwords.concat());
    assert_eq!(service.output(&["import", "again.csv"]).await, "+0 ~0 =2: 0 created, 0 updated, 2 unchanged\n");

    let json = service.json(&["export", "--env", "stage"]).await;
    let user =
        json!({"login": "qa-2", "project_id": PROJECT, "env": "stage", "domain": "canary", "labels": {"team": "x"}});
    assert_eq!(json[1], user);
    let ndjson = service.output(&["export", "--format", "ndjson"]).await;
    assert_eq!(serde_json::from_str::<Value>(ndjson.lines().nth(1).unwrap()).unwrap(), user);
}

#[tokio::test]
async fn leases_say_who_holds_what() {
    let service = Service::with(&[("qa-1", ""), ("qa-2", "")]).await;
    assert_eq!(service.json(&["leases"]).await, json!([]));
    let run = hold(&service, "qa-2").await;
    let table = service.output(&["leases"]).await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[1].starts_with("stage/qa-2  nightly checkout  ") && lines[1].ends_with("  two lines"), "{table}");
    let leases = service.json(&["leases"]).await;
    let keys: Vec<_> = leases[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["acquired_at", "expires_at", "holder", "note", "run", "url", "users"], "and no lease id");
    assert_eq!(logins(&leases[0]["users"]), ["qa-2"]);
    assert!(!leases.to_string().contains("s3cret"), "{leases}");
    run.end().await;
}

#[tokio::test]
async fn a_release_gives_the_account_back_in_the_state_it_is_left_in() {
    let service = Service::with(&[("qa-1", "")]).await;
    let run = hold(&service, "qa-1").await;
    let said = service.output(&["release", "stage/qa-1", "--outcome", "broken", "--note", "locked out"]).await;
    assert_eq!(said, "released stage/qa-1, which nightly checkout held\n");
    let bot = service.bot("qa-1").await;
    assert_eq!((&bot["lease"], &bot["condition"]), (&Value::Null, &json!("broken")));
    assert_eq!(service.json(&["release", "qa-1"]).await, json!({"message": "nobody held stage/qa-1"}));
    let table = service.output(&["history", "qa-1"]).await;
    assert!(table.contains("released, broken  two lines; locked out"), "{table}");
    run.end().await;
}

#[tokio::test]
async fn a_revocation_needs_a_reason_and_stays_in_the_history() {
    let service = Service::with(&[("qa-1", "")]).await;
    let run = hold(&service, "qa-1").await;
    let (code, said) = refused(&service, &["revoke", "qa-1"]).await;
    assert!(code == 2 && said.contains("--reason"), "{said}");
    let mut revoke = service.botfarm(&["revoke", "qa-1", "--reason", "needed for the demo"]);
    revoke.env("USER", "ann");
    let (code, stdout, _) = finish(revoke).await;
    assert_eq!((code, stdout.as_str()), (0, "revoked stage/qa-1, which nightly checkout held\n"));
    let history = service.json(&["history", "qa-1"]).await;
    let keys: Vec<_> = history[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "address",
        "by",
        "end_note",
        "fence",
        "from",
        "holder",
        "note",
        "outcome",
        "owner",
        "project_id",
        "reason",
        "request_id",
        "run",
        "to",
        "url",
        "user_id",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&history[0]["reason"], &history[0]["end_note"]), (&json!("revoked"), &json!("needed for the demo")));
    assert!(history[0]["by"].as_str().unwrap().starts_with("ann@"), "{history}");
    assert_eq!(run.end().await.0, 123);
}

#[tokio::test]
async fn a_run_is_ended_with_all_that_it_holds() {
    let service = Service::with(&[("qa-1", ""), ("qa-2", "")]).await;
    let of_run = |login: &'static str, run: &'static str| {
        Running::start(service.botfarm(&["run", "--ttl", "5s", "--run", run, "--login", login, "--", "sleep", "60"]))
    };
    let (ended, other) = (of_run("qa-1", "acme/shop 7"), of_run("qa-2", "another"));
    for login in ["qa-1", "qa-2"] {
        service.until_bot(login, |bot| !bot["lease"].is_null()).await;
    }
    let (code, said) = refused(&service, &["end-run"]).await;
    assert!(code == 1 && said.contains("BOTFARM_RUN"), "{code}: {said}");
    let said = service.output(&["end-run", "acme/shop 7", "--outcome", "dirty", "--note", "it was cancelled"]).await;
    assert_eq!(said.trim(), "ended acme/shop 7: 1 lease given back, 0 waiting requests sent away");
    let (code, _, told) = ended.end().await;
    assert_eq!(code, 123, "{told}");
    assert!(told.contains("given back by somebody else") && told.contains("(it was cancelled)"), "{told}");
    service.until_bot("qa-1", |bot| bot["condition"] == "dirty" && bot["lease"].is_null()).await;
    assert_eq!(service.json(&["end-run", "acme/shop 7"]).await, json!({"ended": 0, "waiters": 0}));
    assert_eq!(service.json(&["leases"]).await[0]["run"], "another");
    drop(other);
}

#[tokio::test]
async fn the_audit_trail_tells_what_was_done_to_what_and_from_where() {
    let service = Service::with(&[("qa-1", ""), ("qa-2", "")]).await;
    let ids = [service.bot("qa-1").await, service.bot("qa-2").await].map(|bot| bot["id"].as_str().unwrap().to_owned());
    for login in ["qa-1", "qa-2"] {
        service.output(&["revoke", login, "--reason", "needed"]).await;
    }
    let trail = service.json(&["audit"]).await;
    let told: Vec<_> =
        trail.as_array().unwrap().iter().map(|row| [&row["action"], &row["object"], &row["address"]]).collect();
    let expected = |id: &str| [json!("POST /users/{id}/revoke"), json!(format!("user {id}")), json!("127.0.0.1")];
    let (first, last) = (expected(&ids[0]), expected(&ids[1]));
    assert_eq!(told, [last.each_ref(), first.each_ref()]);
    let object = format!("user {}", ids[0]);
    assert_eq!(service.json(&["audit", "--object", &object]).await, json!([trail[1]]));
    assert_eq!(service.json(&["audit", "--limit", "1", "--since", "1h"]).await, json!([trail[0]]));
    let table = service.output(&["audit"]).await;
    assert!(table.contains("anonymous") && table.contains(&object), "{table}");
}

#[tokio::test]
async fn a_history_is_newest_first_and_as_long_as_wanted() {
    let service = Service::with(&[("qa-1", "")]).await;
    for holder in ["one", "two", "three"] {
        service.output(&["run", "--holder", holder, "--", "true"]).await;
    }
    let holders = |history: &Value| -> Vec<String> {
        history.as_array().unwrap().iter().map(|row| row["holder"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(holders(&service.json(&["history", "qa-1"]).await), ["three", "two", "one"]);
    assert_eq!(holders(&service.json(&["history", "qa-1", "--limit", "2"]).await), ["three", "two"]);
}

#[tokio::test]
async fn a_history_goes_across_accounts_when_none_is_named() {
    let service = Service::with(&[("qa-1", ""), ("qa-2", "")]).await;
    for (login, holder, run) in [("qa-1", "first", "7"), ("qa-2", "second", "8")] {
        let arguments = ["run", "--login", login, "--holder", holder, "--run", run, "--", "true"];
        assert_eq!(finish(service.botfarm(&arguments)).await.0, 0);
    }
    let listed = async |flags: &[&str]| {
        let rows = service.json(&[&["history"], flags].concat()).await;
        let rows: Vec<_> =
            rows.as_array().unwrap().iter().map(|row| row["login"].as_str().unwrap().to_owned()).collect();
        rows.join(" ")
    };
    assert_eq!(listed(&[]).await, "qa-2 qa-1");
    assert_eq!(listed(&["--limit", "1"]).await, "qa-2");
    assert_eq!(listed(&["--run", "7"]).await, "qa-1");
    assert_eq!(listed(&["--holder", "second"]).await, "qa-2");
    assert_eq!(listed(&["qa-1", "--outcome", "clean", "--since", "1h"]).await, "qa-1");
    assert_eq!(listed(&["--until", "1h"]).await, "");
    let table = service.output(&["history"]).await;
    let heads: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["USER", "FROM", "FOR", "HOLDER", "RUN", "OWNER", "ENDED", "NOTE", "URL"]);
    assert!(table.lines().nth(1).unwrap().starts_with("stage/qa-2  "), "{table}");
}

#[tokio::test]
async fn waiters_are_listed_and_told_their_places() {
    let service = Service::with(&[("qa-1", "")]).await;
    let run = hold(&service, "qa-1").await;
    assert_eq!(service.json(&["waiters"]).await, json!([]));
    let arguments = ["run", "--holder", "patient", "--wait", "1m", "--env", "stage", "--", "true"];
    let mut waiting = Running::start(service.botfarm(&arguments));
    waiting.until_said("place 1 of 1", 1).await;
    let waiters = service.json(&["waiters"]).await;
    let told = (&waiters[0]["place"], &waiters[0]["holder"], &waiters[0]["selectors"]);
    assert_eq!(told, (&json!(1), &json!("patient"), &json!([{"env": "stage"}])), "{waiters}");
    let table = service.output(&["waiters"]).await;
    assert!(table.contains("1 match, 1 leased") && table.contains("held by nightly checkout"), "{table}");
    run.end().await;
    assert_eq!(waiting.end().await.0, 0);
}

#[tokio::test]
async fn an_account_is_named_by_id_by_login_or_by_env_and_login() {
    let service = Service::with(&[("qa-1", ""), ("a/b", "")]).await;
    service.file("prod.csv", &format!("login,password,project_id,env\nqa-1,x,{PROJECT},prod\n"));
    service.output(&["import", "prod.csv"]).await;
    let (code, said) = refused(&service, &["release", "qa-1"]).await;
    assert!(code == 2 && said.contains("say which: stage/qa-1, prod/qa-1"), "{said}");
    assert_eq!(service.output(&["release", "prod/QA-1"]).await, "nobody held prod/qa-1\n");
    assert_eq!(service.output(&["release", "a/b"]).await, "nobody held stage/a/b\n");
    let id = service.json(&["users", "--env=prod"]).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(service.output(&["release", &id]).await, "nobody held prod/qa-1\n");
    let (code, said) = refused(&service, &["history", "qa-9"]).await;
    assert!(code == 1 && said.contains("there is no user qa-9; did you mean qa-1? `botfarm users` lists"), "{said}");
    let (code, said) = refused(&service, &["history", "01900000-0000-7000-8000-000000000000"]).await;
    assert!(code == 1 && said.contains("there is no bot"), "{said}");
}

/// Which checks were made, and how they went.
fn checks(findings: &Value) -> Vec<(String, bool)> {
    let of = |finding: &Value| (finding["check"].as_str().unwrap().to_owned(), finding["ok"].as_bool().unwrap());
    findings.as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn the_doctor_finds_a_good_set_up_good() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "")]).await;
    let run = hold(&service, "qa-1").await;
    let findings = service.json(&["doctor", "--env", "stage"]).await;
    let ok = ["farm", "reachable", "access", "clock", "accounts"].map(|check| (check.to_owned(), true));
    assert_eq!(checks(&findings), ok);
    assert_eq!(findings[0]["detail"], service.url);
    assert!(findings[4]["detail"].as_str().unwrap().starts_with("2 match env=stage: 1 free, 1 leased"), "{findings}");
    run.end().await;
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let service = Service::with(&[("qa-1", "role=admin")]).await;
    let diagnosed = |arguments: &'static [&'static str]| {
        let command = service.botfarm(&[&["doctor", "--format=json"], arguments].concat());
        async {
            let (code, stdout, said) = finish(command).await;
            assert_eq!((code, said.as_str()), (1, ""), "{stdout}");
            let findings: Value = serde_json::from_str(&stdout).unwrap();
            let last = findings.as_array().unwrap().last().unwrap().clone();
            assert_eq!(last["ok"], false);
            (last["check"].as_str().unwrap().to_owned(), last["detail"].as_str().unwrap().to_owned())
        }
    };
    let (check, detail) = diagnosed(&["--farm", "http://127.0.0.1:1"]).await;
    assert!(check == "reachable" && detail.contains("is it running"), "{check}: {detail}");
    let (check, detail) = diagnosed(&["--farm", "memory:"]).await;
    assert!(check == "farm" && detail.contains("botfarm serve"), "{check}: {detail}");
    let (check, detail) = diagnosed(&["--farm", "no URL"]).await;
    assert!(check == "farm" && detail.contains("http://host:port"), "{check}: {detail}");
    let (check, detail) = diagnosed(&["--label", "role=boss"]).await;
    assert!(
        check == "accounts" && detail.contains("none matches label role=boss; there are 1 of"),
        "{check}: {detail}"
    );
    service.output(&["release", "qa-1", "--outcome", "broken"]).await;
    // Nobody held it, so nobody left it broken.
    assert_eq!(service.bot("qa-1").await["condition"], "ready");
}

#[tokio::test]
async fn the_healthcheck_asks_the_service_not_its_store() {
    let service = Service::with(&[]).await;
    assert_eq!(service.output(&["healthcheck"]).await, "healthy\n");
    let listen = service.url.strip_prefix("http://").unwrap().replace("127.0.0.1", "0.0.0.0");
    // As in a container: the farm is the store, and the service listens everywhere.
    let mut command = service.botfarm(&["healthcheck"]);
    command.env("BOTFARM_URL", "postgres://nobody@127.0.0.1:1/none").env("BOTFARM_LISTEN", listen);
    assert_eq!(finish(command).await, (0, "healthy\n".to_owned(), String::new()));
    let (code, said) = refused(&service, &["healthcheck", "--farm", "http://127.0.0.1:1"]).await;
    assert!(code == 1 && said.contains("cannot be reached"), "{said}");
}

#[tokio::test]
async fn completions_know_the_commands() {
    let service = Service::with(&[]).await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = service.output(&["completions", shell]).await;
        assert!(script.contains("dry-run") && script.contains("revoke"), "{shell}: {script}");
    }
}

#[tokio::test]
async fn a_farm_that_is_not_there_is_told_with_its_address() {
    let service = Service::with(&[]).await;
    for command in [&["users"][..], &["export"], &["leases"], &["history", "x"], &["release", "x"]] {
        let (code, said) = refused(&service, &[command, &["--farm", "http://127.0.0.1:1"]].concat()).await;
        assert!(code == 1 && said.contains("http://127.0.0.1:1 cannot be reached"), "{command:?}: {said}");
    }
}
