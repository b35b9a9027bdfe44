//! How many looks the output of one container may lead to, and when the next.

use std::time::Duration;

use crate::queue::Moment;

/// Tokens at a new life, or when an answer has changed.
pub(super) const FRESH: u32 = 12;

/// The most that there can be once [`FRESH_FOR`] is over.
pub(super) const LASTING: u32 = 4;

/// The most that there can be of one that is ready. It begins with none.
const READY: u32 = 1;

/// The time after which there is one more of one that is ready: each READY of a real one costs a request to
/// its provider.
const READY_REFILL: Duration = Duration::from_secs(60);

/// How long what was granted lasts. No grant for an answer that was met before comes sooner after the
/// last, or an API whose answers alternate would never run out.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// One container's tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    have: u32,
    /// Up to when what comes with time is counted in `have`.
    counted_at: Moment,
    granted_at: Moment,
    refill: Duration,
    /// The most that there can be once what was granted is over.
    most: u32,
}

impl Tokens {
    /// A new life.
    pub(super) const fn fresh(now: Moment, refill: Duration) -> Self {
        Self {
            have: FRESH,
            counted_at: now,
            granted_at: now,
            refill,
            most: LASTING,
        }
    }

    /// One that is ready.
    pub(super) const fn ready(now: Moment) -> Self {
        Self {
            have: 0,
            counted_at: now,
            granted_at: now,
            refill: READY_REFILL,
            most: READY,
        }
    }

    /// The answer has changed, to one that this life has given before or not.
    pub(super) fn changed_answer(&mut self, now: Moment, met_before: bool) {
        if !met_before || now >= self.granted_at + FRESH_FOR {
            *self = Self::fresh(now, self.refill);
        }
    }

    /// When there is one beside those to be kept.
    pub(super) fn next(&self, now: Moment, keep: u32) -> Moment {
        match (keep + 1).saturating_sub(self.have) {
            0 => now,
            missing => self.counted_at + self.refill * missing,
        }
    }

    /// Takes one, if there is one beside those to be kept.
    pub(super) fn take(&mut self, now: Moment, keep: u32) -> bool {
        if now >= self.granted_at + FRESH_FOR {
            self.have = self.have.min(self.most);
        }
        while self.counted_at + self.refill <= now {
            if self.have >= self.most {
                // A full bucket does not save time up.
                self.counted_at = now;
                break;
            }
            self.have += 1;
            self.counted_at += self.refill;
        }
        if self.have <= keep {
            return false;
        }
        self.have -= 1;
        true
    }
}
