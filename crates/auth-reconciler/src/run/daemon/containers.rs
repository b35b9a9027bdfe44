//! What the loop does with what is seen of the engine.

use std::sync::Arc;

use auth_reconciler_core::Cause;
use auth_reconciler_core::container::Listed;
use auth_reconciler_core::follow::Command;
use auth_reconciler_core::queue::Moment;
use tracing::{debug, info};
use uuid::Uuid;

use super::{Daemon, RunError};
use crate::docker::sightings::{Ended, Heard, Seen, Sound, View};
use crate::postgres::error::StoreError;
use crate::postgres::tables::Key;
use crate::run::containers::{self, Follower};
use crate::run::look::Follow;
use crate::run::{Done, Phase, troubles};
use crate::telemetry::chain;

impl Daemon {
    pub(super) fn on_seen(&mut self, seen: Seen) {
        let now = self.now();
        if let Some(view) = seen.engine {
            if view != View::Seen {
                // Their streams end with the engine; looks want them again when it is back.
                self.unfollow_all();
            }
            if let Phase::Leading(leader) = &mut self.phase {
                leader.containers.saw(view);
            }
        }
        if let Some(list) = seen.list {
            // What runs may have begun without the engine, and may not be recorded when that is compared.
            let running: Vec<Key> = self.runs.keys().copied().collect();
            for key in running {
                self.wake(key, Cause::Compared, now);
            }
            self.compare(list);
        }
        for (instance, cause) in seen.instances {
            self.wake_instance(instance, cause);
        }
        self.hear(seen.heard);
        for ended in seen.ended {
            self.on_follower_ended(ended);
        }
    }

