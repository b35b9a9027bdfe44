//! The watched tables as the database names them, each with its read statement.

use std::collections::HashMap;
use std::sync::Arc;

const READ: &str = include_str!("../../../../sql/queries/read.sql");

/// One watched table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Name, qualified and quoted.
    pub(crate) relation: String,
    /// The statement that reads one look's facts.
    pub(crate) read: String,
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
        let read = READ
            .replace("{relation}", &relation)
            .replace("{oid}", &oid.to_string())
            .replace("{serves_api}", serves_api);
        Self { relation, read }
    }
}
