//! How long a test waits for a signal, and what it says when the signal does not come.
//!
//! The limit is generous because it is only ever reached by a failure: a slow machine must not look like a bug. The
//! message names the line that waited, because "timed out" in a test of two hundred lines helps nobody.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// The limit of every wait that is given no other.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where a wait was asked for.
pub type Caller = &'static Location<'static>;

/// Awaits `signal` for at most `limit`; a time-out says `what` was waited for, and where.
///
/// # Errors
/// When the limit passes before the signal comes.
pub async fn within<T>(
    limit: Duration,
    caller: Caller,
    what: &str,
    signal: impl Future<Output = T>,
) -> Result<T> {
    tokio::time::timeout(limit, signal)
        .await
        .map_err(|_| anyhow!("{caller}: waited {limit:?} in vain for {what}"))
}
