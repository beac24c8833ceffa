//! `botfarm operator`: who logs in.

use std::{path::PathBuf, process::ExitCode};

use botfarm_core::{Login, operators::Role};
use botfarm_http::wire::{Message, Operator as Shown};
use clap::{Args, Subcommand};

use crate::{
    config::Config,
    failure::Failure,
    output::{Output, dated},
    password,
    staff::Staff,
};

/// Adds, lists and removes those who log in to a service
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
    /// Removes an operator, and ends its logins
    Remove(Remove),
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
struct Remove {
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
            Command::Remove(remove) => remove.run(&config).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let password = password::read(self.password_file.as_deref())?;
        let added = Staff::open(config).await?.add_operator(self.login, password, self.role).await?;
        self.output.say(&added, &format!("added {}, {}", added.login, added.role))
    }
}

impl List {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let operators = Staff::open(config).await?.operators().await?;
        let rows = operators
            .iter()
            .map(|Shown { login, role, created_at, .. }| [login.to_string(), role.to_string(), dated(created_at.0)]);
        self.output.list(&operators, ["LOGIN", "ROLE", "SINCE"], rows)
    }
}

impl Remove {
    async fn run(self, config: &Config) -> Result<(), Failure> {
        let staff = Staff::open(config).await?;
        let folded = self.login.folded();
        let operators = staff.operators().await?;
        let found = operators.into_iter().find(|operator| operator.login.folded() == folded).ok_or_else(|| {
            Failure::new(format!(
                "there is no operator {}; `botfarm operator list` lists those that there are",
                self.login
            ))
        })?;
        staff.remove_operator(found.id).await?;
        let message = format!("removed {}", found.login);
        self.output.say(&Message { message: message.clone() }, &message)
    }
}
