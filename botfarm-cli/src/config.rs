//! What is set where: flags beat the environment, which beats `botfarm.toml`, which beats the defaults.

use std::{
    borrow::Cow,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use botfarm_core::{Domain, Env, ProjectId, nearest};
use botfarm_http::{Origin, auth::Proxy};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{failure::Failure, log::LogFormat, policy::EnvSetting, span::setting};

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Auth {
    /// Everybody who can reach the address
    None,
    /// Operators who log in, and programs with an API token
    Required,
}

/// Read when it stands in the working directory and no other file is named.
const FILE: &str = "botfarm.toml";

/// Where the help has the flags that every command has: after those of its own.
const COMMON: &str = "Options of every command";

/// The flags that every command has.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The farm: http(s)://host:port, sqlite:PATH, postgres://user@host/database or memory: [env: BOTFARM_URL, BOTFARM_URL_FILE]
    // Not read by clap, whose help would show the value, and with it a password.
    #[arg(long, value_name = "URL", global = true, help_heading = COMMON)]
    farm: Option<String>,
    /// The file to read settings from [default: botfarm.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "BOTFARM_CONFIG", global = true, help_heading = COMMON)]
    config: Option<PathBuf>,
    /// How logs are written [default: text]
    #[arg(long, value_name = "FORMAT", env = "BOTFARM_LOG_FORMAT", global = true, help_heading = COMMON)]
    log_format: Option<LogFormat>,
}

/// The settings that hold for a command, apart from the flags of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Which farm, if any was named.
    pub(crate) farm: Option<String>,
    /// Who named it.
    pub(crate) farm_by: By,
    /// A flag did, with a password in it.
    pub(crate) farm_flag_has_password: bool,
    /// The file merely stands in the working directory.
    pub(crate) file_is_found: bool,
    /// How logs are written.
    pub(crate) log_format: LogFormat,
    /// What the file says for the command's own flags.
    pub(crate) file: File,
}

/// Who named the farm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum By {
    #[default]
    Nobody,
    Flag,
    Environment,
    File,
}

/// `botfarm.toml`: its keys are the flags.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct File {
    farm: Option<String>,
    log_format: Option<LogFormat>,
    /// `serve --store`
    pub(crate) store: Option<String>,
    /// `serve --listen`
    pub(crate) listen: Option<String>,
    /// `serve --bots`, relative to the file.
    pub(crate) bots: Option<PathBuf>,
    /// `serve --auth`
    pub(crate) auth: Option<Auth>,
    /// `serve --plain-http`
    pub(crate) plain_http: Option<bool>,
    /// `serve --trusted-proxy`
    #[serde(default, deserialize_with = "texts")]
    pub(crate) trusted_proxies: Vec<Proxy>,
    /// `serve --allowed-host`
    #[serde(default)]
    pub(crate) allowed_hosts: Vec<String>,
    /// `serve --max-wait`
    #[serde(default, deserialize_with = "setting")]
    pub(crate) max_wait: Option<Duration>,
    /// `serve --max-waiters`
    pub(crate) max_waiters: Option<usize>,
    /// `serve --max-leases`
    pub(crate) max_leases: Option<usize>,
    /// `serve --import-limit`
    pub(crate) import_limit: Option<u16>,
    /// `serve --import-rows`
    pub(crate) import_rows: Option<usize>,
    /// `serve --cors-origin`
    #[serde(default, deserialize_with = "texts")]
    pub(crate) cors_origins: Vec<Origin>,
    /// `serve --drain`
    #[serde(default, deserialize_with = "setting")]
    pub(crate) drain: Option<Duration>,
    /// `serve --envs`, `import --envs`
    #[serde(default)]
    pub(crate) envs: Vec<Env>,
    /// `serve --domains`, `import --domains`
    #[serde(default)]
    pub(crate) domains: Vec<Domain>,
    /// `run --env`, or what is allowed in each env.
    #[serde(default)]
    pub(crate) env: EnvSetting,
    /// `run --domain`
    pub(crate) domain: Option<Domain>,
    /// `run --project`
    pub(crate) project: Option<ProjectId>,
    /// `run --wait`
    #[serde(default, deserialize_with = "setting")]
    pub(crate) wait: Option<Duration>,
    /// `run --ttl`
    #[serde(default, deserialize_with = "setting")]
    pub(crate) ttl: Option<Duration>,
}

/// Reads a list as the flag has it that may be repeated.
fn texts<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

impl Config {
    /// Whether the farm was named by a file that merely stands in the working directory, as whoever wrote the repository
    /// wants it: no secret goes there.
    pub(crate) fn farm_is_found(&self) -> bool {
        self.file_is_found && self.farm_by == By::File
    }

    /// Reads the file, and puts flags and environment over it.
    ///
    /// # Errors
    /// When a named file is missing, or a file says what cannot be.
    pub(crate) fn load(common: Common) -> Result<Self, Failure> {
        let mut file = match &common.config {
            Some(path) => File::read(path)?,
            None if Path::new(FILE).exists() => File::read(Path::new(FILE))?,
            None => File::default(),
        };
        let authority = common.farm.as_deref().and_then(|farm| farm.split_once("://"));
        let authority = authority.and_then(|(_, rest)| rest.split(['/', '?']).next());
        let farm_flag_has_password =
            authority.and_then(|it| it.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'));
        let (farm, farm_by) = match (common.farm, botfarm::env_or_file("BOTFARM_URL")) {
            (Some(farm), _) => (Some(farm), By::Flag),
            (None, Err(error)) => return Err(error.into()),
            (None, Ok(Some(farm))) => (Some(farm), By::Environment),
            (None, Ok(None)) => match file.farm.take() {
                Some(farm) => (Some(farm), By::File),
                None => (None, By::Nobody),
            },
        };
        let file_is_found = common.config.is_none();
        Ok(Self {
            file_is_found,
            farm_by,
            farm_flag_has_password,
            farm,
            log_format: common.log_format.or(file.log_format).unwrap_or_default(),
            file,
        })
    }
}

/// What is wrong with a file, with the key that may have been meant in the place of all that there are.
fn explained(message: &str) -> Cow<'_, str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown field "));
    match unknown.and_then(|unknown| nearest(unknown, quoted).map(|meant| (unknown, meant))) {
        Some((unknown, meant)) => format!("unknown field `{unknown}`; did you mean `{meant}`?").into(),
        None => message.into(),
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::NotFound { "; --config names a file that exists" } else { "" };
            Failure::usage(format!("{} cannot be read: {error}{hint}", path.display()))
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            // The whole error would show the line, and with it perhaps a password.
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Failure::usage(format!("{}, line {line}: {}", path.display(), explained(error.message())))
        })?;
        if let (Some(bots), Some(folder)) = (&mut file.bots, path.parent()) {
            *bots = folder.join(&bots);
        }
        Ok(file)
    }
}
