//! `botfarm token`: the credentials of programs.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use botfarm_core::{Env, Holder, ProjectId, operators::Role};
use botfarm_http::wire::{Expiry, Message, NewToken, Token as Shown};
use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand};

use crate::{
    config::Config,
    directory::Directory,
    failure::Failure,
    output::{Output, ago, dated},
    span::with_unit,
};

/// Makes, lists and revokes the API tokens of programs
///
/// --farm postgres://… does it in the database, --farm http(s)://… through a service, with an admin's BOTFARM_TOKEN.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a token, and prints its secret, which is shown this once
    Create(Create),
    /// Lists the tokens, without their secrets
    List(List),
    /// Revokes a token: it is refused from then on
    ///
    /// Who waits with it is sent away. What it has leased stays leased until it expires, unless --end-leases is given.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    /// What it is for; leases that it acquires are held by this name unless another is given
    #[arg(value_name = "NAME")]
    name: Holder,

    /// What it may do: viewer reads, tester also leases, admin does everything
    #[arg(long, value_name = "ROLE", default_value_t = Role::Tester)]
    role: Role,

    /// Confines it to the accounts of this project
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectId>,

    /// Confines it to the accounts of this env
    #[arg(long, value_name = "ENV")]
    env: Option<Env>,

    /// For how long it is taken, such as 7d, or never for one without an end
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = expiry)]
    expires: Expiry,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Its name
    #[arg(value_name = "NAME")]
    name: Holder,

    /// Also end the leases that it has acquired: their holders lose the accounts
    #[arg(long)]
    end_leases: bool,

    #[command(flatten)]
    output: Output,
}

impl Token {
    /// Does it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Create(create) => create.run(&config).await?,
            Command::List(list) => list.run(&config).await?,
            Command::Revoke(revoke) => revoke.run(&config).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let Self { name, role, project, env, expires, output } = self;
        let new = NewToken { name, role, project_id: project, env, expires_at: Some(expires) };
        let issued = Directory::open(config).await?.add_token(new).await?;
        // The secret alone goes to stdout, for scripts.
        output.say(&issued, issued.secret.0.expose())?;
        let note = format!("botfarm: this is the secret of {}; it is shown this once", issued.token.name);
        let _ = writeln!(io::stderr(), "{note}");
        Ok(())
    }
}

/// A time from now on, or never.
fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let after = with_unit(text)?;
    let at = TimeDelta::from_std(after).ok().and_then(|after| Utc::now().checked_add_signed(after));
    at.map(|at| Expiry::At(at.into())).ok_or_else(|| "is too far off; say never for a token without an end".to_owned())
}

impl List {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let tokens = Directory::open(config).await?.tokens().await?;
        let rows = tokens.iter().map(|token| {
            let Shown { name, role, project_id, env, expires_at, last_used_at, .. } = token;
            let within: Vec<_> = [project_id.as_deref(), env.as_deref()].into_iter().flatten().collect();
            [
                name.to_string(),
                role.to_string(),
                if within.is_empty() { "nothing".to_owned() } else { within.join(", ") },
                expires_at.map_or_else(|| "never".to_owned(), |at| dated(at.0)),
                last_used_at.map_or_else(|| "never".to_owned(), |at| ago(at.0)),
            ]
        });
        self.output.list(&tokens, ["NAME", "ROLE", "CONFINED TO", "EXPIRES", "LAST USED"], rows)
    }
}

impl Revoke {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let directory = Directory::open(config).await?;
        let found = directory.tokens().await?.into_iter().find(|token| token.name == self.name).ok_or_else(|| {
            Failure::new(format!("there is no token {}; `botfarm token list` lists those that there are", self.name))
        })?;
        let message = if self.end_leases {
            let ended = directory.remove_token_and_leases(found.id).await?;
            format!("revoked {}, and ended {ended} of its leases", found.name)
        } else {
            directory.remove_token(found.id).await?;
            format!("revoked {}", found.name)
        };
        self.output.say(&Message { message: message.clone() }, &message)
    }
}
