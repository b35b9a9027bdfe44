//! The words by which the view `problems` names what concerns all instances.
//!
//! The SQL uses the same ones, and gives them their order; a test of the daemon holds the two together.

/// No daemon leads.
pub const NOBODY_LEADS: &str = "NobodyLeads";
/// Somebody who is none of ours holds a lock of ours.
pub const FOREIGN_LOCK: &str = "ForeignLock";
/// Our own functions, views or tables were dropped, replaced or changed.
pub const SCHEMA_ALTERED: &str = "SchemaAltered";
/// A watched table got a column that verdicts are made from.
pub const COLUMN_ADDED: &str = "ColumnAdded";
/// The process lacks something of its own.
pub const NOT_ASKED: &str = "NotAsked";
/// The change log takes no changes.
pub const LOG_REFUSES: &str = "LogRefuses";
/// Nobody can be a witness of silence.
pub const DOUBT: &str = "Doubt";
