//! What the model consists of: the world, the database, the processes.

use crate::horizon::Horizon;
use crate::writers::Writer;

/// How many processes a state has room for.
pub(crate) const PROCESSES: usize = 2;
/// How many changes one history may log.
pub(crate) const CHANGES: usize = 6;
/// How many foreign transactions may be in progress at once.
pub(crate) const WRITERS: usize = 2;

/// The API of the container that belongs to the right key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    /// Not ready yet; it becomes ready without telling anybody.
    Starting,
    /// Ready.
    Ready,
    /// Was ready and will be again, and tells of neither.
    Hiccup,
}

/// The key in the watched row: only the right one gets an answer that is not 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The container's key.
    Right,
    /// Some other key.
    Wrong,
}

/// `auth_status`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    /// Not ready yet: look again later.
    Pending,
    /// Ready: final.
    ClientReady,
    /// Key rejected: final.
    Failed,
}

/// The truth about a key: what a probe with it sees now.
pub(crate) fn answer(key: Key, api: Api) -> Status {
    match (key, api) {
        (Key::Wrong, _) => Status::Failed,
        (Key::Right, Api::Ready) => Status::ClientReady,
        (Key::Right, Api::Starting | Api::Hiccup) => Status::Pending,
    }
}

/// The watched row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) status: Status,
}

/// Our row about the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    /// What the fence compares.
    pub(crate) version: u8,
    /// Ghost: which record this is, never confused with another one.
    pub(crate) record: u8,
    /// Whether the verdict is final.
    pub(crate) settled: bool,
}

/// Everything that the server keeps and that a crash can take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Db {
    pub(crate) row: Option<Row>,
    /// The table of the row is watched: whatever is written there is logged.
    pub(crate) watched: bool,
    pub(crate) instance: Option<Instance>,
    /// The changes in the log, one bit for each (their ids: `State::ids`).
    pub(crate) changes: u8,
    /// Those of them that are put off.
    pub(crate) put_off: u8,
    /// The sequence of the change log; what it gave to lost commits it gives again.
    pub(crate) next_id: u8,
    /// The leadership row.
    pub(crate) epoch: Option<u8>,
    /// Ghost: the last foreign write that this database has seen.
    pub(crate) writes: u8,
}

/// How far a run is. The record is two steps so that others can come between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Has read, has not asked yet.
    Reading,
    /// Has its verdict (`None`: the row was gone); the record is next, or on its way.
    Decided(Option<Status>),
    /// The record is through the gate, in the epoch of its read.
    Entered {
        verdict: Option<Status>,
        /// It passed the fence in a batch that failed since.
        fenced: bool,
    },
    /// The record has passed the fence and is not committed yet.
    Recording {
        verdict: Option<Status>,
        /// The status differs, so that the watched row is locked.
        writes: bool,
        /// Ghost: the fence let pass what no longer stood.
        stale: bool,
    },
}

/// One run, with all that it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) key: Option<Key>,
    pub(crate) seen: u8,
    pub(crate) version: Option<u8>,
    pub(crate) epoch: u8,
    pub(crate) stage: Stage,
    /// A log read has begun since, and passed the key over.
    pub(crate) passed_over: bool,
    /// Ghost: `Db::writes` when it read.
    pub(crate) writes: u8,
    /// Ghost: `Instance::record` when it read.
    pub(crate) record: Option<u8>,
}

impl Run {
    /// Whether its record is between its fence and its commit.
    pub(crate) fn is_recording(&self) -> bool {
        matches!(self.stage, Stage::Recording { .. })
    }

    /// Whether its record is a transaction that has begun.
    pub(crate) fn is_in_transaction(&self) -> bool {
        let waits_for_a_smaller_batch = matches!(self.stage, Stage::Entered { fenced: true, .. });
        self.is_recording()
            || (matches!(self.stage, Stage::Entered { .. }) && !waits_for_a_smaller_batch)
    }
}

/// A read that is on its way: its snapshot is taken, its answer has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    /// The key was asked for.
    pub(crate) asked: bool,
    /// The run that begins with the answer: of the key that was asked for, or that the log had.
    pub(crate) found: Option<Run>,
    pub(crate) log: Option<LogPart>,
    /// The epoch that its process held when it began.
    pub(crate) epoch: u8,
    /// The last id that the sequence had given, where the answer was on its way as the server crashed.
    pub(crate) last_id: Option<u8>,
}

/// What a read saw of the log, beside the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogPart {
    /// It took unread changes beyond this id.
    pub(crate) after: u8,
    /// The least id of these, whether their key was taken or is under way.
    pub(crate) first_unread: Option<u8>,
    /// The foreign transactions that were in progress in its snapshot, one bit for each; `None`:
    /// too many to be told.
    pub(crate) in_progress: Option<u8>,
    /// Somebody had rung before it began.
    pub(crate) rang: bool,
}

/// A process puts off what a run read and could not answer for; the server does so some time later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PutOff {
    /// The process that waits for it, in the term in which it asked.
    pub(crate) owner: Option<usize>,
    /// The ids of the changes, as bits.
    pub(crate) ids: u8,
    /// Ghost: which changes the run read.
    pub(crate) seen: u8,
    pub(crate) epoch: u8,
    /// It is through the gate, and not committed yet.
    pub(crate) entered: bool,
}

