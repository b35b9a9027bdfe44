//! The one clock of the process, in the core's moments.

use std::time::Instant;

use auth_reconciler_core::queue::Moment;

/// Counts from the moment at which it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock whose first moment is now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment that is now.
    pub(crate) fn now(self) -> Moment {
        self.0.elapsed()
    }

    /// When that moment is.
    pub(crate) fn at(self, moment: Moment) -> Instant {
        self.0 + moment
    }
}
