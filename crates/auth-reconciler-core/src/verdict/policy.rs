//! The settings of the decision.

use std::time::Duration;

use super::past::elapsed;
use crate::backoff::Backoff;
use crate::facts::Facts;

/// The settings that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Steps between looks at an instance that is not final.
    pub backoff: Backoff,
    /// How long an instance may wait or start without being in trouble.
    pub grace: Duration,
    /// How long an API may answer "not connected" before it is failed: it will not recover alone.
    pub not_connected_limit: Duration,
    /// The same where a phone must synchronise before it is connected.
    pub phone_limit: Duration,
    /// Misses in a row before an API that was ready is failed …
    pub misses: u32,
    /// … and the time over which they must have happened.
    pub miss_window: Duration,
    /// Corrections of foreign writes a minute.
    pub corrections: u32,
    /// How long a doubt lasts before silence is believed without a witness; `None` is for ever.
    pub believe_silence_after: Option<Duration>,
}

impl Policy {
    /// Whether the doubt has lasted so long that silence is believed without a witness.
    pub(super) fn believes_silence(&self, facts: &Facts) -> bool {
        let limit = self.believe_silence_after;
        match (limit, facts.way.doubt_since) {
            (Some(limit), Some(since)) => elapsed(since, facts.now) >= limit,
            (Some(_) | None, _) => false,
        }
    }

    /// Whether it is doubted that our own way to the APIs works.
    pub(super) fn in_doubt(&self, facts: &Facts) -> bool {
        facts.way.doubt_since.is_some() && !self.believes_silence(facts)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff {
                min: Duration::from_millis(50),
                max: Duration::from_secs(60),
            },
            grace: Duration::from_secs(30),
            not_connected_limit: Duration::from_secs(30),
            phone_limit: Duration::from_secs(600),
            misses: 3,
            miss_window: Duration::from_secs(10),
            corrections: 10,
            believe_silence_after: None,
        }
    }
}
