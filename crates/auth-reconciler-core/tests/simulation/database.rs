//! The database: the watched rows, the change log, our own rows, and the fence.

use auth_reconciler_core::facts::{Change, Recorded};
use auth_reconciler_core::record::Proposal;
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
    /// It was read and not answered for.
    pub(crate) put_off: bool,
}

/// A transaction that has drawn the id of its change, and is not committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) transaction: u64,
    pub(crate) i: usize,
    pub(crate) id: u64,
}

impl LogEntry {
    pub(crate) fn number(&self) -> i64 {
        i64::try_from(self.id).expect("fits")
    }
}

/// A number as the database's own kind of it.
pub(crate) fn uuid(number: u64) -> Uuid {
    Uuid::from_u128(number.into())
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
    pub(crate) open: Vec<Open>,
    numbers: u64,
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
            open: Vec::new(),
            numbers: 0,
        }
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn log(&mut self, i: usize, cause: Cause, at: DateTime<Utc>) {
        let id = self.number();
        self.log_with(id, i, cause, at);
    }

    fn log_with(&mut self, id: u64, i: usize, cause: Cause, at: DateTime<Utc>) {
        self.log[i].push(LogEntry {
            id,
            change: Change { cause, at },
            put_off: false,
        });
        self.log[i].sort_by_key(|entry| entry.id);
    }

    /// A transaction logs a change of this row, and takes its time.
    pub(crate) fn open(&mut self, i: usize) {
        let (transaction, id) = (self.number(), self.number());
        self.open.push(Open { transaction, i, id });
    }

    /// The one that has been open for longest ends. Whose change is in the log now, if it was committed.
    pub(crate) fn end_open(&mut self, commits: bool, at: DateTime<Utc>) -> Option<usize> {
        if self.open.is_empty() {
            return None;
        }
        let Open { i, id, .. } = self.open.remove(0);
        commits.then(|| {
            self.log_with(id, i, Cause::Account, at);
            i
        })
    }

    /// The last id that was drawn.
    pub(crate) fn last_id(&self) -> i64 {
        i64::try_from(self.numbers).expect("fits")
    }

    /// Unread changes beyond an id: of whom, and which. In the order of their ids.
    pub(crate) fn unread(&self, after: i64) -> Vec<(usize, i64)> {
        let logs = self.log.iter().enumerate();
        let all = logs.flat_map(|(i, log)| log.iter().map(move |entry| (i, entry)));
        let mut unread: Vec<_> = all
            .filter(|(_, entry)| !entry.put_off && entry.number() > after)
            .map(|(i, entry)| (i, entry.number()))
            .collect();
        unread.sort_unstable_by_key(|(_, id)| *id);
        unread
    }

    pub(crate) fn put_off(&mut self, ids: &[i64]) {
        for entry in self.log.iter_mut().flatten() {
            entry.put_off |= ids.contains(&entry.number());
        }
    }

    pub(crate) fn said(&self, i: usize) -> Option<&str> {
        self.rows[i].as_ref()?.status.as_deref()
    }

    pub(crate) fn memory(&self, i: usize) -> Option<&Recorded> {
        self.instances[i].as_ref().map(|known| &known.memory)
    }

    /// Whether all that it was made from still stands.
    pub(crate) fn fenced(&self, i: usize, proposal: &Proposal) -> bool {
        let version = self.instances[i].as_ref().map(|known| uuid(known.version));
        let unseen = self.log[i]
            .iter()
            .any(|entry| !proposal.snapshot.changes.contains(&entry.number()));
        version == proposal.snapshot.version && !unseen
    }

    /// Answers for the changes that were read.
    pub(crate) fn answer(&mut self, i: usize, proposal: &Proposal) {
        self.log[i].retain(|entry| !proposal.snapshot.changes.contains(&entry.number()));
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
