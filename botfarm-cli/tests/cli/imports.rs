//! Files as people have them.

use serde_json::json;

use crate::service::{PROJECT, Service, finish};

/// Code and stderr of a command that fails.
async fn refused(service: &Service, arguments: &[&str]) -> (i32, String) {
    let (code, stdout, said) = finish(service.botfarm(arguments)).await;
    assert_eq!(stdout, "", "{arguments:?}: {said}");
    (code, said)
}

#[tokio::test]
async fn a_spreadsheet_is_read_as_it_is_and_what_was_made_of_it_is_said() {
    let service = Service::with(&[]).await;
    let file =
        "\u{feff}E-Mail;Pwd;Role;Plan\r\nada@shop.test;s3cret of ada;admin;pro\r\nben@shop.test;s3cret of ben;;\r\n";
    service.file("sheet.csv", file);
    let (code, said) = refused(&service, &["import", "sheet.csv", "--env", "stage", "--project", "shop"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("the header row: column 3 (Role) is none of: login, password,"), "{said}");
    assert!(said.contains("name it in --labels"), "{said}");
    let (code, said) = refused(&service, &["import", "sheet.csv", "--labels", "role,plan"]).await;
    assert!(code == 2 && said.contains("the column env is missing; --env gives it for all rows"), "{said}");

    let import = ["import", "sheet.csv", "--env=stage", "--project=shop", "--domain=regular", "--labels=role,plan"];
    let (code, stdout, said) = finish(service.botfarm(&[&import[..], &["--dry-run"]].concat())).await;
    assert_eq!(code, 0, "{said}");
    let told = "botfarm: sheet.csv: cells are separated by semicolons\nbotfarm: sheet.csv: column 1 (E-Mail) is the login\n\
                botfarm: sheet.csv: column 2 (Pwd) is the password\nbotfarm: sheet.csv: labels are: role, plan\n";
    assert_eq!(said, told);
    let new = "new project: shop\nnew env: stage\nnew domain: regular\n";
    let counts = "+2 ~0 =0: 2 created, 0 updated, 0 unchanged";
    assert_eq!(stdout, format!("{counts} (dry run: nothing was done)\n{new}"));
    assert_eq!(service.json(&["users"]).await, json!([]));
    assert_eq!(service.output(&import).await, format!("{counts}\n{new}"));
    let ada = service.bot("ada@shop.test").await;
    assert_eq!(
        (&ada["project_id"], &ada["env"], &ada["domain"], &ada["labels"]),
        (&json!("shop"), &json!("stage"), &json!("regular"), &json!({"plan": "pro", "role": "admin"}))
    );
    assert_eq!(service.output(&import).await, "+0 ~0 =2: 0 created, 0 updated, 2 unchanged\n");
}

#[tokio::test]
async fn an_export_with_other_labels_is_imported_without_passwords() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "role=member")]).await;
    let export = service.output(&["export"]).await;
    service.file("labels.csv", &export.replace("member", "owner"));
    let dry = service.output(&["import", "labels.csv", "--dry-run"]).await;
    assert_eq!(dry, "+0 ~1 =1: 0 created, 1 updated, 1 unchanged (dry run: nothing was done)\n");
    assert_eq!(service.bot("qa-2").await["labels"], json!({"role": "member"}));
    assert_eq!(service.json(&["import", "labels.csv"]).await, json!({"created": 0, "updated": 1, "unchanged": 1}));
    assert_eq!(service.bot("qa-2").await["labels"], json!({"role": "owner"}));
    let password = ["run", "--login", "qa-2", "--", "sh", "-c", "echo $BOTFARM_USER_PASSWORD"];
    assert_eq!(service.output(&password).await, "s3cret of qa-2\n", "the password stays as it is");

    // A label that has gone from the file goes; what the file says nothing of stays.
    service.file("labels.csv", &export.replace("admin", "").replace("member", "owner"));
    assert!(service.output(&["import", "labels.csv"]).await.starts_with("+0 ~1 =1"));
    assert_eq!(service.bot("qa-1").await["labels"], json!({}));
    service.file("logins.csv", "login,env\nQA-2,stage\n");
    assert!(service.output(&["import", "logins.csv"]).await.starts_with("+0 ~0 =1"));
    assert_eq!(service.bot("qa-2").await["labels"], json!({"role": "owner"}));

    // Who is not there yet needs a password, and then nothing is done.
    service.file("new.csv", &format!("{export}qa-3,{PROJECT},stage,canary,admin\nQA-1,{PROJECT},stage,canary,\n"));
    let (code, said) = refused(&service, &["import", "new.csv"]).await;
    assert_eq!(code, 2, "{said}");
    let faults: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(
        faults,
        [
            "  row 3 (line 4): password is required: stage has no account of this login yet",
            "  row 4 (line 5): login names an account that a row above names",
        ]
    );
    assert_eq!(service.bot("qa-1").await["labels"], json!({}));
}

#[tokio::test]
async fn what_a_file_has_no_longer_is_listed_and_taken_away() {
    let service = Service::with(&[("qa-1", ""), ("qa-2", ""), ("qa-3", "")]).await;
    let row = |login: &str, env: &str| format!("{login},s3cret of {login},{PROJECT},{env}\n");
    let header = "login,password,project_id,env\n";
    service.file("prod.csv", &format!("{header}{}", row("pat", "prod")));
    service.output(&["import", "prod.csv"]).await;
    service.file("one.csv", &format!("{header}{}", row("QA-1", "stage")));
    let run = service.botfarm(&["run", "--login", "qa-3", "--", "cat"]).stdin(std::process::Stdio::piped()).spawn();
    let mut run = run.unwrap();
    service.until_bot("qa-3", |bot| !bot["lease"].is_null()).await;
    let dry = service.output(&["import", "one.csv", "--prune", "--dry-run"]).await;
    assert!(dry.contains("\nwould be removed (1): stage/qa-2\n"), "{dry}");
    assert!(dry.contains("but held, so they stay until the next import (1): stage/qa-3"), "{dry}");
    let pruned = service.json(&["import", "one.csv", "--prune"]).await;
    assert_eq!((&pruned["pruned"], &pruned["held"]), (&json!(["stage/qa-2"]), &json!(["stage/qa-3"])));
    drop(run.stdin.take());
    run.wait().await.unwrap();
    let pruned = service.json(&["import", "one.csv", "--prune"]).await;
    assert_eq!((&pruned["pruned"], &pruned["held"]), (&json!(["stage/qa-3"]), &json!([])));
    let left = service.json(&["users"]).await;
    let left: Vec<_> = left.as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap()).collect();
    assert_eq!(left, ["QA-1", "pat"], "accounts of other envs are none of its business");
}
