//! The engine's part in a term: whether it is seen, what the database knows of that, and what its news lead to.

use std::time::Duration;

use uuid::Uuid;

use super::phase::Phase;
use super::{Controller, EngineNews, EngineStatus, Failure, Stop, Work};
use crate::Cause;
use crate::container::Listed;
use crate::instance::Key;
use crate::queue::Moment;

/// How long the first looks of a term wait for the engine's first answer: without it they would say of a
/// container that its state is unknown, and once more what it is a moment later.
pub const FIRST_SIGHT: Duration = Duration::from_millis(500);

/// What a term knows of the engine.
#[derive(Debug)]
pub(super) struct Engine {
    /// `None` until it is known, and where none is asked.
    status: Option<EngineStatus>,
    /// That is not in the database yet.
    unnoted: bool,
    /// It is on its way there; of two at once the older might come last.
    noting: bool,
    /// What could not be noted is noted with the next echo: what fails now would fail again at once.
    with_echo: bool,
    /// Until then the first looks wait.
    hold_until: Option<Moment>,
    /// The last list, if it is still to be compared with what was recorded.
    list: Option<Vec<(Uuid, Listed)>>,
    /// One is being compared.
    comparing: bool,
}

impl Engine {
    pub(super) fn begin(asked: bool, now: Moment) -> Self {
        Self {
            status: None,
            // That none is asked is known at once.
            unnoted: !asked,
            noting: false,
            with_echo: false,
            hold_until: asked.then(|| now + FIRST_SIGHT),
            list: None,
            comparing: false,
        }
    }

    /// It came into sight, or went out of it.
    fn saw(&mut self, status: EngineStatus) {
        self.hold_until = None;
        let status = Some(status);
        // Not with each try to find it again.
        self.unnoted |= self.status != status;
        self.status = status;
    }

    /// What the database is to be told; it is on its way then.
    pub(super) fn begin_note(&mut self) -> Option<Work> {
        if self.noting || !std::mem::take(&mut self.unnoted) {
            return None;
        }
        self.noting = true;
        Some(Work::NoteEngine(self.status.clone()))
    }

    /// The list that is to be compared, if none is; it is then.
    pub(super) fn begin_compare(&mut self) -> Option<Work> {
        if self.comparing {
            return None;
        }
        let list = self.list.take()?;
        self.comparing = true;
        Some(Work::Compare(list))
    }

    /// It was told, or could not be.
    pub(super) fn noted(&mut self, done: bool) {
        self.noting = false;
        self.with_echo |= !done;
    }

    /// An echo was heard.
    pub(super) fn may_note_again(&mut self) {
        self.unnoted |= std::mem::take(&mut self.with_echo);
    }

    /// Until when no look is to begin, if that is not now.
    pub(super) fn held_until(&self, now: Moment) -> Option<Moment> {
        self.hold_until.filter(|until| *until > now)
    }
}

impl Controller {
    pub(super) fn engine_news(&mut self, news: EngineNews, now: Moment) {
        let Phase::Leading(term) = &mut self.phase else {
            return;
        };
        if let Some(status) = news.status {
            if status == EngineStatus::InSight {
                self.followers.back(now);
            } else {
                self.followers.lost();
            }
            term.engine.saw(status);
        }
        if let Some(list) = news.list {
            term.engine.list = Some(list);
            // What runs may have begun without the engine, and may not be recorded when that is compared.
            let running: Vec<Key> = self.running.keys().copied().collect();
            for key in running {
                self.wake(key, Cause::Compared, now);
            }
        }
        for (instance, cause) in news.instances {
            self.wake_instance(instance, cause, now);
        }
        self.hear(news.sounds);
        for ended in news.ended {
            self.follower_ended(ended, now);
        }
    }

    /// In whatever watched table its row is: the container does not say.
    fn wake_instance(&mut self, instance_id: Uuid, cause: Cause, now: Moment) {
        let tables: Vec<i32> = self.tables().into_iter().flatten().copied().collect();
        for watched_id in tables {
            let key = Key {
                watched_id,
                instance_id,
            };
            if cause.changes_container() {
                // Its answer would be dropped, so it is not waited for: one that hangs would keep the status as it is.
                self.ask_to_end(key, Stop::Overtaken);
            }
            self.queue.wake(key, cause, now);
        }
    }

    pub(super) fn compared(&mut self, result: Result<Vec<Key>, Failure>, now: Moment) {
        if let Phase::Leading(term) = &mut self.phase {
            term.engine.comparing = false;
        }
        match result {
            Ok(keys) => {
                for key in keys {
                    self.wake(key, Cause::Compared, now);
                }
            }
            Err(failure) => self.missed(failure, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out_of_sight() -> EngineStatus {
        EngineStatus::OutOfSight("it is restarted".to_owned())
    }

    /// What the database is told now, if anything.
    fn told(engine: &mut Engine) -> Option<Option<EngineStatus>> {
        let Work::NoteEngine(status) = engine.begin_note()? else {
            panic!("it tells nothing but that");
        };
        Some(status)
    }

    #[test]
    fn the_database_is_told_of_what_is_new_and_not_of_each_try() {
        let mut engine = Engine::begin(true, Moment::ZERO);
        assert_eq!(told(&mut engine), None, "it is not known yet");
        for status in [EngineStatus::InSight, out_of_sight()] {
            engine.saw(status.clone());
            assert_eq!(told(&mut engine), Some(Some(status.clone())));
            engine.noted(true);
            engine.saw(status);
            assert_eq!(told(&mut engine), None, "that is known");
        }
        let mut none = Engine::begin(false, Moment::ZERO);
        assert_eq!(told(&mut none), Some(None), "that none is asked");
    }

    #[test]
    fn what_could_not_be_noted_is_noted_after_the_next_echo() {
        let mut engine = Engine::begin(true, Moment::ZERO);
        engine.saw(EngineStatus::InSight);
        assert!(told(&mut engine).is_some());
        engine.noted(false);
        assert_eq!(told(&mut engine), None, "it would fail again at once");
        engine.may_note_again();
        assert!(told(&mut engine).is_some());
        engine.noted(true);
        engine.may_note_again();
        assert_eq!(told(&mut engine), None, "it was told");
        engine.saw(out_of_sight());
        engine.may_note_again();
        assert!(told(&mut engine).is_some(), "an echo takes nothing back");
    }
}
