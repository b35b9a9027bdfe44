//! What the command `health` was told.

use std::time::Duration;

use super::given::Given;
use super::{SettingsError, all};
use crate::postgres::ear::LOCK_WAIT;
use crate::postgres::pool::LIMIT;

/// Whose health is asked about, and when it is doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HealthSettings {
    /// Only the daemon with this process number.
    pub(crate) process: Option<u32>,
    /// How long one that leads may begin no statement.
    pub(crate) leading: Duration,
    /// How long one that stands by may.
    pub(crate) standing_by: Duration,
}

impl HealthSettings {
    pub(super) fn resolve(process: Option<u32>, given: &Given<'_>) -> Result<Self, SettingsError> {
        let echo_interval = given.get(&all::ECHO_INTERVAL)?;
        let echo_timeout = given.get(&all::ECHO_TIMEOUT)?;
        Ok(Self {
            process,
            // Who leads sends an echo each interval. Who stands by asks for the lock again after each wait, and in
            // between for what the leader does. Either may be late once.
            leading: 2 * echo_interval + echo_timeout,
            standing_by: 2 * (LOCK_WAIT + LIMIT),
        })
    }
}
