use std::{collections::HashMap, ffi::OsString, io::Write};

use super::*;

#[cfg(all(feature = "http", feature = "memory"))]
mod https;

/// What [`open_from_env`] says, given these variables.
async fn refusal(vars: &[(&str, &str)]) -> String {
    let vars: HashMap<_, _> = vars.iter().copied().collect();
    let opened = open_from_env(&|name| vars.get(name).map(OsString::from)).await;
    opened.expect_err("a farm was opened").to_string()
}

#[cfg(feature = "memory")]
async fn opened(vars: &[(&str, &str)]) -> Arc<dyn BotFarm> {
    let vars: HashMap<_, _> = vars.iter().copied().collect();
    open_from_env(&|name| vars.get(name).map(OsString::from)).await.unwrap()
}

#[cfg(feature = "memory")]
async fn create(farm: &Arc<dyn BotFarm>, login: &str) -> botfarm_core::Bot {
    use botfarm_core::{Env, NewBot, ProjectId};

    let password = "not-a-real-password".try_into().unwrap();
    farm.create(NewBot::new(login.parse().unwrap(), password, ProjectId::new(), Env::STAGE)).await.unwrap()
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn a_memory_farm_from_the_environment_is_one_for_the_whole_process() {
    let [one, other] = [opened(&[("BOTFARM_URL", "memory:")]).await, opened(&[("BOTFARM_URL", "memory:")]).await];
    let bot = create(&one, "ada@shop.example").await;
    assert_eq!(other.get(bot.id).await.unwrap(), bot);
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn a_memory_farm_by_its_url_is_a_new_one() {
    let [one, other] = [connect("memory:").await.unwrap(), connect("memory:").await.unwrap()];
    let bot = create(&one, "ada@shop.example").await;
    assert_eq!(other.get(bot.id).await.unwrap_err().code(), "no-such-user");
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn under_nextest_a_memory_farm_from_the_environment_is_refused_with_a_hint() {
    let refusal = refusal(&[("BOTFARM_URL", "memory:"), ("NEXTEST", "1")]).await;
    assert!(refusal.contains("cargo-nextest") && refusal.contains("botfarm serve"), "{refusal}");
}

#[tokio::test]
async fn without_a_url_it_says_which_there_are() {
    for vars in [&[][..], &[("BOTFARM_URL", "")]] {
        let refusal = refusal(vars).await;
        assert_eq!(refusal, format!("BOTFARM_URL is not set, so there is no farm to connect to; set it to {URLS}"));
    }
}

#[tokio::test]
async fn what_is_no_url_is_refused_without_being_repeated() {
    for url in ["", "memory", "memory:s3cret", "ftp://u:s3cret@host", "user:s3cret@host/farm", ":s3cret"] {
        let refusal = connect(url).await.expect_err(url).to_string();
        assert_eq!(refusal, format!("this is not the URL of a farm; give {URLS}"));
    }
}

#[test]
fn a_variable_may_be_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "s3cret ").unwrap();
    let path = file.path().as_os_str().to_owned();
    let vars = |name: &str| (name == "BOTFARM_TOKEN_FILE").then(|| path.clone());
    assert_eq!(read("BOTFARM_TOKEN", &vars).unwrap().as_deref(), Some("s3cret "));
}

#[tokio::test]
async fn a_variable_and_its_file_are_not_both_taken() {
    let refusal = refusal(&[("BOTFARM_URL", "memory:"), ("BOTFARM_URL_FILE", "/run/secrets/url")]).await;
    assert_eq!(refusal, "BOTFARM_URL and BOTFARM_URL_FILE are both set; keep one of them");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let refusal = refusal(&[("BOTFARM_URL_FILE", "/nowhere/url")]).await;
    assert!(refusal.starts_with("BOTFARM_URL_FILE names /nowhere/url, which cannot be read: "), "{refusal}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_without_a_key_is_refused_before_it_is_touched() {
    let refusal = refusal(&[("BOTFARM_URL", "postgres://nobody@127.0.0.1:1/none")]).await;
    assert!(refusal.contains("BOTFARM_KEY"), "{refusal}");
}

#[cfg(feature = "postgres")]
#[test]
fn the_environment_says_how_to_reach_a_database() {
    let read = |vars: &[(&str, &str)]| {
        let vars: HashMap<_, _> = vars.iter().copied().collect();
        let options = StoreOptions::default();
        crate::store::database::options("postgres://me@pooler/db", options, &|name| vars.get(name).map(OsString::from))
    };
    let shown = format!("{:?}", read(&[("BOTFARM_MAX_CONNECTIONS", "50")]).unwrap());
    assert!(shown.contains("max_connections: 50") && shown.contains("listen: Same"), "{shown}");
    let shown = format!("{:?}", read(&[("BOTFARM_LISTEN_URL", "postgres://me@direct/db")]).unwrap());
    assert!(shown.contains("listen: Direct(") && shown.contains("\"direct\""), "{shown}");
    let shown = format!("{:?}", read(&[("BOTFARM_LISTEN_URL", "none")]).unwrap());
    assert!(shown.contains("listen: Nowhere"), "{shown}");
    for days in ["30", "30d"] {
        let shown = format!("{:?}", read(&[("BOTFARM_KEEP_HISTORY", days)]).unwrap());
        assert!(shown.contains("keep_history: 2592000s"), "{shown}");
    }
    for bad in ["0", "6h", "-1", "99999999999999999999"] {
        let refusal = read(&[("BOTFARM_KEEP_HISTORY", bad)]).unwrap_err().to_string();
        assert_eq!(refusal, "BOTFARM_KEEP_HISTORY must be a number of days, from 1 to 36500");
    }
    for bad in ["1", "many", "-1"] {
        let refusal = read(&[("BOTFARM_MAX_CONNECTIONS", bad)]).unwrap_err().to_string();
        assert_eq!(refusal, "BOTFARM_MAX_CONNECTIONS must be a number from 2 on");
    }
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn a_url_whose_feature_is_off_names_the_feature() {
    let refusal = connect("postgres://nobody@127.0.0.1/none").await.unwrap_err().to_string();
    assert!(refusal.contains("features = [\"postgres\"]"), "{refusal}");
}
