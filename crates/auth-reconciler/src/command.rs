//! The commands beside the daemon.

use std::fmt::Display;
use std::io::{self, Write};

pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod watch;

/// Prints a line. That nobody reads it any more (`status | head`) is no error of ours, and no panic.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same for what went wrong, on standard error.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
