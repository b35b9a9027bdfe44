//! What a setting is: one row of the table in [`super::all`], with the type that its value is read as.
//!
//! Help, look-up, error messages and the table in `deploy/README.md` are all made from the row, so they cannot disagree.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::SettingsError;

/// One setting: its two names, what it takes, and what is told of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The long flag, without its dashes.
    pub(crate) flag: &'static str,
    /// The environment variable.
    pub(crate) env: &'static str,
    /// Another name of that variable, which counts where the first is not given; empty if there is none.
    pub(crate) other: &'static str,
    /// What holds when neither is given, as a person would write it; empty if nothing does.
    pub(crate) default: &'static str,
    /// What a value stands for in the help, such as `COUNT`; empty for a flag that takes none.
    pub(crate) shown: &'static str,
    /// The values that are accepted.
    pub(crate) range: Range,
    /// The heading that it stands under in the help.
    pub(crate) heading: &'static str,
    /// The commands that take it; none named stands for every command.
    pub(crate) commands: &'static [&'static str],
    /// What it does.
    pub(crate) help: &'static str,
}

/// The values that are accepted, both ends among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// No numbers, or all of them.
    Any,
    /// Whole numbers.
    Counts(u32, u32),
    /// Durations.
    Durations(Duration, Duration),
    /// Durations, or `off`.
    DurationsOrOff(Duration, Duration),
}

/// A setting whose value is a `T`.
pub(crate) struct Of<T: 'static> {
    /// The row of the table.
    pub(super) setting: Setting,
    /// Reads a value that is not empty.
    pub(super) parse: Parse<T>,
}

/// Reads the text of a setting.
pub(crate) type Parse<T> = fn(&'static Setting, &str) -> Result<T, SettingsError>;

impl<T> Deref for Of<T> {
    type Target = Setting;

    fn deref(&self) -> &Setting {
        &self.setting
    }
}

/// As errors name it: by both of its names.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} ({})", self.flag, self.env)
    }
}

/// As a person would say it; nothing where there are no bounds.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = humantime::format_duration;
        match *self {
            Self::Any => Ok(()),
            Self::Counts(low, high) => write!(f, "{low} to {high}"),
            Self::Durations(low, high) => write!(f, "{} to {}", told(low), told(high)),
            Self::DurationsOrOff(low, high) => {
                write!(f, "{} to {}, or off", told(low), told(high))
            }
        }
    }
}
