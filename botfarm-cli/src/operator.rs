//! `botfarm operator`: who logs in.

use std::{path::PathBuf, process::ExitCode};

use botfarm_core::{Login, operators::Role};
use botfarm_http::wire::{Message, Operator as Shown};
use clap::{Args, Subcommand};

use crate::{
    config::Config,
    directory::Directory,
    failure::Failure,
    output::{Output, dated},
    password,
};

/// Adds, lists and removes those who log in to a service, and changes their passwords
///
/// --farm postgres://… does it in the database, --farm http(s)://… through a service, with an admin's BOTFARM_TOKEN.
#[derive(Debug, Args)]
pub(crate) struct Operator {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adds an operator
    ///
    /// The password comes from a file, stdin, BOTFARM_OPERATOR_PASSWORD or BOTFARM_OPERATOR_PASSWORD_FILE; at a terminal
    /// it is asked for.
    Add(Add),
    /// Lists the operators
    List(List),
    /// Gives an operator another password, and ends its sessions
    ///
    /// For who has forgotten it, or may have lost it. The new one comes from a file, stdin, BOTFARM_OPERATOR_PASSWORD or
    /// BOTFARM_OPERATOR_PASSWORD_FILE; at a terminal it is asked for.
    Passwd(Passwd),
    /// Ends all sessions of an operator, who may log in again
    EndSessions(Named),
    /// Removes an operator, and ends its sessions
    Remove(Named),
}

#[derive(Debug, Args)]
struct Add {
    /// The name it logs in with
    #[arg(value_name = "LOGIN")]
    login: Login,

    /// What it may do: viewer reads, tester also leases, admin does everything
    #[arg(long, value_name = "ROLE")]
    role: Role,

    /// A file with its password; - is stdin
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Passwd {
    /// Its login
    #[arg(value_name = "LOGIN")]
    login: Login,

    /// A file with the new password; - is stdin
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Named {
    /// Its login
    #[arg(value_name = "LOGIN")]
    login: Login,

    #[command(flatten)]
    output: Output,
}

impl Operator {
    /// Does it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Add(add) => add.run(&config).await?,
            Command::List(list) => list.run(&config).await?,
            Command::Passwd(passwd) => passwd.run(&config).await?,
            Command::EndSessions(named) => {
                let directory = Directory::open(&config).await?;
                let found = find(&directory, &named.login).await?;
                directory.end_sessions(found.id).await?;
                said(named.output, &format!("ended all sessions of {}", found.login))?;
            }
            Command::Remove(named) => {
                let directory = Directory::open(&config).await?;
                let found = find(&directory, &named.login).await?;
                directory.remove_operator(found.id).await?;
                said(named.output, &format!("removed {}", found.login))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let password = password::read(self.password_file.as_deref())?;
        let added = Directory::open(config).await?.add_operator(self.login, password, self.role).await?;
        self.output.say(&added, &format!("added {}, {}", added.login, added.role))
    }
}

impl List {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let operators = Directory::open(config).await?.operators().await?;
        let rows = operators
            .iter()
            .map(|Shown { login, role, created_at, .. }| [login.to_string(), role.to_string(), dated(created_at.0)]);
        self.output.list(&operators, ["LOGIN", "ROLE", "SINCE"], rows)
    }
}

impl Passwd {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let directory = Directory::open(config).await?;
        // Before anybody types: a login that is none is said at once.
        let found = find(&directory, &self.login).await?;
        directory.set_password(&found, password::read(self.password_file.as_deref())?).await?;
        said(self.output, &format!("{} has another password, and its sessions are over", found.login))
    }
}

/// The operator of this login.
async fn find(directory: &Directory, login: &Login) -> Result<Shown, Failure> {
    let folded = login.folded();
    let operators = directory.operators().await?;
    operators.into_iter().find(|operator| operator.login.folded() == folded).ok_or_else(|| {
        Failure::new(format!("there is no operator {login}; `botfarm operator list` lists those that there are"))
    })
}

fn said(output: Output, message: &str) -> Result<(), Failure> {
    output.say(&Message { message: message.to_owned() }, message)
}
