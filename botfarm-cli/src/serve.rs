//! `botfarm serve`: a farm over REST.

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use botfarm::{AllowedNames, BotFarm, ImportReport, LeasePolicy, Store};
use botfarm_http::{
    Options, Origin, ReplaySecret,
    auth::{self, Proxy},
    import::{Format, Rows},
};
use clap::{Args, builder::FalseyValueParser, value_parser};
use tokio::{
    net::{TcpListener, lookup_host},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{info, warn};

use crate::{
    admission::{self, Address},
    allowed::Allowed,
    config::{Auth, By, Config},
    failure::Failure,
    import::faulty::faulty,
    span::span,
    store::{self, Reach},
};

/// How long to go on accepting where others reach the service: Kubernetes and load balancers need a moment to hear that
/// requests are to go elsewhere, and send them here until then.
const DRAIN: Duration = Duration::from_secs(5);

/// The signal that is given notice of.
const TERMINATE: &str = "SIGTERM";

/// Serves a farm over REST, until SIGTERM or Ctrl-C.
///
/// The farm is kept in a file, botfarm-data/farm.db, unless --store names another place.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 is any free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT", env = "BOTFARM_LISTEN")]
    listen: Option<String>,
    /// Where to keep the farm: sqlite:PATH, postgres://user@host/database or memory: [env: BOTFARM_STORE,
    /// BOTFARM_STORE_FILE] [default: sqlite:botfarm-data/farm.db]
    // Not read by clap, whose help would show the value, and with it a password.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Accounts to load first: a file .csv, .json or .ndjson
    #[arg(long, value_name = "FILE", env = "BOTFARM_BOTS")]
    bots: Option<PathBuf>,
    /// Who may call [default: everybody on a loopback address; other addresses are refused]
    #[arg(long, value_name = "WHO", env = "BOTFARM_AUTH")]
    auth: Option<Auth>,
    /// Let the cookies of a login go over plain HTTP, where nothing in front of the service speaks HTTPS
    #[arg(long, env = "BOTFARM_PLAIN_HTTP", value_parser = FalseyValueParser::new())]
    plain_http: bool,
    /// A proxy whose X-Forwarded-For is believed: an address or a network; may be repeated [default: none]
    #[arg(long = "trusted-proxy", value_name = "CIDR", env = "BOTFARM_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxies: Vec<Proxy>,
    /// A name that the service is called by where nobody is asked who they are, beside localhost; may be repeated
    #[arg(long = "allowed-host", value_name = "NAME", env = "BOTFARM_ALLOWED_HOSTS", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// The longest that a request may wait in the queue; one that asks for more waits this long [default: 5m]
    #[arg(long, value_name = "TIME", env = "BOTFARM_MAX_WAIT", value_parser = span)]
    max_wait: Option<Duration>,
    /// How many requests of one operator or token may wait in the queue at once [default: 200]
    #[arg(long, value_name = "NUMBER", env = "BOTFARM_MAX_WAITERS")]
    max_waiters: Option<usize>,
    /// How many leases of one operator or token may be in force at once [default: 1000]
    #[arg(long, value_name = "NUMBER", env = "BOTFARM_MAX_LEASES")]
    max_leases: Option<usize>,
    /// The largest import, in MiB [default: 16]
    #[arg(long, value_name = "MIB", env = "BOTFARM_IMPORT_LIMIT", value_parser = value_parser!(u16).range(1..=1024))]
    import_limit: Option<u16>,
    /// How many rows an import may have [default: 100000]
    #[arg(long, value_name = "NUMBER", env = "BOTFARM_IMPORT_ROWS")]
    import_rows: Option<usize>,
    /// A site whose pages may call from a browser, with a token: https://host; may be repeated [default: none]
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "BOTFARM_CORS_ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// How long to go on accepting after SIGTERM while /readyz says no [default: 5s; on a loopback address 0s]
    #[arg(long, value_name = "TIME", env = "BOTFARM_DRAIN", value_parser = span)]
    drain: Option<Duration>,
    /// Stop when standard input ends: for a program that starts a service of its own, and may be killed
    #[arg(long)]
    until_eof: bool,
    #[command(flatten)]
    allowed: Allowed,
    #[command(flatten)]
    reach: Reach,
}

impl Serve {
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let (names, policy) = (self.allowed.or(&config.file), config.file.env.policy());
        let listen = self.listen.or_else(|| config.file.listen.clone()).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
        // A file that merely stands in the working directory opens nothing to other machines.
        let from_file = config.file.auth.filter(|auth| *auth == Auth::Required || !config.file_is_found);
        let auth = self.auth.or(from_file);
        let url = store_url(self.store, &config)?;

