//! What the operator can tell the program: flags and environment become the values that the rest works with, or an
//! error that names the setting, the value and what is accepted.
//!
//! [`all`] is the table of settings; [`cli`] makes flags and help of it, [`given`] looks a value up, [`value`] reads
//! it. The environment comes in as a function, so everything here is a plain function of its input. A value that may
//! hold a secret (database URL, password) is read by the crate `postgres-url`, whose errors repeat nothing of it; for
//! the same reason an argument that does not belong is refused without being repeated.
//!
//! Of the other modules this one imports the types that it makes. Only commands, the daemon's start and `main` import
//! it.

use std::ffi::OsString;

use clap::FromArgMatches;
use postgres_url::Database;

mod all;
mod cli;
mod database;
pub(crate) mod docker;
mod error;
mod given;
mod health;
mod misspelt;
mod pages;
mod run;
mod setting;
mod value;
mod watch;

use crate::postgres::table_name::TableName;
use crate::telemetry::LogFormat;
use cli::{AnyCommand, Cli, CommandArgs};
use database::DatabaseSource;
pub(crate) use error::SettingsError;
use error::without_secret;
use given::{Environment, Given};
pub(crate) use health::HealthSettings;
pub(crate) use misspelt::{Misspelt, misspelt};
pub(crate) use pages::Pages;
pub(crate) use run::RunSettings;
pub(crate) use watch::{Color, WatchSettings};

/// Everything that one start of the program was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where the manager's database is.
    pub(crate) database: Database,
    /// The watched tables, at least one.
    pub(crate) tables: Vec<TableName>,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// What to do.
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Bring the schema to this version.
    Migrate {
        /// Although a publication takes our tables in.
        into_publication: bool,
        /// Only print the SQL.
        dry_run: bool,
    },
    /// Run the daemon.
    Run(Box<RunSettings>),
    /// Show the instances.
    Status {
        /// Which of them, and how.
        shown: Shown,
        /// As one JSON object, for programs.
        json: bool,
    },
    /// Follow the transitions.
    Watch(Box<WatchSettings>),
    /// Check what the daemon with these settings needs.
    Doctor(Box<RunSettings>),
    /// Say whether the daemon of this host leads or stands by.
    Health(HealthSettings),
    /// Remove the triggers and the schema.
    Uninstall(Consent),
}

/// What the command `status` shows of the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Each of them.
    Every,
    /// Those in trouble.
    Trouble,
    /// How many there are of each status and reason.
    Summary,
}

/// What may be removed without asking, and although something stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consent {
    /// Do not ask.
    pub(crate) yes: bool,
    /// Although a daemon leads.
    pub(crate) force: bool,
    /// With what somebody built on the schema.
    pub(crate) with_dependents: bool,
}

/// What this process was told to do.
#[derive(Debug)]
pub(crate) enum Told {
    /// To work on a database.
    Work(Box<Settings>),
    /// To write pages about the command line, which takes no settings.
    Pages(Pages),
}

impl Told {
    /// What this process was told.
    pub(crate) fn load() -> Result<Self, SettingsError> {
        Self::parse(std::env::args_os(), &|name| std::env::var_os(name))
    }

    /// Reads the arguments (the program's name first) and the environment.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let matches = cli::command()
            .try_get_matches_from(arguments)
            .map_err(without_secret)?;
        let cli = Cli::from_arg_matches(&matches).map_err(without_secret)?;
        // A command's own hold those of every command, wherever they stood.
        let given = Given {
            flags: matches.subcommand().map_or(&matches, |(_, flags)| flags),
            environment,
        };
        let settings = match cli.command {
            AnyCommand::Pages(pages) => return Ok(Self::Pages(pages.into())),
            AnyCommand::Work(command) => Settings::resolve(&command, &given)?,
        };
        Ok(Self::Work(Box::new(settings)))
    }
}

impl Settings {
    fn resolve(args: &CommandArgs, given: &Given<'_>) -> Result<Self, SettingsError> {
        let source = DatabaseSource::new(given)?;
        Ok(Self {
            command: command(args, given, &source)?,
            database: source.database()?,
            tables: value::tables(
                &all::TABLE,
                &given.get(&all::TABLE)?,
                &given.get(&all::DATABASE_SCHEMA)?,
            )?,
            log_format: given.get(&all::LOG_FORMAT)?,
        })
    }

    /// Reads the arguments and the environment of a command that works on a database.
    #[cfg(test)]
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        match Told::parse(arguments, environment)? {
            Told::Work(settings) => Ok(*settings),
            Told::Pages(pages) => panic!("{pages:?} instead of work"),
        }
    }
}

fn command(
    command: &CommandArgs,
    given: &Given<'_>,
    source: &DatabaseSource<'_>,
) -> Result<Command, SettingsError> {
    Ok(match command {
        CommandArgs::Migrate { dry_run } => Command::Migrate {
            into_publication: given.get(&all::INTO_PUBLICATION)?,
            dry_run: *dry_run,
        },
        CommandArgs::Run => Command::Run(Box::new(RunSettings::resolve(given, source)?)),
        CommandArgs::Doctor => Command::Doctor(Box::new(RunSettings::resolve(given, source)?)),
        CommandArgs::Status { .. }
        | CommandArgs::Watch { .. }
        | CommandArgs::Health { .. }
        | CommandArgs::Uninstall(_)
            if given.by_flag(&all::TABLE) =>
        {
            return Err(SettingsError::EveryTable);
        }
        CommandArgs::Status {
            json,
            trouble,
            summary,
        } => Command::Status {
            shown: match (trouble, summary) {
                (_, true) => Shown::Summary,
                (true, false) => Shown::Trouble,
                (false, false) => Shown::Every,
            },
            json: *json,
        },
        CommandArgs::Watch { json } => {
            Command::Watch(Box::new(WatchSettings::resolve(*json, given, source)?))
        }
        CommandArgs::Health { process } => {
            Command::Health(HealthSettings::resolve(*process, given)?)
        }
        CommandArgs::Uninstall(args) => Command::Uninstall(Consent {
            yes: args.yes,
            force: args.force,
            with_dependents: args.with_dependents,
        }),
    })
}

#[cfg(test)]
mod tests;
