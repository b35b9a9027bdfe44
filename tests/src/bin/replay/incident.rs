//! The recorded incident: what happened when, and what it cost the manager.
//!
//! Every number here is quoted from the logs of both sides of the incident of 24 July 2025; T+0 is the start of the
//! instance's container. Nothing here is measured by this program.

use std::time::Duration;

/// The manager inserts the row and starts the container.
pub(crate) const CREATED: Duration = Duration::from_secs(0);
/// The container has saved the API key.
pub(crate) const KEY_SAVED: Duration = Duration::from_secs(5);
/// The container's API listens and the bot is ready.
pub(crate) const READY: Duration = Duration::from_secs(6);
/// The container has saved the account.
pub(crate) const ACCOUNT_SAVED: Duration = Duration::from_secs(8);
/// The manager writes `pending`, from a copy of the row that it read before the container started.
pub(crate) const STALE_WRITE: Duration = Duration::from_secs(10);
/// Where this replay ends: when the manager with its fix would have shown `client_ready`.
pub(crate) const END: Duration = SHOWN_WITH_FIX;

/// When the manager showed `client_ready`, before its fix.
pub(crate) const SHOWN_BEFORE_FIX: Duration = Duration::from_secs(47);
/// How long the stale `pending` stood, before its fix.
pub(crate) const STALE_BEFORE_FIX: Duration = Duration::from_secs(37);
/// How often the manager said that there was no API key when there was one, before its fix.
pub(crate) const NO_KEY_BEFORE_FIX: usize = 1;
/// When the manager with its fix (sleep 5 s, read the row again) shows `client_ready`, on a good day.
pub(crate) const SHOWN_WITH_FIX: Duration = Duration::from_secs(12);
