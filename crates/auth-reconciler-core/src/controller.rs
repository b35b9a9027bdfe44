//! Decides what the daemon does: what happens and the time go in, what is to be done comes out.
//!
//! [`Controller::handle`] takes one [`Input`]. [`Controller::next`] is then called until it returns nothing: each
//! [`Command`] is carried out as it comes, and what comes of it is an input later. [`Controller::deadline`] says when
//! `next` has something although nothing happens until then. The shell holds the connections and tasks; it decides
//! nothing.
//!
//! ```text
//!                       Led                        ┌──────────────────────────────────────┐
//!   ┌────────────┐ ───────────────────────────────▶│ leading: a term with its own epoch   │
//!   │ connecting │                                 │   scan · echo · compare · note       │
//!   └────────────┘ ◀───────────────────────────────│   reconcile, probes that are ended   │
//!     ▲  │     ▲     Leave: listener lost or deaf, │   followers                          │
//!     │  │     │     epoch ended, a scan failed    └──────────────────────────────────────┘
//!     │  │     └─ NotLed: the pause grows            ▲
//!     │  │ StandsBy                                  │ Led
//!     │  ▼                                           │
//!   ┌─────────────┐ ─────────────────────────────────┘
//!   │ standing by │◀─┐ StandsBy: wait for the lock again, ring for a leader that does not move, end its session
//!   └─────────────┘──┘
//! ```
//!
//! Guarantees, whatever the order of inputs:
//!
//! * work of a term is dropped when it comes back in a later one: the scan of that one covers it. Reconciliations
//!   go on over the end of a term, one per key at a time; what they record is refused if another process has
//!   taken over;
//! * the end of a term forgets what was queued, and nothing else: its successor begins with a scan that finds all of
//!   it in the database. What no scan finds (a look at every row that is owed because a change could not be
//!   logged) is kept over the end;
//! * of scans, comparisons, echoes, notes and rounds of what is owed one each is under way; what is wanted meanwhile
//!   follows it;
//! * the first looks of a term wait for the engine's first answer, and no longer than [`FIRST_SIGHT`];
//! * what is told to the operator once is told once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use crate::Cause;
use crate::backoff::Backoff;
use crate::chance::Chance;
use crate::follow::{self, Followers};
use crate::instance::Key;
use crate::queue::{self, Claim, Moment, Queue};
use crate::rings::Rings;
use crate::verdict::Policy;
use crate::witness::Witnesses;

mod batch;
mod bell;
mod command;
mod doubt;
mod engine;
mod faults;
mod horizon;
mod input;
mod log;
mod notified;
mod output;
mod phase;
mod reading;
mod reconciled;
mod recording;
mod records;
mod run;
mod steps;
mod term;
mod troubles;
mod work;

#[cfg(test)]
mod tests;

pub use command::{
    Command, Ending, Note, Notice, Probe, Said, Session, Stop, Trouble, Wanted, Work,
};
pub use engine::FIRST_SIGHT;
pub use input::{
    Backlog, ChangeSet, Done, Echo, EngineNews, EngineStatus, Failure, FailureKind, Fault,
    FollowerEnded, Hindrance, Input, Inspected, Notified, Probed, Round, Sight, Sounds,
};
pub use reading::{LogRead, LogSeen, ReadBatch, Taken, TakenInstance};

use batch::Batches;
use input::{Outcome, Output, Reconciled};
use log::Log;
use phase::Phase;
use records::Records;
use run::Run;
use troubles::Troubles;

/// Steps between tries to get a connection.
pub const RECONNECT: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(15),
};

/// Most instances that are read at once.
const MOST_READ: usize = 256;

/// What the controller is started with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bounds of the queue.
    pub limits: queue::Limits,
    /// Bounds of following output.
    pub follow: follow::Limits,
    /// Time between echoes.
    pub echo_interval: Duration,
    /// Settings of the decision.
    pub policy: Policy,
    /// Whether an engine is asked.
    pub has_engine: bool,
    /// Batches of records at once: one, and those beside it that take long.
    pub record_lanes: usize,
    /// Where chance begins.
    pub seed: u64,
}

/// The controller. See the module for what it guarantees.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    chance: Chance,
    phase: Phase,
    /// Whether this process has led before; from then on a failure to connect is retried for ever.
    has_led: bool,
    /// Whether another process led when this one was last told who does.
    stood_by: bool,
    /// Terms in a row that ended, or did not begin, before a scan was done.
    failures: u32,
    /// Tries in a row to get a listener that failed.
    tries: u32,
    queue: Queue<Key>,
    /// Reconciliations under way, of whatever term.
    running: BTreeMap<Key, Run>,
    /// Who waits to be read, and the batch of reads under way.
    reads: Batches<Key>,
    /// What waits to be recorded, and the batches of records under way.
    records: Records,
    followers: Followers<Key>,
    /// Number of the follower of each.
    following: HashMap<Key, u64>,
    serial: u64,
    /// It was said that the output of some container cannot be followed.
    said_unreadable: bool,
    /// Transient failures in a row, by those that had the last.
    transient: HashMap<Key, u32>,
    troubles: Troubles,
    /// Whether silence is theirs or ours.
    witnesses: Witnesses<Key>,
    /// A change could not be logged: every row is to be looked at, until looks at all rows are owed.
    every_row: bool,
    /// What rang and is not heeded yet.
    rings: Rings,
    /// With the next echo it is to be seen whether changes could not be logged.
    uncounted: bool,
    /// The change log, as far as this term knows it.
    log: Log,
    /// What was told of watched tables that are not as they were; what their triggers missed is in no log.
    faults: Vec<Fault>,
    /// Nothing new begins any more.
    stopping: bool,
    /// What was decided and not fetched yet.
    out: VecDeque<Command>,
}