        let address = Address { resolved: resolve(&listen).await?, text: listen.clone() };
        let auth_required = admission::is_required(&address, auth)?;
        let listener = bind(&listen, &address.resolved).await?;
        let mut signals = Signals::listen(self.until_eof).map_err(|error| Failure::new(format!("signals: {error}")))?;
        let bots = self.bots.or(config.file.bots);
        let plain_http = self.plain_http || config.file.plain_http.unwrap_or_default();
        let trusted_proxies =
            if self.trusted_proxies.is_empty() { config.file.trusted_proxies } else { self.trusted_proxies };
        let allowed_hosts = if self.allowed_hosts.is_empty() { config.file.allowed_hosts } else { self.allowed_hosts };
        let max_wait = self.max_wait.or(config.file.max_wait);
        let cors_origins = if self.cors_origins.is_empty() { config.file.cors_origins } else { self.cors_origins };
        let loopback = address.is_loopback();
        let drain = self.drain.or(config.file.drain).unwrap_or(if loopback { Duration::ZERO } else { DRAIN });
        let opened = async {
            let store = open(&url, &self.reach, policy, &names, bots.as_deref()).await?;
            let mut options = Options { cors_origins, trusted_proxies, names, ..options(&store) };
            options.max_waiters = self.max_waiters.or(config.file.max_waiters).unwrap_or(options.max_waiters);
            options.max_leases = self.max_leases.or(config.file.max_leases).unwrap_or(options.max_leases);
            options.import_rows = self.import_rows.or(config.file.import_rows).unwrap_or(options.import_rows);
            if let Some(limit) = self.import_limit.or(config.file.import_limit) {
                options.import_limit = usize::from(limit) << 20;
            }
            if let Some(max_wait) = max_wait {
                options.max_wait = max_wait;
            }
            if auth_required {
                let required = admission::required(&store).await?;
                options.auth = auth::Auth::Required(auth::Required { plain_http, ..required });
                if plain_http {
                    warn!("logins go over plain HTTP: whoever listens on the network reads passwords and tokens");
                }
            } else {
                options.hosts = admission::hosts(&address, &allowed_hosts);
            }
            // Whatever is secret has been read by now.
            #[cfg(target_os = "linux")]
            crate::handed_over::forget();
            Ok::<_, Failure>((store.farm, options))
        };
        let (farm, options) = tokio::select! {
            opened = opened => opened?,
            signal = signals.next() => {
                info!(signal, "stopped before it had started");
                return Ok(ExitCode::SUCCESS);
            }
        };
        announce(&listener).map_err(|error| Failure::new(format!("{listen}: {error}")))?;

        let (tell, told) = oneshot::channel();
        let router = botfarm_http::router(farm, options);
        #[cfg(feature = "otel")]
        let router = crate::traces::continued(router);
        let served = botfarm_http::serve_with_notice(listener, router, async { told.await.unwrap_or_default() });
        let mut served = std::pin::pin!(served);
        let first = tokio::select! {
            ended = &mut served => return done(ended),
            signal = signals.next() => signal,
        };
        info!(signal = first, "stopping: calls in progress are finished, leases stay; once more stops at once");
        // Nothing in front of the service is to find another one: who presses Ctrl-C is looking on, and who had started
        // it is gone.
        let _ = tell.send(if first == TERMINATE { drain } else { Duration::ZERO });
        tokio::select! {
            ended = &mut served => done(ended),
            signal = signals.next() => {
                warn!(signal, "stopped at once");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn done(served: io::Result<()>) -> Result<ExitCode, Failure> {
    served.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(format!("the service stopped: {error}")))
}

async fn resolve(listen: &str) -> Result<Vec<SocketAddr>, Failure> {
    let hint = "give --listen HOST:PORT, such as 127.0.0.1:8000";
    let addresses: Vec<_> = lookup_host(listen)
        .await
        .map_err(|error| Failure::usage(format!("`{listen}` is no address to listen on ({error}); {hint}")))?
        .collect();
    if addresses.is_empty() {
        return Err(Failure::usage(format!("`{listen}` has no address; {hint}")));
    }
    Ok(addresses)
}

/// How the service behaves. Replicas on one database share what makes an idempotency key a lease id, so that a client
/// may ask again at another one.
fn options(store: &Store) -> Options {
    let mut options = Options::default();
    if let Some(keyring) = &store.keyring {
        options.replay_secret = ReplaySecret::from(*keyring.derive("idempotency keys"));
    }
    if let Some(idempotency) = &store.idempotency {
        options.idempotency = idempotency.clone();
    }
    if let Some(audit) = &store.audit {
        options.audit = audit.clone();
    }
    options
}

async fn bind(listen: &str, addresses: &[SocketAddr]) -> Result<TcpListener, Failure> {
    TcpListener::bind(addresses).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; is it running already? Another port is had with --listen 127.0.0.1:0",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, take one above",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        Failure::new(format!("cannot listen on {listen}: {error}{hint}"))
    })
}

/// The one line on stdout, for scripts that asked for port 0.
fn announce(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    // Whoever closed stdout does not want to know.
    let _ = writeln!(io::stdout(), "listening on http://{address}");
    Ok(())
}

