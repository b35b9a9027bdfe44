//! What the shell tells the controller.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use uuid::Uuid;

use super::command::Wanted;
use super::reading::ReadBatch;
use crate::answer::Shortage;
use crate::container::{Container, Listed, Sighting};
use crate::facts::Facts;
use crate::follow::{Life, Sound};
use crate::instance::Key;
use crate::profile::Profile;
use crate::queue::Moment;
use crate::record::{Recording, Transaction};
use crate::witness::{Known, Reading, Word};
use crate::{Answer, Cause, standby};

/// Something that happened. Whatever a [command](super::Command) asked for comes back as one of these, once.
#[derive(Debug)]
pub enum Input {
    /// A connection listens and holds the lock: a term has begun.
    Led {
        /// The epoch of the term, by which its work is told from that of any other.
        epoch: Uuid,
        /// Numbers of the watched tables.
        tables: BTreeSet<i32>,
        /// Its session has the lock by which everybody rings for it.
        has_sleeper_lock: bool,
    },
    /// Another process holds the lock.
    StandsBy(Sight),
    /// This process does not lead, and stands by no longer.
    NotLed(Failure),
    /// The listener was notified.
    Notified(Notified),
    /// Something was seen of the engine.
    Engine(EngineNews),
    /// What containers wrote, and what the probes met that may be the cause of it.
    Sounds(Sounds),
    /// A batch was read.
    Read(ReadBatch),
    /// The engine was asked for a container.
    Inspected(Box<Inspected>),
    /// A probe has ended. Sounds that came before its end are to be told before it.
    Probed(Box<Probed>),
    /// A batch was recorded. Sounds that came before are to be told before it.
    Recorded {
        /// What became of each proposal.
        recordings: Vec<(Key, Result<Recording, Failure>)>,
        /// Its transactions that have locked watched rows.
        transactions: Vec<Transaction>,
    },
    /// Changes were put off. False: another epoch has begun, and nothing was done.
    PutOff(Result<bool, Failure>),
    /// The process is to end: what is under way goes on to its end, and nothing new begins.
    Stop,
    /// Work of a term has ended.
    Done {
        /// The epoch of the term that it was done for.
        epoch: Uuid,
        /// What came of it.
        done: Done,
    },
}

/// A failure, as far as it matters what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed, in words, with its causes.
    pub error: String,
    /// What the operator is to do, if it is known.
    pub advice: Option<&'static str>,
    /// What may be expected of another try.
    pub kind: FailureKind,
}

/// What may be expected of another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Somebody holds what was needed.
    Busy,
    /// The table is not there.
    NoTable,
    /// The server answered, and would refuse the same again at once.
    Refused,
    /// It lies on the way to the server, and may be gone in a moment.
    Passing,
    /// Nobody knows. Before this process has ever led it is taken for a mistake in the settings, later it is retried.
    Unclear,
    /// No retry mends it; this does.
    Final(&'static str),
}

/// What a process that stands by saw since it last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Who holds the lock and is no daemon, in words; `None` where that could not be seen.
    pub foreign: Option<Vec<String>>,
    /// The process that leads, if one does; `None` where that was not looked at, or could not be seen.
    pub leader: Option<Option<standby::Seen>>,
}

/// One emptying of what the listener heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// There may be something new in the change log.
    pub rang: bool,
    /// The first instances of the transactions that rang, as far as they told.
    pub hints: BTreeSet<Key>,
    /// List the watched tables anew.
    pub scan: bool,
    /// Look at everything: a change could not be logged.
    pub resync: bool,
    /// The connection has ended, and why.
    pub lost: Option<String>,
}

/// Whether the engine is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineStatus {
    /// Its events arrive.
    InSight,
    /// They do not; why, and what to do.
    OutOfSight(String),
}

/// One emptying of what was seen of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNews {
    /// Instances to whose containers something happened, each with its greatest cause.
    pub instances: HashMap<Uuid, Cause>,
    /// Whether the engine came into sight or went out of it.
    pub status: Option<EngineStatus>,
    /// All containers, right after the engine came into sight.
    pub list: Option<Vec<(Uuid, Listed)>>,
    /// What containers wrote, and what the probes met.
    pub sounds: Sounds,
    /// Followers that have ended by themselves.
    pub ended: Vec<FollowerEnded>,
}

/// Per instance, in the order of time. What is said in a row is one.
pub type Sounds = HashMap<Key, Vec<(Moment, Sound)>>;

/// The end of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerEnded {
    /// The instance.
    pub key: Key,
    /// Number of the follower.
    pub serial: u64,
    /// The engine cannot read this container's output at all, and why.
    pub unreadable: Option<String>,
}

/// What the engine shows of the container of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The instance.
    pub key: Key,
    /// State of the container.
    pub container: Container,
    /// What is to be recorded.
    pub sighting: Option<Sighting>,
    /// Its address in its network.
    pub address: Option<IpAddr>,
    /// Whether the engine has ever shown a container of ours.
    pub has_shown_ours: bool,
    /// The engine is in sight and did not answer this question: it is to be asked again.
    pub unanswered: bool,
}

/// The end of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The instance.
    pub key: Key,
    /// What came of it; `None` if it was ended without an answer.
    pub answer: Option<Answer>,
    /// When it ended.
    pub at: Moment,
    /// Where the instance was asked and what came of it, in words.
    pub tried: String,
}

/// The end of a reconciliation.
#[derive(Debug)]
pub(super) struct Reconciled {
    pub(super) key: Key,
    /// The term in which it began; it may have ended since.
    pub(super) epoch: Uuid,
    /// What was known of our own way when it began.
    pub(super) known: Known,
    /// The database's time and ours, as it read them.
    pub(super) clocks: Option<Reading>,
    /// What its API said that is of weight for others, and when: the record of it may take long, and the way may be lost
    /// meanwhile.
    pub(super) word: Option<(Word, Moment)>,
    /// How it ended.
    pub(super) outcome: Outcome,
}

