//! The watched tables as the database names them, each with its read statement.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

const READ: &str = include_str!("../../../../sql/queries/read.sql");
const ALL_ROWS: &str = include_str!("../../../../sql/queries/all_rows.sql");
const LOG_ALL_ROWS: &str = include_str!("../../../../sql/queries/log_all_rows.sql");

/// One instance: which watched table, and which row of it. Two tables may hold the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Number of the table in `auth_reconciler.watched_table`.
    pub(crate) watched_id: i32,
    /// Id of the row.
    pub(crate) instance_id: Uuid,
}

/// One watched table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Number in `auth_reconciler.watched_table`.
    pub(crate) id: i32,
    /// Name, qualified and quoted.
    pub(crate) relation: String,
    /// The statement that reads one look's facts.
    pub(crate) read: String,
    /// The statement that lists every row.
    pub(crate) all_rows: String,
    /// The statement that logs a change of every row.
    pub(crate) log_all_rows: String,
}

/// What was watched, to compare the catalog with; a table that was dropped among it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Object id.
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

/// Something that keeps us from seeing a table as it was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// In one word of a closed list.
    pub(crate) problem: String,
    /// In words, with the name of the table and the remedy.
    pub(crate) why: String,
}

/// All watched tables that exist with the columns that we name, by number.
pub(crate) type Tables = Arc<HashMap<i32, Table>>;

impl Table {
    /// `relation` must be qualified and quoted by the server.
    pub(crate) fn new(id: i32, oid: u32, relation: String, reads_type_instance: bool) -> Self {
        let serves_api = if reads_type_instance {
            "(w.type_instance is null or cardinality(w.type_instance) = 0 or 'api' = any (w.type_instance::text[]))"
        } else {
            "true"
        };
        let fill = |template: &str| {
            template
                .replace("{relation}", &relation)
                .replace("{oid}", &oid.to_string())
                .replace("{serves_api}", serves_api)
        };
        let (read, all_rows, log_all_rows) = (fill(READ), fill(ALL_ROWS), fill(LOG_ALL_ROWS));
        Self {
            id,
            relation,
            read,
            all_rows,
            log_all_rows,
        }
    }
}
