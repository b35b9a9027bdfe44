//! An instance's container: what an engine shows of it, what that means, and what changed while
//! nobody looked.
//!
//! Three rules hold here. Of several containers with one instance id the newest running one counts.
//! That a container is gone is believed only of the engine on which it was seen. And what is not known
//! changes nothing: [`Container::Unknown`] is never recorded over something known.
//!
//! States are words, not a closed list: engines differ in them and invent new ones. One that is not known here
//! makes that container's state unknown and nothing else.

use chrono::{DateTime, Utc};
use serde::Serialize;

mod compare;
#[cfg(test)]
mod tests;

pub use compare::{Compared, RecordedContainer, compare};

/// The state that is recorded of a container that is gone, beside the engine's own words. How it ended follows, if
/// that was heard: no other process can hear of it again.
pub const REMOVED: &str = "removed";

/// What stands between that and the exit code.
const EXIT_CODE: &str = ", exit code ";

/// What stands after the exit code of one that the kernel killed for its memory.
const OUT_OF_MEMORY: &str = ", out of memory";

/// The engine's word for a container that it is about to remove.
const REMOVING: &str = "removing";

/// The state of an instance's container, as decisions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// No engine, or out of its reach, or another one than the one that showed the container.
    Unknown,
    /// The engine is in reach, and no container of this instance was ever seen.
    NeverSeen,
    /// It was made and has not run yet.
    Created,
    /// It runs.
    Running,
    /// It is paused.
    Paused,
    /// It exited or is dead.
    Stopped {
        /// The exit code.
        exit_code: i64,
        /// Killed by the kernel for its memory.
        out_of_memory: bool,
        /// Whether the engine is about to start it again by itself.
        restarting: bool,
    },
    /// It was there and is gone.
    Removed,
}

/// What is recorded of a container, exactly as a verdict used it, under the names of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// The engine that showed it.
    #[serde(rename = "container_engine")]
    pub engine: String,
    /// The engine's id of the container.
    #[serde(rename = "container_id")]
    pub id: String,
    /// The name of the container.
    #[serde(rename = "container_name")]
    pub name: String,
    /// Its state in the engine's words, or [`REMOVED`] and how it ended.
    #[serde(rename = "container_state")]
    pub state: String,
    /// When it was last started, by the engine's clock; `None` if never.
    #[serde(rename = "container_started_at")]
    pub started_at: Option<DateTime<Utc>>,
    /// Its network endpoints: each start makes new ones, and a list shows them where it does not show
    /// the time of the start. Empty if it has none.
    #[serde(rename = "container_network")]
    pub network: String,
}

impl Sighting {
    /// Whether both are the same process: the same container, started once.
    #[must_use]
    pub fn same_life(&self, other: &Self) -> bool {
        self.engine == other.engine && self.id == other.id && self.started_at == other.started_at
    }

    /// Whether it is gone, or about to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state == REMOVING || self.was_removed()
    }

    fn was_removed(&self) -> bool {
        self.state.starts_with(REMOVED)
    }

    /// How it ended, if it is gone and that was heard.
    fn ending(&self) -> Option<Ending> {
        let told = self.state.strip_prefix(REMOVED)?.strip_prefix(EXIT_CODE)?;
        let code = told.strip_suffix(OUT_OF_MEMORY);
        Some(Ending {
            exit_code: code.unwrap_or(told).parse().ok()?,
            out_of_memory: code.is_some(),
        })
    }
}

/// One container as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The engine's id of the container.
    pub id: String,
    /// Its state in the engine's words.
    pub state: String,
    /// When it was made, in seconds since 1970 by the engine's clock.
    pub created: i64,
    /// Its network endpoints, as in [`Sighting::network`].
    pub network: String,
}

/// One container as an inspection shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What is to be recorded.
    pub sighting: Sighting,
    /// Its exit code; of no meaning while it runs.
    pub exit_code: i64,
    /// Whether the kernel killed it for its memory.
    pub out_of_memory: bool,
}

/// How a container's process ended, as the engine told when it did: of one that is removed at its end no
/// inspection shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The exit code.
    pub exit_code: i64,
    /// Whether the kernel killed it for its memory.
    pub out_of_memory: bool,
}

