//! Reads values: durations with a unit, counts, yes and no, and texts that mean something; each within its range.

use std::path::PathBuf;
use std::time::Duration;

use postgres_url::TlsMode;
use uuid::Uuid;

use super::SettingsError;
use super::setting::{Range, Setting};
use super::watch::Color;
use crate::postgres::table_name::{LONGEST_NAME, TableName};
use crate::probe::url::{ProbeUrl, shown};
use crate::telemetry::LogFormat;

/// The error for a value that is not accepted; never for a setting that may hold a secret.
pub(super) fn invalid(
    setting: &'static Setting,
    value: &str,
    accepted: impl Into<String>,
) -> SettingsError {
    SettingsError::Invalid {
        setting,
        value: value.trim().to_owned(),
        accepted: accepted.into(),
    }
}

/// Anything, as it is.
pub(super) fn text(_: &'static Setting, value: &str) -> Result<String, SettingsError> {
    Ok(value.to_owned())
}

/// A name, without the blanks around it.
pub(super) fn name(_: &'static Setting, value: &str) -> Result<String, SettingsError> {
    Ok(value.trim().to_owned())
}

/// A file or folder.
pub(super) fn path(_: &'static Setting, value: &str) -> Result<PathBuf, SettingsError> {
    Ok(value.into())
}

/// A TCP port.
pub(super) fn port(setting: &'static Setting, value: &str) -> Result<u16, SettingsError> {
    match value.trim().parse() {
        Ok(0) | Err(_) => Err(invalid(setting, value, "give a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

/// A whole number within the range.
pub(super) fn count(setting: &'static Setting, value: &str) -> Result<u32, SettingsError> {
    let (low, high) = match setting.range {
        Range::Counts(low, high) => (low, high),
        Range::Any | Range::Durations(..) | Range::DurationsOrOff(..) => (0, u32::MAX),
    };
    match value.trim().parse() {
        Ok(count) if (low..=high).contains(&count) => Ok(count),
        Ok(_) | Err(_) => {
            let accepted = format!("give a whole number from {low} to {high}");
            Err(invalid(setting, value, accepted))
        }
    }
}

/// A duration within the range, the way `5s` or `1h 30m` is written.
pub(super) fn duration(setting: &'static Setting, value: &str) -> Result<Duration, SettingsError> {
    let (low, high, or) = match setting.range {
        Range::Durations(low, high) => (low, high, ""),
        Range::DurationsOrOff(low, high) => (low, high, ", or off"),
        Range::Any | Range::Counts(..) => (Duration::ZERO, Duration::MAX, ""),
    };
    match humantime::parse_duration(value.trim()) {
        Ok(duration) if (low..=high).contains(&duration) => return Ok(duration),
        Ok(_) | Err(_) => {}
    }
    let unitless = value.trim().bytes().all(|byte| byte.is_ascii_digit());
    let example = if unitless { ", for example 5s" } else { "" };
    let accepted = format!(
        "give a duration from {} to {} with its unit (ms, s, m, h, d){or}{example}",
        humantime::format_duration(low),
        humantime::format_duration(high)
    );
    Err(invalid(setting, value, accepted))
}

/// As [`duration`], or nothing for `off`.
pub(super) fn duration_or_off(
    setting: &'static Setting,
    value: &str,
) -> Result<Option<Duration>, SettingsError> {
    if yes_or_no(value) == Some(false) {
        return Ok(None);
    }
    duration(setting, value).map(Some)
}

/// Yes or no.
pub(super) fn switch(setting: &'static Setting, value: &str) -> Result<bool, SettingsError> {
    yes_or_no(value).ok_or_else(|| invalid(setting, value, "give true or false"))
}

/// In the spellings that environment files use.
fn yes_or_no(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn tls_mode(setting: &'static Setting, value: &str) -> Result<TlsMode, SettingsError> {
    TlsMode::from_setting(value).ok_or_else(|| invalid(setting, value, TlsMode::SETTING))
}

/// A list of tables; those that are named without a schema are in this one.
pub(super) fn tables(
    setting: &'static Setting,
    value: &str,
    schema: &str,
) -> Result<Vec<TableName>, SettingsError> {
    TableName::parse_list(value, schema).map_err(|source| SettingsError::Table {
        setting,
        value: value.to_owned(),
        source,
    })
}

/// A schema's name as the catalog spells it.
pub(super) fn schema(setting: &'static Setting, value: &str) -> Result<String, SettingsError> {
    let name = value.trim();
    if name.len() > LONGEST_NAME {
        return Err(invalid(setting, value, "give a name of at most 63 bytes"));
    }
    Ok(name.to_owned())
}

pub(super) fn log_format(
    setting: &'static Setting,
    value: &str,
) -> Result<LogFormat, SettingsError> {
    match value.trim() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(invalid(setting, value, "give human or json")),
    }
}

pub(super) fn probe_url(setting: &'static Setting, value: &str) -> Result<ProbeUrl, SettingsError> {
    ProbeUrl::parse(value).map_err(|source| SettingsError::ProbeUrl {
        setting,
        value: shown(value),
        source,
    })
}

/// The key of a container's label.
pub(super) fn label(setting: &'static Setting, value: &str) -> Result<String, SettingsError> {
    let key = value.trim();
    if key.is_empty() || key.contains(['=', ',']) || key.chars().any(char::is_whitespace) {
        let accepted = "give the key of a label, without its value";
        return Err(invalid(setting, key, accepted));
    }
    Ok(key.to_owned())
}

/// The id of an instance; nothing for blanks.
pub(super) fn instance(
    setting: &'static Setting,
    value: &str,
) -> Result<Option<Uuid>, SettingsError> {
    let id = value.trim();
    if id.is_empty() {
        return Ok(None);
    }
    let accepted = "give the id of an instance, a UUID as auth_reconciler.status shows it";
    Uuid::parse_str(id)
        .map(Some)
        .map_err(|_| invalid(setting, id, accepted))
}

pub(super) fn color(setting: &'static Setting, value: &str) -> Result<Color, SettingsError> {
    match value.trim() {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err(invalid(setting, value, "give auto, always or never")),
    }
}