impl Controller {
    /// A process that has just started: it is about to connect.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let connect = Command::Connect {
            after: Duration::ZERO,
        };
        Self {
            settings,
            chance: Chance::seeded(settings.seed),
            phase: Phase::Connecting,
            has_led: false,
            stood_by: false,
            failures: 0,
            tries: 0,
            queue: Queue::new(settings.limits),
            running: BTreeMap::new(),
            reads: Batches::default(),
            records: Records::with_lanes(settings.record_lanes),
            followers: Followers::new(settings.follow),
            following: HashMap::new(),
            serial: 0,
            said_unreadable: false,
            transient: HashMap::new(),
            troubles: Troubles::default(),
            witnesses: Witnesses::believing_after(settings.policy.believe_silence_after),
            every_row: false,
            rings: Rings::default(),
            uncounted: false,
            log: Log::default(),
            faults: Vec::new(),
            stopping: false,
            out: VecDeque::from([connect]),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Led {
                epoch,
                tables,
                has_sleeper_lock,
            } => self.led(epoch, tables, has_sleeper_lock, now),
            Input::StandsBy(sight) => self.stands_by(sight, now),
            Input::NotLed(failure) => self.not_led(failure, now),
            Input::Notified(notified) => self.notified(notified, now),
            Input::Engine(news) => self.engine_news(news, now),
            Input::Sounds(sounds) => self.hear(sounds),
            Input::PutOff(result) => self.was_put_off(result, now),
            Input::Stop => self.stopping = true,
            Input::Read(read) => self.read(read, now),
            Input::Inspected(inspected) => self.inspected(*inspected, now),
            Input::Probed(probed) => self.probed(*probed, now),
            Input::Recorded {
                recordings,
                transactions,
            } => self.recorded(recordings, &transactions, now),
            Input::Done { epoch, done } => {
                self.keep_what_no_scan_finds(&done);
                if self.leads(epoch) {
                    self.done(done, now);
                }
            }
        }
    }

    /// The next thing to do at `now`, if there is one. Call it until it returns `None`.
    pub fn next(&mut self, now: Moment) -> Option<Command> {
        loop {
            if let Some(command) = self.out.pop_front() {
                return Some(command);
            }
            if self.stopping {
                return self.next_batch(now);
            }
            if let Some(command) = self.next_follower(now) {
                return Some(command);
            }
            self.ask_canaries(now);
            self.heed_rings(now);
            self.log.end_rest(now);
            self.begin_what_is_due(now);
            let command = self.next_work(now).or_else(|| self.next_batch(now));
            if command.is_some() {
                return command;
            }
            // The canaries may have had something to say.
            if self.out.is_empty() {
                return None;
            }
        }
    }

    /// When [`Controller::next`] has something to do though nothing happens until then.
    #[must_use]
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let Phase::Leading(term) = &self.phase else {
            return None;
        };
        // While the first looks wait, the queue has nothing to do.
        let held = term.engine.held_until(now);
        let all = [
            held.or_else(|| self.queue.deadline(self.claim())),
            self.followers.deadline(),
            self.witnesses.deadline(),
            self.rings.deadline(),
            self.log.deadline(),
            self.records.deadline(now),
            self.bell_deadline(now),
            term.echo_due,
        ];
        all.into_iter().flatten().min()
    }

    /// Reconciliations that the queue has begun and that have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.queue.running()
    }

    /// Instances of which something happens by the clock.
    #[must_use]
    pub fn armed(&self) -> usize {
        self.queue.armed()
    }

    /// Whether our own way to the APIs is doubted.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        self.witnesses.in_doubt()
    }

    /// Begins whatever reconciliation may begin now, or has others give way to it.
    fn begin_what_is_due(&mut self, now: Moment) {
        let Phase::Leading(term) = &self.phase else {
            return;
        };
        if term.engine.held_until(now).is_some() {
            return;
        }
        let epoch = term.epoch;
        let claim = self.claim();
        while let Some(command) = self.queue.next(claim, now) {
            match command {
                queue::Command::Start { key, wake } => self.begin(key, wake, epoch, now),
                queue::Command::GiveWay { key } => self.give_way(key, now),
            }
        }
    }

    /// The next batch of those that wait for one.
    fn next_batch(&mut self, now: Moment) -> Option<Command> {
        if let Some(proposals) = self.begin_record(now) {
            return Some(Command::Record(proposals));
        }
        if let Some(put_off) = self.begin_put_off() {
            return Some(put_off);
        }
        let batch = self.reads.may_begin()?;
        let log = if self.stopping {
            None
        } else {
            self.begin_log_read(batch, now)
        };
        let keys = self
            .reads
            .begin_with(log.is_some(), |waiting| waiting.len().min(MOST_READ))?;
        Some(Command::Read { batch, keys, log })
    }

    /// What the log asks of the queue.
    fn claim(&self) -> Claim {
        self.log.claim(self.settings.limits.slots)
    }

    /// Looks at an instance, if its table is served.
    fn wake(&mut self, key: Key, cause: Cause, now: Moment) {
        if self.serves(&key) {
            self.queue.wake(key, cause, now);
        }
    }

    fn serves(&self, key: &Key) -> bool {
        self.tables()
            .is_some_and(|all| all.contains(&key.watched_id))
    }

    fn tables(&self) -> Option<&BTreeSet<i32>> {
        match &self.phase {
            Phase::Leading(term) => Some(&term.tables),
            Phase::Connecting | Phase::StandingBy(_) => None,
        }
    }

    fn leads(&self, epoch: Uuid) -> bool {
        matches!(&self.phase, Phase::Leading(term) if term.epoch == epoch)
    }

    fn say(&mut self, notice: Notice) {
        self.out.push_back(Command::Say(notice));
    }
}
