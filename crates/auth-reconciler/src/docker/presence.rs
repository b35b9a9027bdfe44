//! Whether the engine is in sight, also when a look finds that it may be no longer.
//!
//! When the question of a look finds no engine, the engine counts as out of sight at once, so that the next look does
//! not wait for a hanging engine, too. That concerns only the time in which the question was asked: one that was asked
//! before the engine was found again says nothing of now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::EngineError;

/// Shared by the task that follows the engine and the looks.
#[derive(Default)]
pub(super) struct Presence {
    /// Number of the stretch in sight; 0 while it is out of sight.
    current: AtomicU64,
    last: AtomicU64,
    failure: Mutex<Option<EngineError>>,
    doubted: Notify,
}

/// One stretch in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch(u64);

impl Presence {
    /// The stretch in sight, if it is one.
    pub(super) fn now(&self) -> Option<Stretch> {
        match self.current.load(Ordering::Acquire) {
            0 => None,
            number => Some(Stretch(number)),
        }
    }

    /// It came into sight.
    pub(super) fn begin(&self) {
        self.take_failure();
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(number, Ordering::Release);
    }

    /// It is out of sight.
    pub(super) fn end(&self) {
        self.current.store(0, Ordering::Release);
    }

    /// A look that began in this stretch found no engine.
    pub(super) fn doubt(&self, stretch: Stretch, failure: EngineError) {
        let doubted =
            self.current
                .compare_exchange(stretch.0, 0, Ordering::AcqRel, Ordering::Acquire);
        if doubted.is_ok() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            self.doubted.notify_one();
        }
    }

    /// Resolves when a look of the present stretch found no engine.
    pub(super) async fn doubted(&self) -> EngineError {
        loop {
            if let Some(failure) = self.take_failure() {
                return failure;
            }
            self.doubted.notified().await;
        }
    }

    fn take_failure(&self) -> Option<EngineError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_doubt_ends_the_stretch_that_it_is_about_and_no_later_one() {
        let presence = Presence::default();
        assert_eq!(presence.now(), None);
        presence.begin();
        let first = presence.now().expect("in sight");
        presence.doubt(first, EngineError::TimedOut(Duration::ZERO));
        assert_eq!(presence.now(), None, "at once");
        assert!(matches!(presence.doubted().await, EngineError::TimedOut(_)));

        presence.begin();
        presence.doubt(first, EngineError::Answer);
        assert_ne!(presence.now(), None, "it was about the one before");
        let nothing = tokio::time::timeout(Duration::from_millis(1), presence.doubted()).await;
        assert!(nothing.is_err());
        presence.end();
        assert_eq!(presence.now(), None);
    }
}
