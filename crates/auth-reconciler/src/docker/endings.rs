//! How containers ended, as the engine told when they did.
//!
//! An inspection shows it as well, but not of a container that is removed at its end: then the event that told
//! of the end is all that is left of it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use auth_reconciler_core::container::Ending;

/// Of so many containers it is kept.
const KEPT: usize = 1024;

/// Filled by the events, asked by the looks.
#[derive(Default)]
pub(super) struct Endings(Mutex<VecDeque<(String, Heard)>>);

/// What was heard of the end of one container.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    /// `None` before it has ended.
    pub(super) exit_code: Option<i64>,
    /// The kernel killed a process of it for its memory.
    pub(super) out_of_memory: bool,
}

impl Endings {
    /// How the container with this id ended, if that was heard.
    pub(super) fn of(&self, container: &str) -> Option<Ending> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, heard) = kept.iter().find(|(id, _)| id == container)?;
        Some(Ending {
            exit_code: heard.exit_code?,
            out_of_memory: heard.out_of_memory,
        })
    }

    /// More was heard of the end of a container.
    pub(super) fn change(&self, container: &str, act: impl FnOnce(&mut Heard)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(id, _)| id == container);
        let (id, mut heard) = place
            .and_then(|place| kept.remove(place))
            .unwrap_or_else(|| (container.to_owned(), Heard::default()));
        act(&mut heard);
        kept.push_back((id, heard));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    /// It was started again.
    pub(super) fn forget(&self, container: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(id, _)| id != container);
    }

    /// Whatever happened meanwhile was not heard.
    pub(super) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_kept_until_the_next_start_and_for_so_many_containers() {
        let endings = Endings::default();
        endings.change("a", |heard| heard.out_of_memory = true);
        assert_eq!(endings.of("a"), None, "it has not ended");
        endings.change("a", |heard| heard.exit_code = Some(137));
        let ending = Ending {
            exit_code: 137,
            out_of_memory: true,
        };
        assert_eq!(endings.of("a"), Some(ending));
        assert_eq!(endings.of("b"), None);
        endings.forget("a");
        assert_eq!(endings.of("a"), None);
        for number in 0..=KEPT {
            endings.change(&number.to_string(), |heard| heard.exit_code = Some(0));
        }
        assert_eq!(endings.of("0"), None, "the oldest gave way");
        assert!(endings.of("1").is_some());
    }
}
