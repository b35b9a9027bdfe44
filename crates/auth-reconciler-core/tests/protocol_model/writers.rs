//! Foreign transactions: each draws an id for its change from the sequence of the log, and commits
//! later. One that writes the row holds its lock meanwhile; one that only asks for a look holds
//! nothing, so that ids of one key commit out of order.

use crate::model::Daemons;
use crate::protocol::{Flaw, SessionStep};
use crate::state::{Api, CHANGES, Key, Row, State, Status, WRITERS};

/// What a foreign writer does, always together with a change in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    /// Replaces the key, the right one by a wrong one or back.
    Key,
    /// Writes `account`: no more than a hint.
    Account,
    /// Writes a wrong `auth_status` from a stale copy.
    Drift,
    /// The container is restarted, and the row says so.
    Restart,
    /// Deletes the row.
    Delete,
    /// Inserts the row again, with a wrong key.
    Insert,
    /// Watches the table of the row (`watch()`): a change for the row that is there.
    Watch,
    /// Writes a row of another table: a ring, and an id less.
    Other,
    /// Asks for a look (`reconcile()`): a change, and no write of the row.
    Ask,
}

impl Write {
    /// Whether it writes the row, which is locked until it commits.
    fn locks_row(self) -> bool {
        match self {
            Self::Key
            | Self::Account
            | Self::Drift
            | Self::Restart
            | Self::Delete
            | Self::Insert => true,
            Self::Watch | Self::Other | Self::Ask => false,
        }
    }
}

/// A foreign transaction that has drawn its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// Which change it will commit; transactions get their own ids in the order of these.
    change: u8,
    write: Write,
    /// It has a transaction id, without which no snapshot knows of it.
    has_xid: bool,
}

impl Daemons {
    /// A foreign transaction writes and draws its id; where no scenario wants it otherwise, it
    /// commits at once.
    pub(crate) fn write(&self, state: &mut State, write: Write) -> bool {
        let fits = match write {
            Write::Watch => !state.db.watched && !watching(state),
            Write::Other => true,
            Write::Ask => state.db.watched,
            Write::Insert => state.db.watched && state.db.row.is_none(),
            Write::Key | Write::Account | Write::Drift | Write::Restart | Write::Delete => {
                state.db.watched && state.db.row.is_some()
            }
        };
        let waits = write.locks_row() && (self.row_locked(state) || row_busy(state));
        let Some(slot) = state.open.iter().position(Option::is_none) else {
            return false;
        };
        if !fits || waits {
            return false;
        }
        let change = draw(state);
        state.open[slot] = Some(Writer {
            change,
            write,
            has_xid: !self.protocol.has(Flaw::IdBeforeTransactionId),
        });
        self.writers_stay_open || self.commit_write(state, slot)
    }

    /// A transaction that had drawn an id gets its own.
    pub(crate) fn identify(&self, state: &mut State, slot: usize) -> bool {
        match state.open[slot].as_mut() {
            Some(writer) if !writer.has_xid => {
                writer.has_xid = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A foreign commit: its row write, its change and its NOTIFY.
    pub(crate) fn commit_write(&self, state: &mut State, slot: usize) -> bool {
        let Some(writer) = state.open[slot].filter(|writer| writer.has_xid) else {
            return false;
        };
        self.leave(state, slot);
        state.db.row = written(state.db.row, writer.write);
        if writer.write == Write::Restart {
            state.api = Api::Starting;
        }
        state.db.watched |= writer.write == Write::Watch;
        if writer.write != Write::Other {
            enter_log(state, writer.change);
        }
        if writer.write.locks_row() {
            state.db.writes = writer.change + 1;
        }
        if !self.async_writers {
            self.flush(state);
        }
        for process in 0..self.processes {
            let listens = self.did(state, process, SessionStep::Listen);
            let process = &mut state.processes[process];
            process.ringing |= listens;
            process.ringing_to_list |= listens && writer.write == Write::Watch;
        }
        true
    }

    /// A foreign transaction comes to nothing: its id was given out for nobody, and nobody rings.
    pub(crate) fn roll_back(&self, state: &mut State, slot: usize) -> bool {
        self.leave(state, slot);
        true
    }

    /// A foreign transaction is no longer in progress.
    fn leave(&self, state: &mut State, slot: usize) {
        let ended = state.open[slot].take();
        state
            .open
            .sort_by_key(|writer| writer.map_or(u8::MAX, |writer| writer.change));
        if self.protocol.has(Flaw::NewestLeftOut) {
            let newest = ended.map_or(0, |writer| writer.change + 1);
            state.ended = state.ended.max(newest);
        }
    }

    /// The transactions that a log read takes for being in progress, one bit for each.
    pub(crate) fn in_progress(&self, state: &State) -> u8 {
        let shown = |writer: &&Writer| {
            writer.has_xid
                && (!self.protocol.has(Flaw::NewestLeftOut) || writer.change < state.ended)
        };
        state
            .open
            .iter()
            .flatten()
            .filter(shown)
            .fold(0, |set, writer| set | 1 << writer.change)
    }
}

/// The row after a foreign write.
fn written(row: Option<Row>, write: Write) -> Option<Row> {
    let wrong = |status| match status {
        Status::Pending => Status::ClientReady,
        Status::ClientReady | Status::Failed => Status::Pending,
    };
    let other = |key| match key {
        Key::Right => Key::Wrong,
        Key::Wrong => Key::Right,
    };
    match write {
        Write::Insert => Some(Row {
            key: Key::Wrong,
            status: Status::Pending,
        }),
        Write::Key => row.map(|row| Row {
            key: other(row.key),
            ..row
        }),
        Write::Drift => row.map(|row| Row {
            status: wrong(row.status),
            ..row
        }),
        Write::Account | Write::Restart | Write::Watch | Write::Other | Write::Ask => row,
        Write::Delete => None,
    }
}

/// Whether a foreign transaction holds the lock of the watched row.
pub(crate) fn row_busy(state: &State) -> bool {
    state
        .open
        .iter()
        .flatten()
        .any(|writer| writer.write.locks_row())
}

/// Whether somebody is about to watch the table.
fn watching(state: &State) -> bool {
    let mut open = state.open.iter().flatten();
    open.any(|writer| writer.write == Write::Watch)
}

/// The change of a row that has just been inserted, committed before the history begins.
pub(crate) fn log_first_change(state: &mut State) {
    let change = draw(state);
    enter_log(state, change);
    state.db.writes = change + 1;
}

/// Draws an id for a change.
fn draw(state: &mut State) -> u8 {
    let change = state.written;
    assert!(
        usize::from(change) < CHANGES,
        "a scenario with more writes than the model has room for"
    );
    state.ids[usize::from(change)] = state.db.next_id;
    state.db.next_id += 1;
    state.written += 1;
    change
}

/// Puts a change into the log.
fn enter_log(state: &mut State, change: u8) {
    state.db.changes |= 1 << change;
}

/// No foreign transaction in progress.
pub(crate) const NOBODY_WRITES: [Option<Writer>; WRITERS] = [None; WRITERS];
