//! What a watcher's session hears.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{Observation, Operation};

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Payload {
    Write(Write),
    Ring { ring: Uuid },
}

#[derive(Deserialize)]
pub(super) struct Write {
    table: String,
    id: Uuid,
    operation: Operation,
    status: Option<String>,
    written_at: f64,
}

#[derive(Default)]
pub(super) struct Heard {
    pub(super) observations: Vec<Observation>,
    /// The watcher's own, by which it knows that all before them was heard.
    pub(super) rings: Vec<Uuid>,
    pub(super) ended: Option<String>,
}

impl Heard {
    /// Takes in what was heard, if it is of this table.
    pub(super) fn take_in(&mut self, payload: Payload, table: &str) {
        match payload {
            Payload::Write(write) if write.table == table => {
                self.observations.push(observation(write));
            }
            Payload::Write(_) => {}
            Payload::Ring { ring } => self.rings.push(ring),
        }
    }
}

fn observation(write: Write) -> Observation {
    let Write {
        id,
        operation,
        status,
        written_at,
        table: _,
    } = write;
    let (at, heard_at) = (Instant::now(), Utc::now());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "microseconds since 1970 fit for 290,000 years"
    )]
    let written_at = DateTime::from_timestamp_micros((written_at * 1e6) as i64).unwrap_or(heard_at);
    Observation {
        id,
        operation,
        status,
        at,
        heard_at,
        written_at,
    }
}
