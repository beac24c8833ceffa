//! A server in Docker, for machines without one of their own.
//!
//! By the command line rather than by a library: what tests need of Docker is three commands, and the library would add
//! sixty crates and more than a minute to the build of everybody's tests.

use std::{
    env,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use uuid::Uuid;

use crate::server::Server;

const IMAGE: &str = "postgres:17-alpine";

/// A container that is removed when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Container {
    server: Server,
    _watchdog: Watchdog,
}

impl Container {
    /// Starts one. The first time on a machine this takes as long as fetching the image.
    ///
    /// # Errors
    /// What is missing, in a few words.
    pub(super) async fn start() -> Result<Self, String> {
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| error.to_string())?
            .map(|(server, watchdog)| async move {
                server
                    .answers(Duration::from_mins(1))
                    .await
                    .map_err(|error| format!("the container is deaf: {error}"))?;
                Ok(Self { server, _watchdog: watchdog })
            })?
            .await
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }
}

fn run() -> Result<(Server, Watchdog), String> {
    docker(&["version"])?;
    let name = format!("botfarm-testing-{}", Uuid::new_v4().simple());
    let password = Uuid::new_v4().simple().to_string();
    // A daemon elsewhere publishes the port there.
    let host =
        env::var("DOCKER_HOST").ok().and_then(|url| Some(url.strip_prefix("tcp://")?.split(':').next()?.to_owned()));
    let port = if host.is_some() { "5432" } else { "127.0.0.1::5432" };
    let watchdog = Watchdog::start(&name)?;
    let settings = ["-c", "max_connections=300", "-c", "fsync=off", "-c", "full_page_writes=off"];
    let variable = format!("POSTGRES_PASSWORD={password}");
    let run = ["run", "--rm", "--detach", "--name", &name, "--publish", port, "--env", &variable, IMAGE];
    docker(&[&run[..], &settings].concat())?;
    let published = docker(&["port", &name, "5432/tcp"])?;
    let port = published.lines().next().and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
    let port = port.ok_or("docker does not say which port it published")?;
    Ok((Server::in_container(host.as_deref().unwrap_or("127.0.0.1"), port, &password), watchdog))
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("docker cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("docker says: {}", said.trim().lines().next_back().unwrap_or("nothing")))
}

/// A shell that removes the container once its standard input is closed, which the end of the process does.
#[derive(Debug)]
struct Watchdog {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Watchdog {
    fn start(name: &str) -> Result<Self, String> {
        use std::os::unix::process::CommandExt;

        let mut shell = Command::new("sh")
            .args(["-c", r#"trap '' HUP INT TERM; read -r _; docker rm --force --volumes "$1""#, "sh", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("a shell cannot be started: {error}"))?;
        let line = shell.stdin.take();
        Ok(Self { shell, line })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.line = None;
        let _ = self.shell.wait();
    }
}
