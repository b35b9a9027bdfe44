//! What can be wrong with the settings, and how that is said: never with a value that may hold a secret.

use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use postgres_url::DatabaseError;

use super::all;
use super::setting::Setting;
use crate::postgres::table_name::TableNameError;
use crate::probe::url::ProbeUrlError;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// clap's own errors; also help and version, which are none.
    #[error(transparent)]
    CommandLine(clap::Error),
    /// An argument that belongs nowhere; not repeated, it may be a part of a password.
    #[error(
        "an argument is not understood; it is not repeated here because it may hold a secret. Settings are given as \
         --name value or in the environment; --help lists them"
    )]
    UnexpectedArgument,
    /// An environment variable that is not text.
    #[error("setting {setting} is not valid UTF-8")]
    NotUnicode {
        /// The setting that holds it.
        setting: &'static Setting,
    },
    /// A value that is not accepted.
    #[error("setting {setting} does not accept `{value}`: {accepted}")]
    Invalid {
        /// The setting.
        setting: &'static Setting,
        /// As given; no secret.
        value: String,
        /// What would be right.
        accepted: String,
    },
    /// Two values that exclude each other.
    #[error(
        "setting {lower} is {}, which is more than {upper} with {}",
        humantime::format_duration(*low),
        humantime::format_duration(*high)
    )]
    Order {
        /// The setting that must not be larger than the other one.
        lower: &'static Setting,
        /// The value of the lower one.
        low: Duration,
        /// The setting that must not be smaller.
        upper: &'static Setting,
        /// The value of the upper one.
        high: Duration,
    },
    /// A probe URL that is none.
    #[error("setting {setting} does not accept `{value}`")]
    ProbeUrl {
        /// The setting.
        setting: &'static Setting,
        /// As given, credentials and query left out.
        value: String,
        /// What is wrong with the URL.
        source: ProbeUrlError,
    },
    /// A list of tables for a command that would not heed it.
    #[error(
        "flag --table is not for this command, which concerns every table that is watched: leave it out"
    )]
    EveryTable,
    /// A list of tables that is none.
    #[error("setting {setting} does not accept `{value}`")]
    Table {
        /// The setting.
        setting: &'static Setting,
        /// As given.
        value: String,
        /// What is wrong with the list.
        source: TableNameError,
    },
    /// A database URL, or one of the separate names, that cannot be used; the value is not repeated.
    #[error("setting {setting} cannot be used")]
    Database {
        /// The setting.
        setting: &'static Setting,
        /// What is wrong with the value.
        source: DatabaseError,
    },
    /// No database is named.
    #[error(
        "no database is named: set {} to postgres://user:password@host:port/name, or {} and its companions",
        all::DATABASE_URL.setting,
        all::DATABASE_USER.setting
    )]
    NoDatabase,
}

/// clap's error, unless it would repeat an argument that may be a secret: anything but a flag's name or a command that
/// is nearly right.
pub(super) fn without_secret(error: clap::Error) -> SettingsError {
    let repeated = match error.kind() {
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => {
                !argument.starts_with("--") || argument.contains('=')
            }
            Some(_) | None => true,
        },
        // Every value is text to clap, so the only invalid one is a missing one.
        ErrorKind::InvalidValue => {
            !matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.is_empty())
        }
        ErrorKind::InvalidSubcommand => error.get(ContextKind::SuggestedSubcommand).is_none(),
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::DisplayVersion
        | ErrorKind::MissingSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::ArgumentConflict
        | ErrorKind::InvalidUtf8 => false,
        ErrorKind::ValueValidation
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::NoEquals
        | ErrorKind::Io
        | ErrorKind::Format => true,
        // The library may add kinds; not to repeat is safe.
        _ => true,
    };
    if repeated {
        SettingsError::UnexpectedArgument
    } else {
        SettingsError::CommandLine(error)
    }
}
