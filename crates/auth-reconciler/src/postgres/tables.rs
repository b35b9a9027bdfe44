//! The watched tables as the database names them, each with its read statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::locked::Usage;

const READ: &str = include_str!("../../../../sql/queries/read.sql");

/// Those that are asked for.
const ASKED: &str = "unnest($2::uuid[]) with ordinality as wanted (instance_id, place)";

/// Those, and what is taken from the change log beside them, of the one table that is served.
const ASKED_AND_TAKEN: &str = include_str!("../../../../sql/queries/wanted.sql");

/// One watched table.
#[derive(Debug)]
pub(crate) struct Table {
    /// The server's object id of the table.
    pub(crate) oid: u32,
    /// Name, qualified and quoted.
    pub(crate) relation: String,
    /// The statement that reads the facts of looks.
    pub(crate) read: String,
    /// The same, for what is taken from the log as well.
    pub(crate) read_with_log: String,
    /// When it was seen that it cannot be read, as somebody has locked it; `None` if it was not the last time.
    locked_for_reads: Mutex<Option<Instant>>,
    /// The same of writes.
    locked_for_writes: Mutex<Option<Instant>>,
}

/// What was watched, to compare the catalog with; a table that was dropped among it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// The server's object id of the table, as of when it was watched.
    pub(crate) oid: u32,
    /// The name by which it was watched; `None` where that was never noted.
    pub(crate) name: Option<String>,
    /// Whether repeated values count as changes.
    pub(crate) assigned: bool,
    /// Whether it had the column `type_instance`.
    pub(crate) typed: bool,
}

/// What the catalog is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// What was watched.
    pub(crate) watched: Vec<Watched>,
    /// What was noted of our functions and views when they were made.
    pub(crate) made: Option<String>,
}

/// All watched tables that exist with the columns that we name, by number.
pub(crate) type Tables = Arc<HashMap<i32, Table>>;

impl Table {
    /// `relation` must be qualified and quoted by the server.
    pub(crate) fn new(oid: u32, relation: String, reads_type_instance: bool) -> Self {
        let serves_api = if reads_type_instance {
            "(w.type_instance is null or cardinality(w.type_instance) = 0 or 'api' = any (w.type_instance::text[]))"
        } else {
            "true"
        };
        let read = |wanted| {
            READ.replace("{wanted}", wanted)
                .replace("{relation}", &relation)
                .replace("{oid}", &oid.to_string())
                .replace("{serves_api}", serves_api)
        };
        Self {
            oid,
            read: read(ASKED),
            read_with_log: read(ASKED_AND_TAKEN),
            relation,
            locked_for_reads: Mutex::default(),
            locked_for_writes: Mutex::default(),
        }
    }

    /// When it was seen that somebody has locked it, if it was so when it was last to be used so.
    pub(super) fn seen_locked(&self, usage: Usage) -> Option<Instant> {
        *self.locked_for(usage)
    }

    /// Notes whether somebody has locked it now.
    pub(super) fn note_locked(&self, usage: Usage, locked: bool) {
        *self.locked_for(usage) = locked.then(Instant::now);
    }

    fn locked_for(&self, usage: Usage) -> MutexGuard<'_, Option<Instant>> {
        let seen = match usage {
            Usage::Read => &self.locked_for_reads,
            Usage::Write => &self.locked_for_writes,
        };
        seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
