//! What the operator can tell the program: flags and environment become checked values, or an error that names the
//! setting, the value and what is accepted.
//!
//! The way of a value: the flag, else the environment variable, else the default; an empty one counts as not given.
//! The environment comes in as a function, so everything here is a plain function of its input. A value that may hold
//! a secret (database URL, password) is read by the crate `postgres_url`, whose errors repeat nothing of it; for the same
//! reason an argument that does not belong is refused without being repeated.

use std::ffi::OsString;

use clap::FromArgMatches;
use postgres_url::{Database, Defaults, Names, SettingNames, TlsMode};

mod cli;
pub(crate) mod docker;
mod error;
mod probe_url;
mod run;
mod setting;
mod table;
mod value;
mod watch;

use cli::{Cli, CommandArgs, CommonArgs};
pub(crate) use error::SettingsError;
use error::without_secret;
pub(crate) use probe_url::{ProbeUrl, ProbeUrlError};
pub(crate) use run::RunSettings;
use setting::Setting;
pub(crate) use table::{TableName, TableNameError};
use value::Environment;
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// For programs, one object a line.
    Json,
}

/// What to do.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Bring the schema to this version.
    Migrate {
        /// Although a publication takes our tables in.
        into_publication: bool,
    },
    /// Run the daemon.
    Run(Box<RunSettings>),
    /// Show the instances.
    Status {
        /// For programs.
        json: bool,
    },
    /// Follow the transitions.
    Watch(Box<WatchSettings>),
    /// Check what the daemon with these settings needs.
    Doctor(Box<RunSettings>),
    /// Remove everything.
    Uninstall(Consent),
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

impl Settings {
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
        let source = DatabaseSource::resolve(&cli.common, environment)?;
        let command = match &cli.command {
            CommandArgs::Migrate(args) => Command::Migrate {
                into_publication: run::into_publication(args, environment)?,
            },
            CommandArgs::Run(args) => {
                Command::Run(Box::new(RunSettings::resolve(args, &source, environment)?))
            }
            CommandArgs::Status { .. } | CommandArgs::Watch(_) | CommandArgs::Uninstall(_)
                if cli.common.table.is_some() =>
            {
                return Err(SettingsError::EveryTable);
            }
            CommandArgs::Status { json } => Command::Status { json: *json },
            CommandArgs::Watch(args) => Command::Watch(Box::new(WatchSettings::resolve(
                args,
                &source,
                environment,
            )?)),
            CommandArgs::Doctor(args) => {
                Command::Doctor(Box::new(RunSettings::resolve(args, &source, environment)?))
            }
            CommandArgs::Uninstall(args) => Command::Uninstall(Consent {
                yes: args.yes,
                force: args.force,
                with_dependents: args.with_dependents,
            }),
        };
        Ok(Self {
            database: source.database(&cli.common, environment)?,
            tables: tables(cli.common.table.as_deref(), environment)?,
            log_format: log_format(cli.common.log_format.as_deref(), environment)?,
            command,
        })
    }
}

/// The separate names and what they lend to a URL.
pub(crate) struct DatabaseSource {
    defaults: Defaults,
}

impl DatabaseSource {
    fn resolve(common: &CommonArgs, environment: Environment<'_>) -> Result<Self, SettingsError> {
        let ssl = value::text(
            setting::DATABASE_SSL,
            common.database_ssl.as_deref(),
            environment,
        )?;
        let mode = ssl.map(|ssl| {
            let accepted = || value::invalid(setting::DATABASE_SSL, &ssl, TlsMode::SETTING);
            TlsMode::from_setting(&ssl).ok_or_else(accepted)
        });
        let ca = value::text(
            setting::DATABASE_CA,
            common.database_ca.as_deref(),
            environment,
        )?;
        let password = value::text(
            setting::DATABASE_PASSWORD,
            common.database_password.as_deref(),
            environment,
        )?;
        Ok(Self {
            defaults: Defaults {
                mode: mode.transpose()?,
                ca: ca.map(Into::into),
                password,
                settings: SettingNames {
                    ca: "--database-ca (DATABASE_SSL_CA)",
                    password: setting::DATABASE_PASSWORD.env,
                },
            },
        })
    }

    fn database(
        &self,
        common: &CommonArgs,
        environment: Environment<'_>,
    ) -> Result<Database, SettingsError> {
        if let Some(url) = value::text(
            setting::DATABASE_URL,
            common.database_url.as_deref(),
            environment,
        )? {
            return self.url(setting::DATABASE_URL, &url);
        }
        let text = |setting, flag: &Option<String>| {
            let value = value::text(setting, flag.as_deref(), environment)?;
            Ok::<_, SettingsError>(value.map(|value| value.trim().to_owned()))
        };
        let user = text(setting::DATABASE_USER, &common.database_user)?
            .ok_or(SettingsError::NoDatabase)?;
        let host = text(setting::DATABASE_HOST, &common.database_host)?.unwrap_or_default();
        let port = text(setting::DATABASE_PORT, &common.database_port)?.unwrap_or_default();
        let port = match port.parse() {
            Ok(0) | Err(_) => {
                return Err(value::invalid(
                    setting::DATABASE_PORT,
                    &port,
                    "give a number from 1 to 65535",
                ));
            }
            Ok(port) => port,
        };
        let name = text(setting::DATABASE_NAME, &common.database_name)?;
        Database::from_names(
            Names {
                host,
                port,
                user,
                name,
            },
            &self.defaults,
        )
        .map_err(|source| SettingsError::Database {
            setting: setting::DATABASE_HOST,
            source,
        })
    }

    fn listen(
        &self,
        flag: Option<&str>,
        environment: Environment<'_>,
    ) -> Result<Option<Database>, SettingsError> {
        let url = value::text(setting::LISTEN_URL, flag, environment)?;
        url.map(|url| self.url(setting::LISTEN_URL, &url))
            .transpose()
    }

    fn url(&self, setting: &'static Setting, url: &str) -> Result<Database, SettingsError> {
        Database::from_url(url, &self.defaults)
            .map_err(|source| SettingsError::Database { setting, source })
    }
}

fn tables(
    flag: Option<&str>,
    environment: Environment<'_>,
) -> Result<Vec<TableName>, SettingsError> {
    let list = value::text(setting::TABLE, flag, environment)?.unwrap_or_default();
    TableName::parse_list(&list).map_err(|source| SettingsError::Table {
        setting: setting::TABLE,
        value: list,
        source,
    })
}

fn log_format(
    flag: Option<&str>,
    environment: Environment<'_>,
) -> Result<LogFormat, SettingsError> {
    let format = value::text(setting::LOG_FORMAT, flag, environment)?.unwrap_or_default();
    match format.trim() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(value::invalid(
            setting::LOG_FORMAT,
            &format,
            "give human or json",
        )),
    }
}

#[cfg(test)]
mod tests;
