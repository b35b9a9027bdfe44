//! The commands beside the daemon.

use std::fmt::Display;
use std::io::{self, Write};

use thiserror::Error;

pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod watch;

/// Standard output cannot be written: its reader has gone, or a disk is full.
#[derive(Debug, Error)]
#[error("could not write to standard output")]
pub(crate) struct Unwritten(#[from] io::Error);

impl Unwritten {
    /// Whether it is because nobody reads any more.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a line.
///
/// # Errors
/// Not all of it was taken. Whoever asked has no answer then, which no exit code may hide.
pub(crate) fn say(line: impl Display) -> Result<(), Unwritten> {
    writeln!(io::stdout(), "{line}").map_err(Unwritten)
}

/// The same for what went wrong, on standard error. Where that cannot be written, nothing else can tell of it either.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
