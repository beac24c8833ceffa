//! Envs of a team's own, from the command line into every store.

use std::fs;

use postgres_lab::Database;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::service::{Service, bare, finish};

const FILE: &str = "login,password,project,env,label.role\n\
                    dee,s3cret of dee,shop,dev,admin\n\
                    quinn,s3cret of quinn,shop,qa,\n\
                    eve,s3cret of eve,shop,eu-west.stage,\n";

const ENVS: &str = "--envs=dev,qa,eu-west.stage";

/// Imports into the farm at this URL, lists, and runs a command with an account of each env.
async fn goes_through(folder: &TempDir, url: &str, key: &str) {
    let command = |arguments: &[&str]| -> Command {
        let mut command = bare(folder);
        command.args(arguments).env("BOTFARM_URL", url).env("BOTFARM_KEY", key).env("RUST_LOG", "warn");
        command
    };
    fs::write(folder.path().join("team.csv"), FILE).unwrap();
    let is_service = url.starts_with("http");
    if !is_service {
        let (code, _, said) = finish(command(&["import", "team.csv"])).await;
        assert_eq!(code, 2, "{url}: {said}");
        assert!(
            said.contains("row 1 (line 2): env must be one of prod, preprod, stage, unless the setting envs"),
            "{said}"
        );
    }
    let import: &[&str] = if is_service { &["import", "team.csv"] } else { &["import", "team.csv", ENVS] };
    let (code, stdout, said) = finish(command(import)).await;
    assert_eq!(code, 0, "{url}: {said}");
    let expected = "+3 ~0 =0: 3 created, 0 updated, 0 unchanged\nnew project: shop\nnew env: dev, eu-west.stage, qa\n\
                    new domain: canary\n";
    assert_eq!(stdout, expected, "{url}");
    for (login, env) in [("dee", "dev"), ("quinn", "qa"), ("eve", "eu-west.stage")] {
        let (_, listed, _) = finish(command(&["users", "--env", env, "--project", "shop", "--format", "json"])).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!((&listed[0]["login"], &listed[0]["env"]), (&json!(login), &json!(env)), "{url}");
        let run = ["run", "--env", env, "--", "sh", "-c", "echo $BOTFARM_USER_LOGIN of $BOTFARM_USER_ENV"];
        let (code, stdout, said) = finish(command(&run)).await;
        assert_eq!((code, stdout), (0, format!("{login} of {env}\n")), "{url}: {said}");
    }
    let (code, _, said) = finish(command(&["run", "--env", "eu-west.stgae", "--", "true"])).await;
    assert!(code == 125 && said.contains("did you mean eu-west.stage?"), "{url}: {said}");
}

const KEY: &str = "bWFkZSB1cCBmb3IgdGVzdHMsIDMyIGJ5dGVzIGxvbmc=";

#[tokio::test]
async fn envs_of_a_team_go_through_a_service() {
    let folder = TempDir::new().unwrap();
    let mut command = bare(&folder);
    command.args(["serve", "--listen", "127.0.0.1:0", ENVS, "--store", "memory:"]);
    let service = Service::start(TempDir::new().unwrap(), command).await;
    goes_through(&folder, &service.url, KEY).await;
    fs::write(folder.path().join("typo.csv"), FILE.replace("qa", "qaa")).unwrap();
    let mut command = bare(&folder);
    command.args(["import", "typo.csv"]).env("BOTFARM_URL", &service.url);
    let (code, _, said) = finish(command).await;
    assert!(code == 2 && said.contains("row 2 (line 3): env must be one of dev, qa, eu-west.stage"), "{said}");
    assert!(said.contains("did you mean qa?"), "{said}");
}

#[tokio::test]
async fn envs_of_a_team_go_into_a_file() {
    let folder = TempDir::new().unwrap();
    goes_through(&folder, &format!("sqlite:{}", folder.path().join("farm.db").display()), KEY).await;
}

#[tokio::test]
async fn envs_of_a_team_go_into_a_database() {
    let (folder, database) = (TempDir::new().unwrap(), Database::new().await);
    goes_through(&folder, &database.url(), KEY).await;
}

#[tokio::test]
async fn a_file_says_which_envs_there_are_and_what_is_allowed_in_each() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("team.csv"), FILE).unwrap();
    let settings = "envs = ['dev', 'qa', 'eu-west.stage']\n[env.dev]\nnamed_only = true\nmax_ttl = '1m'\n";
    fs::write(folder.path().join("botfarm.toml"), settings).unwrap();
    let mut command = bare(&folder);
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--bots", "team.csv"]);
    let service = Service::start(folder, command).await;
    let (code, stdout, _) =
        finish(service.botfarm(&["run", "--label", "role=admin", "--", "sh", "-c", "echo $BOTFARM_USER_LOGIN"])).await;
    assert_eq!((code, stdout.as_str()), (125, ""), "an account of dev must be named");
    let run = ["run", "--env", "dev", "--ttl", "2m", "--", "true"];
    let (code, _, said) = finish(service.botfarm(&run)).await;
    assert!(code == 125 && said.contains("must be from 5 to 60 seconds, as dev has it"), "{said}");
    let run = ["run", "--env", "dev", "--ttl", "1m", "--", "sh", "-c", "echo $BOTFARM_USER_LOGIN"];
    assert_eq!(service.output(&run).await, "dee\n");
}
