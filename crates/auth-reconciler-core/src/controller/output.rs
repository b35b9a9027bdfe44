//! Whose output is followed: the [followers](crate::follow) decide, the shell reads.

use super::phase::Phase;
use super::{Command, Controller, FollowerEnded, Notice, Output, Sounds, Stop};
use crate::Cause;
use crate::follow;
use crate::instance::Key;
use crate::queue::Moment;

impl Controller {
    pub(super) fn hear(&mut self, sounds: Sounds) {
        for (key, sounds) in sounds {
            for (at, sound) in sounds {
                self.followers.heard(&key, sound, at);
            }
        }
    }

    /// Begins and ends following, and makes looks of what was said.
    pub(super) fn next_follower(&mut self, now: Moment) -> Option<Command> {
        while let Some(command) = self.followers.next(now) {
            match command {
                follow::Command::Attach {
                    key,
                    container,
                    path,
                } => {
                    if !matches!(self.phase, Phase::Leading(_)) {
                        continue;
                    }
                    self.serial += 1;
                    self.following.insert(key, self.serial);
                    return Some(Command::Follow {
                        key,
                        serial: self.serial,
                        container,
                        path,
                    });
                }
                follow::Command::Detach { key } => {
                    self.following.remove(&key);
                    return Some(Command::Unfollow { key });
                }
                follow::Command::Look { key } => self.wake(key, Cause::Output, now),
                follow::Command::GiveUp { key } => {
                    self.ask_to_end(key, Stop::GiveUp);
                    if let Some(command) = self.out.pop_front() {
                        return Some(command);
                    }
                }
            }
        }
        None
    }

    /// Whose output is to be followed until the next look, if anybody's.
    pub(super) fn follow(&mut self, key: &Key, follow: Option<Output>, now: Moment) {
        match follow {
            Some(Output { life, profile }) => self.followers.want(key, &life, profile, now),
            None => self.followers.unwant(key),
        }
    }

    pub(super) fn follower_ended(&mut self, ended: FollowerEnded, now: Moment) {
        let FollowerEnded {
            key,
            serial,
            unreadable,
        } = ended;
        // One that was let go of meanwhile, or its place taken by another, has nothing to tell.
        if self.following.get(&key) != Some(&serial) {
            return;
        }
        self.following.remove(&key);
        self.out.push_back(Command::Unfollow { key });
        match unreadable {
            None => self.followers.over(&key, now),
            Some(why) => {
                self.followers.unreadable(&key);
                let first = !std::mem::replace(&mut self.said_unreadable, true);
                self.say(Notice::Unreadable { key, why, first });
            }
        }
    }
}
