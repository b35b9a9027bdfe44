//! What was seen of the engine and nobody has fetched yet.
//!
//! Bounded by the containers that there are.

use std::collections::HashMap;
use std::time::Instant;

use auth_reconciler_core::Cause;
use auth_reconciler_core::container::Listed;
use auth_reconciler_core::follow::Kind;
use uuid::Uuid;

use crate::mailbox::Mailbox;
use crate::postgres::tables::Key;

/// Shared by the tasks that follow the engine, which fill it, and the loop, which empties it.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    seen: Mailbox<Seen>,
}

/// One emptying.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Instances to whose containers something happened, each with its greatest cause.
    pub(crate) instances: HashMap<Uuid, Cause>,
    /// Whether the engine came into sight or went out of it.
    pub(crate) engine: Option<View>,
    /// All containers, right after the engine came into sight.
    pub(crate) list: Option<Vec<(Uuid, Listed)>>,
    /// What containers wrote, and what the probes met that may be the cause of it.
    pub(crate) heard: Heard,
    /// Followers that have ended by themselves.
    pub(crate) ended: Vec<Ended>,
}

/// Per instance, in the order of time. What is said in a row is one.
pub(crate) type Heard = HashMap<Key, Vec<(Instant, Sound)>>;

/// One of the things whose order tells our own noise from news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Following has begun, with what the container said last.
    Began,
    /// So many lines, of which so many hold the status path.
    Said {
        /// All of them.
        lines: u32,
        /// Those with the path.
        with_path: u32,
    },
    /// A probe is being sent.
    Sent,
    /// It met this.
    Answered(Kind),
}

/// Whether the engine is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Its events arrive.
    Seen,
    /// They do not; why, and what to do.
    NotSeen(String),
}

/// The end of a follower.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The instance.
    pub(crate) key: Key,
    /// Number of the follower.
    pub(crate) serial: u64,
    /// The engine cannot read this container's output at all, and why.
    pub(crate) unreadable: Option<String>,
}

impl Sightings {
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
            seen.engine = Some(View::Seen);
            seen.list = Some(list);
        });
    }

    pub(super) fn out_of_sight(&self, why: String) {
        self.seen.put(|seen| {
            seen.engine = Some(View::NotSeen(why));
            // It is of the past; what comes into sight again is listed again.
            seen.list = None;
        });
    }

    /// Something was written, or asked, just now.
    pub(crate) fn sounded(&self, key: Key, sound: Sound) {
        let now = Instant::now();
        self.seen.put(|seen| {
            let heard = seen.heard.entry(key).or_default();
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
    pub(crate) fn heard(&self) -> Heard {
        self.seen.take(|seen| &mut seen.heard)
    }

    /// A follower has ended by itself.
    pub(crate) fn ended(&self, ended: Ended) {
        self.seen.put(|seen| seen.ended.push(ended));
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn fetch(&self) -> Seen {
        self.seen.fetch().await
    }
}
