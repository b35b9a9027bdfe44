//! Looks settings up: the flag, else the environment variable, else the default; an empty one counts as not given.

use std::ffi::OsString;

use clap::ArgMatches;

use super::SettingsError;
use super::setting::{Of, Setting};

/// Where values come from when there is no flag; a function, so that tests need no process environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What this start of the program was given.
pub(super) struct Given<'a> {
    /// The flags of the command, those that every command takes among them.
    pub(super) flags: &'a ArgMatches,
    pub(super) environment: Environment<'a>,
}

impl Given<'_> {
    /// The value of a setting that has a default.
    pub(super) fn get<T>(&self, of: &'static Of<T>) -> Result<T, SettingsError> {
        (of.parse)(of, &self.text(of)?.unwrap_or_default())
    }

    /// The value of a setting that may be left out.
    pub(super) fn maybe<T>(&self, of: &'static Of<T>) -> Result<Option<T>, SettingsError> {
        let text = self.text(of)?;
        text.map(|text| (of.parse)(of, &text)).transpose()
    }

    /// Whether it was given at all, rather than left to its default.
    pub(super) fn is_given(&self, setting: &Setting) -> bool {
        let by_environment = [setting.env, setting.other]
            .into_iter()
            .filter_map(|name| (self.environment)(name))
            .any(|value| !value.is_empty());
        by_environment || self.by_flag(setting)
    }

    /// Whether its flag stands on the command line, whatever its value.
    pub(super) fn by_flag(&self, setting: &Setting) -> bool {
        let flag = self.flags.try_get_one::<String>(setting.flag);
        matches!(flag, Ok(Some(_)))
    }

    /// A variable that is not ours, if it is set and text.
    pub(super) fn foreign(&self, name: &str) -> Option<String> {
        let value = (self.environment)(name)?.into_string().ok()?;
        Some(value).filter(|value| !value.trim().is_empty())
    }

    fn text(&self, setting: &'static Setting) -> Result<Option<String>, SettingsError> {
        // A flag without a value, such as --migrate.
        if let Ok(Some(true)) = self.flags.try_get_one::<bool>(setting.flag) {
            return Ok(Some(true.to_string()));
        }
        if let Ok(Some(value)) = self.flags.try_get_one::<String>(setting.flag)
            && !value.is_empty()
        {
            return Ok(Some(value.clone()));
        }
        let names = [setting.env, setting.other].into_iter();
        let mut values = names.filter_map(|name| (self.environment)(name));
        match values.find(|value| !value.is_empty()) {
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| SettingsError::NotUnicode { setting }),
            None => Ok((!setting.default.is_empty()).then(|| setting.default.to_owned())),
        }
    }
}
