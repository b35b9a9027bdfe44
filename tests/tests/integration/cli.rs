//! The commands around the daemon, as a person or a script meets them: what they print, and how they exit.

mod doctor;
mod dry_run;
mod exit;
mod link;
mod logs;
mod publications;
mod rights;
mod rows_hidden;
mod schema;
mod settings;
mod status;
mod time_limits;
mod unavailable;
mod uninstall;
mod watch;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Output;

/// Fails unless the command exited with `code` and all of `parts` are in what it printed.
#[track_caller]
pub(crate) fn expect(output: &Output, code: i32, parts: &[&str]) -> Result<()> {
    let caller = std::panic::Location::caller();
    let shown = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        output.code == Some(code),
        "{caller}: exit {:?}, not {code}:\n{shown}",
        output.code
    );
    for part in parts {
        ensure!(shown.contains(part), "{caller}: no {part:?} in\n{shown}");
    }
    Ok(())
}