/// The changes that were read, told from any other set of them: ids are never used again, and none is answered for
/// without the others that were read with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    count: usize,
    last: i64,
}

impl ChangeSet {
    /// Of changes with these ids, in their order.
    #[must_use]
    pub fn of(ids: &[i64]) -> Self {
        Self {
            count: ids.len(),
            last: ids.last().copied().unwrap_or_default(),
        }
    }
}

/// How a reconciliation ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Recorded, and final.
    Final,
    /// The same, as it is ready: what its container says is heard where there is a place for that.
    Ready(Output),
    /// Look again after this time.
    Again {
        /// After what time.
        after: Moment,
        /// Whether foreign writes wait until then.
        hold_drift: bool,
        /// Whether others are to be asked, so that the silence of this one can be told from ours.
        wants_witness: bool,
        /// The container whose output is to be followed meanwhile.
        follow: Option<Output>,
        /// The engine did not show the container, which may have ended: sooner, with backoff of its own.
        unsure: bool,
    },
    /// Something came in between; look again at once.
    Overtaken,
    /// Not recorded, for a reason that may pass: look again with backoff.
    Transient,
    /// Recorded, and final as far as is known, but the engine did not show the container: look again with
    /// backoff.
    Unsure,
    /// The API could not be asked, for want of something of ours: nothing is recorded, look again later.
    NotAsked(Shortage),
    /// Neither this API nor any other that could be a witness answers: nothing is recorded until one does. Where it
    /// was asked and what came of it, in words.
    Doubted(String),
    /// The table is not known here: list the watched tables anew.
    UnknownTable,
    /// The database refused because another epoch has begun.
    EpochEnded,
    /// The database failed. Nothing is lost by it: the changes are still in the log.
    Failed(Failure),
}

/// Whose output is to be followed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Output {
    /// The container and its start: the process whose output it is.
    pub(super) life: Life,
    /// How it is asked.
    pub(super) profile: &'static Profile,
}

impl Output {
    /// That of the container that these facts are of, if it runs.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let seen = facts
            .sighting
            .as_ref()
            .filter(|_| facts.container == Container::Running)?;
        let provider = facts.row.as_ref()?.provider.as_deref();
        Some(Self {
            life: Life {
                container: seen.id.clone(),
                started_at: seen.started_at,
            },
            profile: Profile::of(provider)?,
        })
    }
}

/// What was found out with an echo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The matter with the watched tables.
    pub faults: Vec<Fault>,
    /// The last id of the change log that was drawn when it was sent, whether or not its change is committed.
    pub last_id: i64,
}

/// What came of the work of a term; see [`Work`](super::Work).
#[derive(Debug)]
pub enum Done {
    /// The change log was read.
    Scanned {
        /// What was to be found.
        wanted: Wanted,
        /// What was found.
        result: Result<Backlog, Failure>,
    },
    /// The listener heard its echo, and this was found out beside it; or why it did not hear it.
    Echoed(Result<Echo, String>),
    /// Instances whose containers are not as they were recorded.
    Compared(Result<Vec<Key>, Failure>),
    /// A piece of each work that is owed was done, as far as that could be.
    WorkedOff(Round),
    /// Instances that count as ready; `None` if that could not be found out.
    FoundReady(Option<Vec<Key>>),
    /// Whether the database was told what is seen of the engine.
    NotedEngine(bool),
    /// Whether the database was told what keeps us from knowing.
    NotedTrouble(bool),
    /// Whether nobody rings from now on.
    Hushed(Result<bool, Failure>),
    /// Whoever commits from now on rings; false: only until somebody else gives the sleeper's lock back.
    Resounds(Result<bool, Failure>),
    /// Whether all have committed who wrote in silence.
    Awaited(Result<bool, Failure>),
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Numbers of the tables that are served.
    pub tables: BTreeSet<i32>,
    /// What keeps us from seeing some of it; asked for after a gap in hearing, where a table is left
    /// out, and with every echo.
    pub faults: Vec<Fault>,
    /// Every key that must be looked at.
    pub keys: Vec<(Key, Cause)>,
    /// Looks at every row are owed from here on.
    pub owed: bool,
    /// Why they are not, where they were wanted.
    pub unqueued: Option<Failure>,
    /// Changes were counted that could not be logged, and every row was not wanted.
    pub unlogged: bool,
    /// The same may be so when transactions that run now have ended.
    pub waits: bool,
}

/// What a round of the work that is owed did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Rows that must be looked at.
    pub keys: Vec<Key>,
    /// There is more to do at once.
    pub more: bool,
    /// There is more to do, but not now.
    pub later: bool,
    /// What was in the way of it, but that somebody has locked a table for a moment.
    pub hindered: Vec<Hindrance>,
}

/// Why something that is owed is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is not known what is owed.
    Unlisted(Failure),
    /// A piece of it failed.
    Undone(Failure),
    /// Changes of its rows could not be logged; why, in words.
    Unlogged(String),
}

impl Hindrance {
    /// Why changes could not be logged, if that is it.
    pub(super) fn unlogged(&self) -> Option<&str> {
        matches!(self, Self::Unlogged(_)).then(|| self.error())
    }

    /// What failed, in words.
    pub(super) fn error(&self) -> &str {
        match self {
            Self::Unlisted(failure) | Self::Undone(failure) => &failure.error,
            Self::Unlogged(error) => error,
        }
    }
}

/// Something that keeps us from seeing a table as it was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In one word of a closed list.
    pub problem: String,
    /// In words, with the name of the table and the remedy.
    pub why: String,
}
