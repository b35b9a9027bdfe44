//! What the controller has the shell do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::input::{ChangeSet, EngineStatus, Failure, Fault, Hindrance};
use crate::answer::Shortage;
use crate::container::Listed;
use crate::instance::Key;
use crate::queue::Wake;
use crate::witness::Known;

/// A session of the server: its process, and its start.
pub type Session = (i32, DateTime<Utc>);

/// What is to be done. None of it is waited for: what comes of it is an [input](super::Input) later.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// After this pause connect a listener, check the schema, and ask for the lock. Comes back as
    /// [`Led`](super::Input::Led), [`StandsBy`](super::Input::StandsBy) or [`NotLed`](super::Input::NotLed).
    Connect {
        /// How long to wait before.
        after: Duration,
    },
    /// Wait for the lock once more, for a bounded time. Comes back as the same.
    WaitForLock,
    /// Ring for the process that leads: if it lives, it reads the log.
    RingLeader,
    /// End the session of the process that leads and does not move.
    Depose {
        /// That session.
        leader: Session,
        /// It was not tried before, so that it is to be said if it cannot be.
        news: bool,
    },
    /// Close the listener, and with it the session and its lock. What it heard and nobody has fetched is told at once.
    Leave {
        /// Its session may live on at the server, and is to be ended there.
        end_session: bool,
    },
    /// Reconcile one instance. Comes back as [`Reconciled`](super::Input::Reconciled).
    Reconcile(Box<Task>),
    /// Have this reconciliation end its probe without an answer. It still comes back.
    EndProbe {
        /// The instance.
        key: Key,
        /// Why, and with it how soon.
        stop: Stop,
    },
    /// Somebody else may have written the status since this reconciliation read it.
    Overwritten {
        /// The instance.
        key: Key,
    },
    /// Follow the output of a container, and tell what is heard of it.
    Follow {
        /// The instance.
        key: Key,
        /// Number of this follower, to be told with its end.
        serial: u64,
        /// The container.
        container: String,
        /// Lines that hold this are counted for themselves.
        path: &'static str,
    },
    /// Follow it no longer.
    Unfollow {
        /// The instance.
        key: Key,
    },
    /// Do this for the term with this epoch. Comes back as [`Done`](super::Input::Done).
    Do {
        /// The epoch.
        epoch: Uuid,
        /// What.
        work: Work,
    },
    /// Say this to the operator.
    Say(Notice),
    /// End the process.
    End(Ending),
}

/// One reconciliation.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The instance.
    pub key: Key,
    /// The epoch of the term.
    pub epoch: Uuid,
    /// Why it is looked at, and since when it waits.
    pub wake: Wake,
    /// What is known of our own way to the APIs.
    pub known: Known,
    /// What the one before it has read and not answered for.
    pub before: Option<ChangeSet>,
    /// The container whose output leads to looks at the moment.
    pub followed: Option<String>,
}

/// Why a probe is to end without an answer. Of two the greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// A first look waits for its slot: once the API has had its time.
    GiveWay,
    /// Something was told that it may never see: at once.
    GiveUp,
    /// Something happened to the container: at once, and what was seen and answered is worth nothing.
    Overtaken,
}

/// What a term has done in the database, beside the reconciliations.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Read the change log, and whatever else is wanted.
    Scan(Wanted),
    /// Hear an echo, and see what is the matter with the watched tables.
    Echo,
    /// Compare what the engine lists with what was recorded.
    Compare(Vec<(Uuid, Listed)>),
    /// Do a piece of each work that is owed.
    WorkOff,
    /// Find a few instances that count as ready.
    FindReady,
    /// Note whether the engine is seen; `None` where none is asked.
    NoteEngine(Option<EngineStatus>),
    /// Note what keeps this process from knowing.
    NoteTrouble(Note),
}

/// What a scan is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Besides what is in the log, what was not recorded as final: after a gap in hearing.
    pub unsettled: bool,
    /// Everything.
    pub every_row: bool,
}

/// What the database is to be told of one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its word in the view `problems`.
    pub problem: &'static str,
    /// What it is; `None` if it has ended.
    pub trouble: Option<Trouble>,
}

/// Something that keeps this process from knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Instances cannot be asked, for want of these.
    NotAsked(Vec<Shortage>),
    /// Our own way to the APIs is doubted. Where the last one was asked and what came of it.
    Doubt {
        /// In words.
        tried: String,
    },
    /// The same, for so long that silence is believed.
    Believed,
}

/// Something that an operator is told. Whether it was said before is the controller's to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Another process leads.
    StandingBy,
    /// Still so.
    StillStandingBy,
    /// Somebody who is no daemon holds the lock.
    ForeignLock(String),
    /// The leader's session is ended.
    Deposing(Session),
    /// There is no listener.
    NoListener {
        /// Why.
        failure: Failure,
        /// After what time it is tried again.
        retry_in: Duration,
        /// No try has failed like this for a while.
        news: bool,
    },
    /// There is one again, after so many tries that failed.
    ListenerAgain(u32),
    /// The listener was lost.
    ListenerLost {
        /// Why.
        why: String,
        /// After what time another one is made.
        retry_in: Duration,
        /// The term has served, or none was lost like this for a while.
        news: bool,
    },
    /// The first scan of a term has found so many.
    Serving(usize),
    /// A later one has.
    Scanned(usize),
    /// Nothing is written any more, as nobody answers; asked last like this.
    Doubt(String),
    /// Silence of so many is believed, as the doubt has lasted so long.
    Believed(usize),
    /// Somebody answers; so many are looked at for it.
    DoubtOver(usize),
    /// Nobody is silent any more.
    NobodySilent,
    /// Instances cannot be asked for want of this.
    NotAsked {
        /// What is short.
        shortage: Shortage,
        /// It was not so a while ago.
        news: bool,
    },
    /// All were asked.
    AllAsked,
    /// Somebody holds what a reconciliation needs.
    Busy(Key, Failure),
    /// A reconciliation failed.
    ReconcileFailed {
        /// The instance.
        key: Key,
        /// How.
        failure: Failure,
        /// No other has failed like this for a while.
        news: bool,
    },
    /// Something that is owed could not be done, and is tried again with the next echo.
    Hindered {
        /// What was in its way.
        hindrance: Hindrance,
        /// It was not so a while ago.
        news: bool,
    },
    /// A watched table or our schema is not as it was.
    Fault(Fault),
    /// It is again.
    FaultOver(Fault),
    /// The output of a container cannot be followed.
    Unreadable {
        /// The instance.
        key: Key,
        /// Why.
        why: String,
        /// It is the first such container.
        first: bool,
    },
}

/// Why the process ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It could not start.
    NotStarted(Failure),
    /// It cannot go on.
    CannotGoOn {
        /// What the operator is to do.
        advice: &'static str,
        /// What it met.
        failure: Failure,
    },
}