/// One daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Process {
    pub(crate) alive: bool,
    /// The ear session, as the number of its steps that are done.
    pub(crate) ear: Option<u8>,
    /// The epoch of its last take-over, which it holds even without an ear.
    pub(crate) epoch: Option<u8>,
    /// A NOTIFY on its way to the ear.
    pub(crate) ringing: bool,
    /// One that says that tables are to be listed.
    pub(crate) ringing_to_list: bool,
    /// Tables are to be listed.
    pub(crate) lists: bool,
    /// It knows the table of the row from the last list, and reads it.
    pub(crate) serves: bool,
    /// A log read is owed.
    pub(crate) owes_log: bool,
    /// Somebody has rung since the last log read began.
    pub(crate) rang: bool,
    /// The next read asks for the key.
    pub(crate) queued: bool,
    /// The backoff timer is armed.
    pub(crate) armed: bool,
    /// One read at a time.
    pub(crate) reading: Option<Reading>,
    pub(crate) run: Option<Run>,
    /// Where its next log read begins.
    pub(crate) horizon: Horizon,
    /// Has resynced once since it started.
    pub(crate) resynced: bool,
}

/// How much may still come from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    pub(crate) writes: u8,
    pub(crate) crashes: u8,
    pub(crate) kills: u8,
    pub(crate) ear_losses: u8,
    pub(crate) given_up: u8,
    pub(crate) hiccups: u8,
    /// Batches that fail because of another key.
    pub(crate) failures: u8,
    /// Looks that end without a verdict.
    pub(crate) deferred: u8,
    /// Reads that fail.
    pub(crate) failed_reads: u8,
    /// Reads that cannot tell which transactions are in progress.
    pub(crate) unlisted: u8,
    /// Foreign transactions that are rolled back.
    pub(crate) roll_backs: u8,
}

/// A whole situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) api: Api,
    pub(crate) db: Db,
    /// What a crash leaves: the database before the first commit that is going to be lost.
    pub(crate) doomed: Option<Db>,
    pub(crate) processes: [Process; PROCESSES],
    /// A record that the server still executes although its process gave up waiting or died.
    pub(crate) late: Option<Run>,
    /// What is being put off, by whomever, even if its process has died.
    pub(crate) put_off: Option<PutOff>,
    /// The foreign transactions that are in progress, the older one first.
    pub(crate) open: [Option<Writer>; WRITERS],
    /// One more than the newest foreign transaction that has ended, where a flaw asks for it.
    pub(crate) ended: u8,
    /// The id that each change got from the sequence.
    pub(crate) ids: [u8; CHANGES],
    /// Ghost: how many foreign writes have begun, lost ones included.
    pub(crate) written: u8,
    pub(crate) left: Budget,
}

impl State {
    /// The ids of a set of changes, as bits.
    pub(crate) fn ids_of(&self, changes: u8) -> u8 {
        self.bits(changes)
            .fold(0, |ids, change| ids | 1 << self.ids[change])
    }

    /// The changes in the log that carry one of these ids.
    pub(crate) fn changes_with(&self, ids: u8) -> u8 {
        let log = self.db.changes;
        self.bits(log)
            .filter(|change| ids & (1 << self.ids[*change]) != 0)
            .fold(0, |set, change| set | 1 << change)
    }

    fn bits(&self, set: u8) -> impl Iterator<Item = usize> + use<> {
        (0..CHANGES).filter(move |bit| set & (1 << bit) != 0)
    }

    /// The unread changes in the log beyond an id.
    pub(crate) fn unread(&self, after: u8) -> u8 {
        self.bits(self.db.changes & !self.db.put_off)
            .filter(|change| self.ids[*change] > after)
            .fold(0, |set, change| set | 1 << change)
    }

    /// The least id of a set of changes.
    pub(crate) fn least_id(&self, changes: u8) -> Option<u8> {
        self.bits(changes).map(|change| self.ids[change]).min()
    }

    /// The last id that the sequence of the log gave out, 0 before the first.
    pub(crate) fn last_id(&self) -> u8 {
        self.db.next_id - 1
    }

    /// The runs of the processes, those that begin with the answer to a read included.
    fn held_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs().chain(
            self.processes
                .iter()
                .filter_map(|process| process.reading.as_ref()?.found.as_ref()),
        )
    }

    /// Every run that can still record, with the late one.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.processes
            .iter()
            .filter_map(|process| process.run.as_ref())
            .chain(self.late.as_ref())
    }

    /// The two databases that may yet be the real one.
    fn databases(&self) -> impl Iterator<Item = &Db> {
        std::iter::once(&self.db).chain(self.doomed.as_ref())
    }

    /// A name that nobody holds: a random one would never meet a name that somebody does.
    pub(crate) fn fresh_record(&self) -> u8 {
        let of_instances = self
            .databases()
            .filter_map(|db| db.instance.map(|instance| instance.record));
        unused(of_instances.chain(self.held_runs().filter_map(|run| run.record)))
    }

    /// Like [`State::fresh_record`], for epochs.
    pub(crate) fn fresh_epoch(&self) -> u8 {
        let held = self.processes.iter().filter_map(|process| process.epoch);
        let stored = self.databases().filter_map(|db| db.epoch);
        let reads = self
            .processes
            .iter()
            .filter_map(|process| Some(process.reading?.epoch));
        let of_runs = self.held_runs().map(|run| run.epoch);
        let of_put_off = self.put_off.map(|put_off| put_off.epoch);
        unused(
            held.chain(stored)
                .chain(reads)
                .chain(of_runs)
                .chain(of_put_off),
        )
    }
}

fn unused(taken: impl Iterator<Item = u8>) -> u8 {
    let taken = taken.fold(0_u32, |set, name| set | 1 << name);
    u8::try_from(taken.trailing_ones()).unwrap_or(u8::MAX)
}
