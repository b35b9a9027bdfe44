//! Which instance is meant.

use uuid::Uuid;

/// One instance: which watched table, and which row of it. Two tables may hold the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Number of the table in `auth_reconciler.watched_table`.
    pub watched_id: i32,
    /// Id of the row.
    pub instance_id: Uuid,
}
