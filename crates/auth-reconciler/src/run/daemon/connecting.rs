//! What the loop does while there is no ear, and when it has lost one.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{Daemon, RunError};
use crate::postgres::error::StoreError;
use crate::run::lead::LeadError;
use crate::run::{Phase, RECONNECT};
use crate::telemetry::chain;

impl Daemon {
    pub(super) fn on_no_ear(&mut self, failure: LeadError) -> Result<(), RunError> {
        // What passes is waited for from the beginning; a mistake in the settings ends it at once.
        if !self.proven && !failure.may_pass() {
            return Err(RunError::Start(Box::new(failure)));
        }
        if let Some(advice) = failure.end() {
            return Err(RunError::End {
                advice,
                source: Box::new(failure),
            });
        }
        let wait = self.pause();
        let error = chain(&failure);
        self.tries = self.tries.saturating_add(1);
        if self.troubles.failed(&error, Instant::now()) {
            warn!(
                error,
                advice = failure.advice(),
                retry_in = ?wait,
                "no ear: changes are kept in the log until there is one"
            );
        } else {
            debug!(error, retry_in = ?wait, "still no ear");
        }
        self.connect(wait);
        Ok(())
    }

    /// The ear is gone, or no longer ours: make another. What was queued is found again by its resync.
    pub(super) fn reconnect(&mut self, why: &str) {
        // Terms that end before they serve are one trouble, however many of them.
        let served = self.failures == 0;
        let wait = self.pause();
        if self.troubles.failed(why, Instant::now()) || served {
            warn!(why, retry_in = ?wait, "lost the ear, making another");
        } else {
            debug!(why, retry_in = ?wait, "lost the ear as before, making another");
        }
        if let Phase::Leading(leader) = &self.phase
            && leader.inbox.take_resync()
        {
            self.rings.everything();
        }
        self.queue.clear();
        self.left.clear();
        self.stumbles.clear();
        self.troubles.clear();
        self.witnesses.give_up();
        self.unfollow_all();
        // Connections that belong to the same outage would each be found dead one by one.
        self.context.pool.retain(|_, _| false);
        self.connect(wait);
    }

    fn connect(&mut self, wait: Duration) {
        let lead = self.recipe.clone().lead(wait, self.tries);
        self.phase = Phase::Connecting(tokio::spawn(lead));
    }

    /// What was to be found was not: a gap in knowing, so all of it is done again.
    pub(super) fn missed(&mut self, failure: StoreError) -> Result<(), RunError> {
        let failure = RunError::unless_passing(failure)?;
        self.reconnect(&chain(&failure));
        Ok(())
    }

    /// The pause before the next ear: none after a term that served, growing after those that did not.
    fn pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(step) => RECONNECT.delay(step, fastrand::f64()),
        }
    }
}
