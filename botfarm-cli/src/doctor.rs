//! `botfarm doctor`: for people whose set-up does not work.

use std::{process::ExitCode, time::Duration};

use botfarm_core::{BotFarm, BotFarmExt, BotFilter, BotState, Condition, Error, PageRequest, Selector, Stats};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::{client, config::Config, failure::Failure, output::Output, selectors::SelectorArgs};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// By how much clocks may differ before the times that people see confuse them.
const SKEW: i64 = 5;

/// Checks the set-up step by step, and says what to do where it fails
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    selectors: SelectorArgs,

    #[command(flatten)]
    output: Output,
}

/// What one step has found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

impl Doctor {
    /// Checks.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let selectors = self.selectors.or(&config.file).selectors().map_err(Failure::usage)?;
        let findings = findings(&config, &selectors).await;
        let rows: Vec<_> = findings
            .iter()
            .map(|Finding { check, ok, detail }| {
                [if *ok { "ok" } else { "FAIL" }.to_owned(), (*check).to_owned(), detail.clone()]
            })
            .collect();
        self.output.list(&findings, ["", "CHECK", "FOUND"], rows)?;
        Ok(if findings.iter().all(|finding| finding.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Everything that can be found out: a step that needs one that failed is left out.
async fn findings(config: &Config, selectors: &[Selector]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |check, result: Result<String, String>| {
        let ok = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        findings.push(Finding { check, ok, detail });
        ok
    };
    let opened = async {
        let url = client::url(config)?;
        let given = if config.farm.is_some() { "" } else { " (the default; --farm or BOTFARM_URL names another)" };
        let farm = client::connect(config).await?;
        Ok::<_, Failure>((url, format!("{}{given}", without_password(url)), farm))
    };
    let (url, shown, farm) = match opened.await {
        Ok(opened) => opened,
        Err(failure) => {
            found("farm", Err(failure.to_string()));
            return findings;
        }
    };
    found("farm", Ok(shown));
    if !found("reachable", reachable(&*farm).await) {
        return findings;
    }
    let service = url.starts_with("http");
    if !found("access", access(&*farm, service).await) {
        return findings;
    }
    if service {
        found("clock", clock(url).await);
    }
    for selector in selectors {
        let bots = farm.list_all(&filter(selector)).await;
        let accounts = match (bots, farm.stats().await) {
            (Ok(bots), Ok(stats)) => accounts(selector, &bots, &stats),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        found("accounts", accounts);
    }
    findings
}

async fn reachable(farm: &dyn BotFarm) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, farm.check()).await {
        Ok(Ok(())) => Ok("it can serve".to_owned()),
        Ok(Err(error)) => Err(format!("{}; is it running, and is the address right?", Failure::from(error))),
        Err(_) => Err(format!("no answer within {} s; is a firewall in between?", PATIENCE.as_secs())),
    }
}

async fn access(farm: &dyn BotFarm, service: bool) -> Result<String, String> {
    let token = if service { botfarm::env_or_file("BOTFARM_TOKEN").map_err(|error| error.to_string())? } else { None };
    let with = if token.is_some() { "with BOTFARM_TOKEN" } else { "without a token" };
    match farm.list(&BotFilter::default(), &PageRequest::first(1)).await {
        Ok(_) if service => Ok(format!("the service lets you in, {with}")),
        Ok(_) => Ok("the store lets you in".to_owned()),
        Err(error @ Error::Unauthenticated { .. }) if token.is_none() => {
            Err(format!("{error}; set BOTFARM_TOKEN to a token of an admin's making: botfarm token create"))
        }
        Err(error @ Error::Unauthenticated { .. }) => {
            Err(format!("{error}; the token in BOTFARM_TOKEN is wrong, expired or revoked: have another one made"))
        }
        Err(error) => Err(Failure::from(error).to_string()),
    }
}

/// Compares the clocks. Leases do not depend on it: a client counts on its own clock what the farm says is left.
async fn clock(url: &str) -> Result<String, String> {
    let root = url.trim_end_matches('/').trim_end_matches("/api/v1");
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
    let asked = Utc::now();
    let answer = client.get(format!("{root}/livez")).send().await.map_err(|error| error.without_url().to_string())?;
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return Ok("the service does not tell its time".to_owned());
    };
    skew(asked, date.to_utc(), Utc::now())
}

/// How far the service's time, in whole seconds, is off the time between asking and answering.
fn skew(asked: DateTime<Utc>, theirs: DateTime<Utc>, answered: DateTime<Utc>) -> Result<String, String> {
    let (ahead, behind) = ((theirs - answered).num_seconds(), (asked - theirs).num_seconds());
    if ahead <= SKEW && behind <= SKEW {
        return Ok("agrees with the service's".to_owned());
    }
    let (by, way) = if ahead > behind { (ahead, "behind") } else { (behind, "ahead of") };
    Err(format!(
        "this machine's clock is {by} s {way} the service's; leases are safe, but the times shown are not right"
    ))
}

fn filter(selector: &Selector) -> BotFilter {
    BotFilter {
        project: selector.project.clone(),
        env: selector.env.clone(),
        domain: selector.domain.clone(),
        login: selector.login.clone(),
        labels: selector.labels.clone(),
        ..BotFilter::default()
    }
}

/// Counts what a request would find.
fn accounts(selector: &Selector, bots: &[botfarm_core::Bot], stats: &Stats) -> Result<String, String> {
    let bots: Vec<_> = bots.iter().filter(|bot| selector.could_fit(bot)).collect();
    if bots.is_empty() {
        let pools: Vec<_> = stats
            .pools
            .iter()
            .map(|pool| format!("{} of project={} env={} domain={}", pool.total, pool.project, pool.env, pool.domain))
            .collect();
        let there = if pools.is_empty() {
            "the farm is empty: botfarm import FILE".to_owned()
        } else {
            format!("there are {}", pools.join(", "))
        };
        return Err(format!("none matches {selector}; {there}"));
    }
    let count = |state| bots.iter().filter(|bot| bot.state() == state && bot.condition == Condition::Ready).count();
    let unfit = bots.iter().filter(|bot| bot.condition != Condition::Ready).count();
    let (free, leased, cooling) = (count(BotState::Free), count(BotState::Leased), count(BotState::Cooling));
    let rest = if cooling > 0 { " (at rest after their last lease)" } else { "" };
    let found = format!(
        "{} match {selector}: {free} free, {leased} leased, {cooling} cooling{rest}, {unfit} dirty or broken",
        bots.len()
    );
    if unfit == bots.len() {
        return Err(format!("{found}; clean them, and release them as clean"));
    }
    Ok(found)
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, _) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn no_password_is_shown() {
        assert_eq!(without_password("postgres://ann:hunter2@db:5432/farm?sslkey=x"), "postgres://db:5432/farm");
        assert_eq!(without_password("https://farm.example.com"), "https://farm.example.com");
        assert_eq!(without_password("postgres://a:p@ss@db"), "postgres://db");
    }

    #[test]
    fn a_slow_answer_is_no_skew_but_a_wrong_clock_is() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        assert_eq!(skew(at(100), at(103), at(130)), Ok("agrees with the service's".to_owned()));
        assert_eq!(skew(at(100), at(95), at(100)), Ok("agrees with the service's".to_owned()));
        assert!(skew(at(100), at(40), at(101)).unwrap_err().contains("60 s ahead of the service's"));
        assert!(skew(at(100), at(3_701), at(101)).unwrap_err().contains("3600 s behind the service's"));
    }
}
