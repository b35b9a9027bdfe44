//! The database: the watched rows, the change log, our own rows, and the fence.

use std::collections::HashSet;

use auth_reconciler_core::facts::{Change, Recorded};
use auth_reconciler_core::{AuthStatus, Cause};
use chrono::{DateTime, Utc};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct DbRow {
    pub(crate) key: Option<u64>,
    pub(crate) status: Option<String>,
    /// When it was last written, in ms: what the manager goes by.
    pub(crate) updated: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEntry {
    pub(crate) id: u64,
    pub(crate) change: Change,
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) version: u64,
    pub(crate) memory: Recorded,
    pub(crate) settled: bool,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) rows: Vec<Option<DbRow>>,
    pub(crate) log: Vec<Vec<LogEntry>>,
    pub(crate) instances: Vec<Option<Instance>>,
    pub(crate) epoch: u64,
    /// Another process holds the lock; it does nothing.
    pub(crate) other_leads: bool,
    /// Changes cannot be logged.
    pub(crate) log_is_broken: bool,
    /// Some could not, and nobody has answered for them.
    pub(crate) unlogged: bool,
    /// Looks at all rows are owed.
    pub(crate) owed: bool,
    numbers: u64,
}

/// What a run read, for the fence.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) epoch: u64,
    pub(crate) key: Option<u64>,
    pub(crate) version: Option<u64>,
    pub(crate) changes: HashSet<u64>,
}

impl Database {
    pub(crate) fn new(instances: usize) -> Self {
        let row = DbRow {
            key: None,
            status: Some("pending".to_owned()),
            updated: 0,
        };
        Self {
            rows: vec![Some(row); instances],
            log: vec![Vec::new(); instances],
            instances: vec![None; instances],
            epoch: 0,
            other_leads: false,
            log_is_broken: false,
            unlogged: false,
            owed: false,
            numbers: 0,
        }
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn log(&mut self, i: usize, cause: Cause, at: DateTime<Utc>) {
        let id = self.number();
        let change = Change { cause, at };
        self.log[i].push(LogEntry { id, change });
    }

    pub(crate) fn said(&self, i: usize) -> Option<&str> {
        self.rows[i].as_ref()?.status.as_deref()
    }

    pub(crate) fn memory(&self, i: usize) -> Option<&Recorded> {
        self.instances[i].as_ref().map(|known| &known.memory)
    }

    /// What a run reads for the fence, in the term with this epoch.
    pub(crate) fn read(&self, i: usize, epoch: Uuid) -> Read {
        Read {
            epoch: u64::try_from(epoch.as_u128()).expect("one of ours"),
            key: self.rows[i].as_ref().and_then(|row| row.key),
            version: self.instances[i].as_ref().map(|known| known.version),
            changes: self.log[i].iter().map(|entry| entry.id).collect(),
        }
    }

    /// Whether all that a run read still stands.
    pub(crate) fn fenced(&self, i: usize, read: &Read) -> bool {
        let version = self.instances[i].as_ref().map(|known| known.version);
        let unseen = self.log[i]
            .iter()
            .any(|entry| !read.changes.contains(&entry.id));
        read.epoch == self.epoch && version == read.version && !unseen
    }

    /// Answers for the changes that were read.
    pub(crate) fn answer(&mut self, i: usize, read: &Read) {
        self.log[i].retain(|entry| !read.changes.contains(&entry.id));
    }

    /// Up to four that count as ready, as `ready_instances.sql` finds them.
    pub(crate) fn ready_ones(&self) -> Vec<usize> {
        let mut ready: Vec<(u32, usize)> = self
            .instances
            .iter()
            .enumerate()
            .filter_map(|(i, known)| {
                let memory = &known.as_ref()?.memory;
                (memory.status == Some(AuthStatus::ClientReady)).then_some((memory.misses, i))
            })
            .collect();
        ready.sort_unstable();
        ready.into_iter().take(4).map(|(_, i)| i).collect()
    }
}
