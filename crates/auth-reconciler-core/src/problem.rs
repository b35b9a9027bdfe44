//! The words by which the view `problems` names what concerns all instances.
//!
//! The SQL uses the same ones, and gives them their order; a test of the daemon holds the two together.

/// No daemon leads.
pub const NOBODY_LEADS: &str = "NobodyLeads";
/// Our own functions or views were dropped or replaced.
pub const SCHEMA_ALTERED: &str = "SchemaAltered";
/// A watched table got a column that verdicts are made from.
pub const COLUMN_ADDED: &str = "ColumnAdded";
/// The process lacks something of its own.
pub const NOT_ASKED: &str = "NotAsked";
/// Nobody can be a witness of silence.
pub const DOUBT: &str = "Doubt";