/// Where the farm is kept, by the flag, the environment, or `botfarm.toml`; by `DATABASE_URL`, which is what other
/// programs of the machine go by; else the default. The farm that commands talk to is another matter.
fn store_url(flag: Option<String>, config: &Config) -> Result<String, Failure> {
    if config.farm_by == By::Flag {
        return Err(Failure::usage(
            "--farm is what the other commands talk to; `serve` keeps a farm of its own: say where with --store",
        ));
    }
    let named = match flag {
        Some(store) => Some(store),
        None => botfarm::env_or_file("BOTFARM_STORE")?,
    };
    if named.is_none() && config.file_is_found && config.file.store.as_deref().is_some_and(Store::is_database) {
        return Err(Failure::usage(
            "botfarm.toml in this folder names a database as the store; name it with --store or BOTFARM_STORE, or the \
             file with --config",
        ));
    }
    if let Some(store) = named.or_else(|| config.file.store.clone()) {
        if store.starts_with("http:") || store.starts_with("https:") {
            return Err(Failure::usage(
                "a store is where a service keeps its farm, and no other service: give --store sqlite:PATH, \
                 postgres://user@host/database or memory:",
            ));
        }
        return Ok(postgres_url(&store).unwrap_or(store));
    }
    // A shell that is set up for the commands names a service, perhaps this one. A store is not taken for this one's, and
    // not passed over either: whoever set it may have meant it.
    if config.farm.as_deref().is_some_and(Store::is_at) {
        return Err(Failure::usage(
            "BOTFARM_URL, or `farm` in botfarm.toml, names a store, but is what the other commands talk to; name where \
             this service keeps its farm with --store or BOTFARM_STORE",
        ));
    }
    let database = std::env::var("DATABASE_URL").ok();
    if let Some(database) = database.as_deref().and_then(postgres_url) {
        info!("DATABASE_URL names the store; --store or BOTFARM_STORE names another");
        return Ok(database);
    }
    Ok(store::DEFAULT.to_owned())
}

/// The URL of a database as botfarm takes it, of one as the libraries of other languages do: `postgresql+asyncpg://…`.
fn postgres_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let family = scheme.split('+').next()?;
    matches!(family, "postgres" | "postgresql").then(|| format!("postgres://{rest}"))
}

/// The farm, with the bots of the file in it.
async fn open(
    url: &str,
    reach: &Reach,
    policy: LeasePolicy,
    names: &AllowedNames,
    bots: Option<&Path>,
) -> Result<Store, Failure> {
    let store = reach.open(url, policy).await?;
    store.farm.check().await?;
    if let Some(path) = bots {
        load(&*store.farm, names, path).await?;
    }
    if url == "memory:" {
        warn!("the farm is in memory: nothing is kept across restarts; --store sqlite:PATH keeps it");
        for key in ["BOTFARM_KEY", "BOTFARM_KEY_FILE", "BOTFARM_OLD_KEYS", "BOTFARM_OLD_KEYS_FILE"] {
            if std::env::var_os(key).is_some_and(|value| !value.is_empty()) {
                // Which of the two it was when the process was started is not known any more.
                let key = key.trim_end_matches("_FILE");
                warn!("{key} is of no use: a farm in memory seals nothing; --store sqlite:PATH uses it");
            }
        }
    }
    Ok(store)
}

/// Loads the bots of a file, all or nothing.
async fn load(farm: &dyn BotFarm, names: &AllowedNames, path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let format = Format::from_path(path).ok_or_else(|| {
        Failure::usage(format!(
            "{shown} is not a file of bots that botfarm can read; its name must end in .csv, .json or .ndjson"
        ))
    })?;
    let file = File::open(path).map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    let faulty = |error| match error {
        botfarm::Error::Invalid { .. } => faulty(&shown.to_string(), error),
        error => Failure::usage(format!("{shown}: {error}")),
    };
    let mut rows = Rows::read(format, file, usize::MAX).map_err(faulty)?;
    let bots = rows.take();
    names.check_all(&bots).map_err(|error| faulty(rows.located(error)))?;
    let report = match farm.import(bots, false).await {
        Ok(report) => report,
        Err(error @ botfarm::Error::Invalid { .. }) => return Err(faulty(rows.located(error))),
        Err(error) => return Err(error.into()),
    };
    let ImportReport { created, updated, unchanged } = report;
    info!(created, updated, unchanged, "loaded the bots of {shown}");
    Ok(())
}

/// What tells the service to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    end_of_input: oneshot::Receiver<()>,
}

impl Signals {
    fn listen(until_eof: bool) -> io::Result<Self> {
        let (ended, end_of_input) = oneshot::channel();
        if until_eof {
            // A thread of its own: one of the runtime's would have to read to the end before the process is over.
            thread::Builder::new().name("stdin".to_owned()).spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                let _ = ended.send(());
            })?;
        }
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, end_of_input })
    }

    /// The next one, by name. Cancel safety: none is lost when the future is dropped.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => "SIGINT",
            // Without the flag there is no sender, and nothing to wait for; the end comes once.
            Ok(()) = &mut self.end_of_input, if !self.end_of_input.is_terminated() => "end of input",
        }
    }
}
