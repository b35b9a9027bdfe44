//! What the queue keeps of one key: its place, its deadline, its run, its pace.

use super::{Limits, Moment, Wake};
use crate::Cause;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    First,
    Retry,
}

impl Lane {
    pub(super) const fn of(cause: Cause) -> Self {
        if cause.is_retry() {
            Self::Retry
        } else {
            Self::First
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// In a lane: its place there.
    pub(super) waiting: Option<(Lane, u64)>,
    /// Merged wakes that no run has taken yet.
    pub(super) wake: Option<Wake>,
    /// What asked for a run that came to nothing. It gives its name and its time to the next one, and no place in a lane.
    pub(super) carried: Option<Wake>,
    /// The deadline that is armed, and why.
    pub(super) due: Option<(Moment, Cause)>,
    pub(super) running: Option<Running>,
    /// Foreign writes cause no look until then.
    pub(super) drift_held: Option<Moment>,
    pub(super) pace: Pace,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// Why it runs.
    pub(super) wake: Wake,
    pub(super) lane: Lane,
    /// It came from the log, see [`Queue::begin`](super::Queue::begin).
    pub(super) from_log: bool,
    pub(super) since: Moment,
    pub(super) asked_to_give_way: bool,
}

/// A token bucket that holds its debt as a moment: looks are allowed while the moment at which the
/// bucket would be full lies less than a burst ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) full_at: Moment,
}

impl Pace {
    pub(super) fn allowed_at(self, limits: &Limits) -> Moment {
        (self.full_at + limits.interval).saturating_sub(limits.interval * limits.burst)
    }

    pub(super) fn spend(&mut self, now: Moment, limits: &Limits) {
        self.full_at = self.full_at.max(now) + limits.interval;
    }
}

impl Entry {
    /// Keeps a wake for the next run, merged with those that no run has taken.
    pub(super) fn keep(&mut self, wake: Wake) {
        self.wake = Some(self.wake.map_or(wake, |kept| kept.merge(wake)));
    }

    /// Why a run begins now, if there is a reason.
    pub(super) fn take_wake(&mut self) -> Option<Wake> {
        let wake = self.wake.take()?;
        Some(
            self.carried
                .take()
                .map_or(wake, |carried| carried.merge(wake)),
        )
    }

    /// Whether foreign writes cause no look now.
    pub(super) fn holds_drift(&self, now: Moment) -> bool {
        self.drift_held.is_some_and(|until| until > now)
    }

    pub(super) fn is_idle(&self, now: Moment) -> bool {
        self.running.is_none()
            && self.wake.is_none()
            && self.due.is_none()
            && self.pace.full_at <= now
    }
}
