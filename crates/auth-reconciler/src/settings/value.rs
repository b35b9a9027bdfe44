//! Looks values up and reads them: durations with a unit, counts, yes and no; each within its range.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::SettingsError;
use super::setting::Setting;

/// Where values come from when there is no flag; a function, so that tests need no process environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The flag's value, else the environment's, else the default; empty ones count as not given.
pub(crate) fn text(
    setting: &'static Setting,
    flag: Option<&str>,
    environment: Environment<'_>,
) -> Result<Option<String>, SettingsError> {
    if let Some(value) = flag.filter(|value| !value.is_empty()) {
        return Ok(Some(value.to_owned()));
    }
    match environment(setting.env) {
        Some(value) if !value.is_empty() => value
            .into_string()
            .map(Some)
            .map_err(|_| SettingsError::NotUnicode { setting }),
        Some(_) | None => Ok(setting.default.map(str::to_owned)),
    }
}

/// A duration within the range, the way `5s` or `1h 30m` is written.
pub(crate) fn duration(
    setting: &'static Setting,
    value: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, SettingsError> {
    duration_or(setting, value, &range, "")
}

/// As [`duration`], or nothing for `off`.
pub(crate) fn duration_or_off(
    setting: &'static Setting,
    value: &str,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, SettingsError> {
    if switch(value) == Some(false) {
        return Ok(None);
    }
    duration_or(setting, value, &range, ", or off").map(Some)
}

fn duration_or(
    setting: &'static Setting,
    value: &str,
    range: &RangeInclusive<Duration>,
    or: &str,
) -> Result<Duration, SettingsError> {
    let value = value.trim();
    let accepted = || {
        format!(
            "a duration from {} to {} with its unit (ms, s, m, h, d){or}",
            humantime::format_duration(*range.start()),
            humantime::format_duration(*range.end())
        )
    };
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(
            setting,
            value,
            format!("give {}, for example 5s", accepted()),
        ));
    }
    match humantime::parse_duration(value) {
        Ok(duration) if range.contains(&duration) => Ok(duration),
        Ok(_) | Err(_) => Err(invalid(setting, value, format!("give {}", accepted()))),
    }
}

/// A whole number within the range.
pub(crate) fn count(
    setting: &'static Setting,
    value: &str,
    range: RangeInclusive<u32>,
) -> Result<u32, SettingsError> {
    match value.trim().parse() {
        Ok(count) if range.contains(&count) => Ok(count),
        Ok(_) | Err(_) => Err(invalid(
            setting,
            value,
            format!(
                "give a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        )),
    }
}

/// Yes or no, in the spellings that environment files use; nothing for anything else.
pub(crate) fn switch(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The error for a value that is not accepted; never for a setting that may hold a secret.
pub(crate) fn invalid(
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
