//! Another process: this test binary, made to run one of its helpers, that may be stopped and killed.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    os::unix::process::CommandExt,
    process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use botfarm_core::{Keyring, ProjectId, Selector, conformance};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::ground::Ground;

const URL: &str = "BOTFARM_TEST_CHILD_URL";
const KEY: &str = "BOTFARM_TEST_CHILD_KEY";
const PROJECT: &str = "BOTFARM_TEST_CHILD_PROJECT";

/// A process that runs a helper of these tests. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    pub(crate) fn start(helper: &str, ground: &Ground) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", helper, "--ignored", "--nocapture"])
            .env(URL, ground.database.url())
            .env(KEY, ground.key.expose_base64().as_str())
            .env(PROJECT, ground.project.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output).lines() }
    }

    /// What the helper says next after this word.
    pub(crate) fn says(&mut self, word: &str) -> String {
        tokio::task::block_in_place(|| {
            loop {
                let line = self.output.next().expect("the helper ended early").unwrap();
                if let Some((first, rest)) = line.split_once(' ')
                    && first == word
                {
                    return rest.to_owned();
                }
            }
        })
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The farm as the helper sees it, and the bots of its test.
pub(crate) async fn inside() -> (PostgresFarm, Selector) {
    let [url, key, project] = [URL, KEY, PROJECT].map(|name| env::var(name).unwrap());
    let options = PostgresOptions::new(&url)
        .unwrap()
        .policy(conformance::policy())
        .max_connections(4)
        .connect_timeout(Duration::from_secs(30))
        .statement_timeout(Duration::from_secs(30));
    let farm = PostgresFarm::connect(options, Keyring::new(key.parse().unwrap(), [])).await.unwrap();
    (farm, Selector::any().project(project.parse::<ProjectId>().unwrap()))
}

/// Waits for a line of whoever runs the helper.
pub(crate) async fn told() -> String {
    tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        line.trim().to_owned()
    })
    .await
    .unwrap()
}