    /// In whatever watched table its row is: the container does not say.
    fn wake_instance(&mut self, instance_id: Uuid, cause: Cause) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        let tables: Vec<i32> = leader.tables.keys().copied().collect();
        for watched_id in tables {
            let key = Key {
                watched_id,
                instance_id,
            };
            if cause.changes_container()
                && let Some(run) = self.runs.get(&key)
            {
                run.overtake();
            }
            let now = self.now();
            self.wake(key, cause, now);
        }
    }

    fn compare(&mut self, list: Vec<(Uuid, Listed)>) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        let Some(watch) = &leader.containers.watch else {
            return;
        };
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        let engine = Arc::clone(watch.engine());
        self.jobs.spawn(async move {
            let result = containers::compare(&context, &engine, list).await;
            Done::Compared { epoch, result }
        });
    }

    pub(super) fn on_compared(
        &mut self,
        result: Result<Vec<(Key, Cause)>, StoreError>,
    ) -> Result<(), RunError> {
        match result {
            Ok(keys) => {
                debug!(
                    instances = keys.len(),
                    "containers compared with the record"
                );
                let now = self.now();
                for (key, cause) in keys {
                    self.wake(key, cause, now);
                }
                Ok(())
            }
            Err(failure) => self.missed(failure),
        }
    }

    /// Tells the database whether the engine is seen, when that has changed.
    pub(super) fn note_engine(&mut self) {
        let Phase::Leading(leader) = &mut self.phase else {
            return;
        };
        let Some(note) = leader.containers.take_note() else {
            return;
        };
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        self.jobs.spawn(async move {
            let result = note.write(&context, epoch).await;
            Done::Noted { epoch, result }
        });
    }

    pub(super) fn on_noted(&mut self, result: Result<(), StoreError>) {
        if let Phase::Leading(leader) = &mut self.phase {
            leader.containers.noted();
        }
        if let Err(failure) = result {
            debug!(
                error = chain(&failure),
                "could not note whether the engine is seen"
            );
            if let Phase::Leading(leader) = &mut self.phase {
                // With the next echo: what fails now would fail again at once.
                leader.note_with_echo = true;
            }
        }
    }

    /// Tells the database what keeps this process from knowing, when that has changed.
    pub(super) fn note_trouble(&mut self) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        let Some(note) = self.troubles.take_note() else {
            return;
        };
        let (context, epoch) = (Arc::clone(&self.context), leader.epoch);
        self.jobs.spawn(async move {
            let result = note.write(&context, epoch).await;
            Done::NotedTrouble {
                epoch,
                note,
                result,
            }
        });
    }

    pub(super) fn on_noted_trouble(
        &mut self,
        note: troubles::Note,
        result: Result<(), StoreError>,
    ) {
        match result {
            Ok(()) => self.troubles.noted(),
            Err(failure) => {
                debug!(
                    error = chain(&failure),
                    "could not note what keeps us from knowing"
                );
                self.troubles.note_again(note);
            }
        }
    }

    /// Whose output is to be followed until the next look, if anybody's.
    pub(super) fn follow_next(&mut self, key: &Key, follow: Option<Follow>, now: Moment) {
        match follow {
            Some(Follow { life, profile }) => self.followers.want(key, &life, profile, now),
            None => self.followers.unwant(key),
        }
    }

    /// It is ready: what its container says matters less, and is heard where nobody else is to be.
    pub(super) fn rest(&mut self, key: &Key, follow: Follow, epoch: Uuid, now: Moment) {
        if self.leads(epoch) {
            self.followers.rest(key, &follow.life, follow.profile, now);
        }
    }

    /// What was heard up to now: what a look tells comes after it.
    pub(super) fn hear_up_to_now(&mut self) {
        let Phase::Leading(leader) = &self.phase else {
            return;
        };
        let Some(watch) = &leader.containers.watch else {
            return;
        };
        let heard = watch.sightings().heard();
        self.hear(heard);
    }

    fn hear(&mut self, heard: Heard) {
        for (key, sounds) in heard {
            for (at, sound) in sounds {
                let at = at.saturating_duration_since(self.origin);
                match sound {
                    Sound::Began => self.followers.began(&key, at),
                    Sound::Said { lines, with_path } => {
                        self.followers.said(&key, lines, with_path, at);
                    }
                    Sound::Sent => self.followers.sent(&key, at),
                    Sound::Answered(kind) => self.followers.answered(&key, kind, at),
                }
            }
        }
    }

    /// Begins and ends following, and makes looks of what was said.
    pub(super) fn follow(&mut self) {
        let now = self.now();
        while let Some(command) = self.followers.next(now) {
            match command {
                Command::Attach {
                    key,
                    container,
                    path,
                } => {
                    let Phase::Leading(leader) = &self.phase else {
                        continue;
                    };
                    let Some(watch) = &leader.containers.watch else {
                        continue;
                    };
                    self.follower_serial += 1;
                    let id = (key, self.follower_serial);
                    let follower = Follower::begin(watch, id, container, path);
                    self.following.insert(key, follower);
                }
                Command::Detach { key } => {
                    self.following.remove(&key);
                }
                Command::Look { key } => self.wake(key, Cause::Output, now),
                Command::GiveUp { key } => {
                    if let Some(run) = self.runs.get(&key) {
                        run.give_up();
                    }
                }
            }
        }
    }

    fn on_follower_ended(&mut self, ended: Ended) {
        // One that was let go of meanwhile, or its place taken by another, has nothing to tell.
        if !self
            .following
            .get(&ended.key)
            .is_some_and(|follower| follower.is(&ended))
        {
            return;
        }
        self.following.remove(&ended.key);
        match ended.unreadable {
            None => self.followers.over(&ended.key),
            Some(why) => {
                self.followers.unreadable(&ended.key);
                if self.said_unreadable {
                    debug!(instance = %ended.key.instance_id, why, "output cannot be followed");
                } else {
                    self.said_unreadable = true;
                    info!(
                        instance = %ended.key.instance_id,
                        why,
                        "output of this container cannot be followed, so its readiness is found by backoff; use the log driver json-file or local (said once)"
                    );
                }
            }
        }
    }

    /// Lets go of every follower.
    pub(super) fn unfollow_all(&mut self) {
        self.followers.clear();
        self.follow();
    }
}
