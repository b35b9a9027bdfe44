//! The database's shell: the ear, the pool, the direct sessions of the looks, and the statements of `sql/`.

/// The text of a file of `sql/`.
macro_rules! sql {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/", $path))
    };
}

pub(crate) mod direct;
pub(crate) mod ear;
pub(crate) mod error;
pub(crate) mod faults;
mod halves;
pub(crate) mod inbox;
pub(crate) mod listener;
mod locked;
pub(crate) mod owed;
pub(crate) mod pool;
pub(crate) mod read;
pub(crate) mod ready;
pub(crate) mod record;
pub(crate) mod remedy;
pub(crate) mod schema;
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod table_name;
pub(crate) mod tables;
pub(crate) mod unlogged;
pub(crate) mod watcher;

/// The channel on which triggers and echoes are heard.
pub(crate) const CHANNEL: &str = "auth_reconciler";
