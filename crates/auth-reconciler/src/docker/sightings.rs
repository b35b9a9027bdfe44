//! What the engine showed and the loop has not fetched yet.
//!
//! Bounded by the containers that there are.

use auth_reconciler_core::container::Listed;
use auth_reconciler_core::controller::{EngineNews, EngineStatus, FollowerEnded, Sounds};
use auth_reconciler_core::follow::Sound;
use auth_reconciler_core::{Cause, Key};
use uuid::Uuid;

use crate::clock::Clock;
use crate::mailbox::Mailbox;

/// Shared by the tasks that follow the engine, which fill it, and the loop, which empties it.
#[derive(Debug)]
pub(crate) struct Sightings {
    clock: Clock,
    seen: Mailbox<EngineNews>,
}

impl Sightings {
    /// Nothing was seen yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            seen: Mailbox::default(),
        }
    }

    pub(super) fn happened(&self, instance: Uuid, cause: Cause) {
        self.seen.put(|seen| {
            seen.instances
                .entry(instance)
                .and_modify(|kept| *kept = (*kept).max(cause))
                .or_insert(cause);
        });
    }

    pub(super) fn in_sight(&self, list: Vec<(Uuid, Listed)>) {
        self.seen.put(|seen| {
            seen.status = Some(EngineStatus::InSight);
            seen.list = Some(list);
        });
    }

    pub(super) fn out_of_sight(&self, why: String) {
        self.seen.put(|seen| {
            seen.status = Some(EngineStatus::OutOfSight(why));
            // It is of the past; what comes into sight again is listed again.
            seen.list = None;
        });
    }

    /// Something was written, or asked, just now.
    pub(crate) fn sounded(&self, key: Key, sound: Sound) {
        let now = self.clock.now();
        self.seen.put(|seen| {
            let heard = seen.sounds.entry(key).or_default();
            if let Sound::Said { lines, with_path } = sound
                && let Some((
                    _,
                    Sound::Said {
                        lines: all,
                        with_path: of_path,
                    },
                )) = heard.last_mut()
            {
                *all = all.saturating_add(lines);
                *of_path = of_path.saturating_add(with_path);
            } else {
                heard.push((now, sound));
            }
        });
    }

    /// What was heard so far, without waiting.
    pub(crate) fn sounds(&self) -> Sounds {
        self.seen.take(|seen| &mut seen.sounds)
    }

    /// A follower has ended by itself.
    pub(crate) fn ended(&self, ended: FollowerEnded) {
        self.seen.put(|seen| seen.ended.push(ended));
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn fetch(&self) -> EngineNews {
        self.seen.fetch().await
    }
}
