//! The server that all tests of a process share.

use std::{env, io};

use tokio::sync::OnceCell;

use crate::{
    binaries::{Binaries, OLDEST},
    cluster::Cluster,
    container::Container,
    server::Server,
};

const GIVEN: &str = "BOTFARM_TEST_DATABASE_URL";

/// The shared server, with what keeps it alive: it ends with the process.
#[derive(Debug)]
enum Shared {
    Given(Server),
    Cluster(Cluster),
    Container(Container),
}

impl Server {
    /// The server that all tests of this process share, found or started at the first call:
    /// 1. the one that `BOTFARM_TEST_DATABASE_URL` names, as a user who may create databases;
    /// 2. a throw-away one of the machine's own binaries (0.3 s);
    /// 3. a throw-away one in Docker.
    ///
    /// # Panics
    /// When there is none of them, in one line that says what to install.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Shared> = OnceCell::const_new();
        match SHARED.get_or_try_init(Shared::find).await {
            Ok(Shared::Given(server)) => server,
            Ok(Shared::Cluster(cluster)) => cluster.server(),
            Ok(Shared::Container(container)) => container.server(),
            Err(failure) => panic!("{failure}"),
        }
    }
}

impl Shared {
    async fn find() -> Result<Self, String> {
        if let Some(url) = env::var(GIVEN).ok().filter(|url| !url.is_empty()) {
            return given(&url).await.map(Self::Given).map_err(|error| format!("{GIVEN}: {error}"));
        }
        let no_binaries = match Binaries::find() {
            Ok(binaries) => {
                let cluster = Cluster::try_start(binaries, &[]).await;
                return cluster.map(Self::Cluster).map_err(|error| format!("cannot start PostgreSQL: {error}"));
            }
            Err(found) => found,
        };
        Container::start().await.map(Self::Container).map_err(|no_docker| {
            format!(
                "there is no PostgreSQL to test on: install PostgreSQL {OLDEST} or later (such as `apt-get install \
                 postgresql`), or start Docker, or set {GIVEN} to the URL of a server where databases may be created \
                 ({no_binaries}; {no_docker})"
            )
        })
    }
}

async fn given(url: &str) -> io::Result<Server> {
    // The error of a faulty URL would repeat it, and its password.
    let options = url.parse().map_err(|_| io::Error::other("this is not a URL like postgres://user@host/database"))?;
    let server = Server::lasting(options);
    let version: String = server.ask(server.home(), "show server_version_num").await?;
    if version.parse::<u32>().is_ok_and(|version| version / 10_000 >= OLDEST) {
        return Ok(server);
    }
    Err(io::Error::other(format!("the server is too old; it must be PostgreSQL {OLDEST} or later")))
}