/// A state in Docker's word for it, where another engine (Podman) has its own; any other word as it is.
#[must_use]
pub fn common_word(state: &str) -> &str {
    match state {
        "configured" | "initialized" => "created",
        "stopped" => "exited",
        // It has been told to end. Until it has ended it may answer, and then an event tells.
        "stopping" => "running",
        other => other,
    }
}

/// Of all containers of one instance the one that counts: the newest running one, else the newest.
#[must_use]
pub fn counting(listed: &[Listed]) -> Option<&Listed> {
    listed.iter().max_by(|a, b| rank(a).cmp(&rank(b)))
}

/// Of two that were made in the same second the greater id counts, so that all agree.
fn rank(listed: &Listed) -> (bool, i64, &str) {
    let runs = matches!(
        common_word(&listed.state),
        "running" | "paused" | "restarting"
    );
    (runs, listed.created, &listed.id)
}

/// What an engine's answer about an instance means, and what is to be recorded of it. `ending` tells how the
/// container with an id ended, if that was heard.
#[must_use]
pub fn resolve(
    engine: &str,
    recorded: Option<&Sighting>,
    shown: Option<Inspected>,
    ending: impl Fn(&str) -> Option<Ending>,
) -> (Container, Option<Sighting>) {
    match (shown, recorded) {
        (Some(shown), _) => {
            let state = state_of(&shown, ending(&shown.sighting.id));
            if state == Container::Unknown {
                return (state, recorded.cloned());
            }
            (state, Some(shown.sighting))
        }
        (None, None) => (Container::NeverSeen, None),
        (None, Some(known)) if known.engine == engine => {
            let ending = ending(&known.id).or_else(|| known.ending());
            let state = ending.map_or_else(|| REMOVED.to_owned(), removed);
            (
                ending.map_or(Container::Removed, ended),
                Some(Sighting {
                    state,
                    ..known.clone()
                }),
            )
        }
        (None, Some(known)) => (Container::Unknown, Some(known.clone())),
    }
}

fn removed(ending: Ending) -> String {
    let memory = if ending.out_of_memory {
        OUT_OF_MEMORY
    } else {
        ""
    };
    format!("{REMOVED}{EXIT_CODE}{}{memory}", ending.exit_code)
}

const fn ended(ending: Ending) -> Container {
    Container::Stopped {
        exit_code: ending.exit_code,
        out_of_memory: ending.out_of_memory,
        restarting: false,
    }
}

fn state_of(shown: &Inspected, ending: Option<Ending>) -> Container {
    // The engine shows what it knew when the process ended; that the kernel killed it may have been told since.
    let told = ending.is_some_and(|ending| ending.out_of_memory);
    let stopped = |restarting| Container::Stopped {
        exit_code: shown.exit_code,
        out_of_memory: shown.out_of_memory || told,
        restarting,
    };
    match common_word(&shown.sighting.state) {
        "running" => Container::Running,
        "paused" => Container::Paused,
        // A start that failed leaves it created, with the reason in its exit code.
        "created" if shown.exit_code == 0 => Container::Created,
        "created" | "exited" | "dead" => stopped(false),
        "restarting" => stopped(true),
        REMOVING => match ending {
            Some(ending) => ended(ending),
            None if shown.exit_code != 0 => stopped(false),
            None => Container::Removed,
        },
        // A word of a newer engine, or of another one.
        _ => Container::Unknown,
    }
}

/// Whether a list shows something else of an instance than what was recorded of it, so that it must be
/// looked at. `listed` are the containers with its id.
#[must_use]
pub fn differs(engine: &str, recorded: Option<&Sighting>, listed: &[Listed]) -> bool {
    match (recorded, counting(listed)) {
        (None, None) => false,
        (None, Some(_)) => true,
        // On another engine, too: what has become of it there is unknown, and its API is to say.
        (Some(known), None) => !known.was_removed(),
        (Some(known), Some(shown)) => {
            known.engine != engine
                || known.id != shown.id
                || common_word(&known.state) != common_word(&shown.state)
                || known.network != shown.network
                // Without an endpoint a list cannot tell one start from the next.
                || (shown.network.is_empty() && common_word(&shown.state) == "running")
        }
    }
}
