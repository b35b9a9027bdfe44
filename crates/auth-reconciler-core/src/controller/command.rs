//! What the controller has the shell do.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::input::{EngineStatus, Failure, Fault, Hindrance};
use super::reading::LogRead;
use crate::answer::Shortage;
use crate::container::{Container, Listed, Sighting};
use crate::instance::Key;
use crate::key::ApiKey;
use crate::profile::Profile;
use crate::record::{Proposal, Recording};
use crate::{AuthStatus, Cause, Reason};

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
        /// The leader's session at the server.
        leader: Session,
        /// It was not tried before, so that it is to be said if it cannot be.
        news: bool,
    },
    /// Close the listener, and with it the session and its lock. What it heard and nobody has fetched is told at once.
    Leave {
        /// Its session may live on at the server, and is to be ended there.
        end_session: bool,
    },
    /// Read instances afresh. Comes back as [`Read`](super::Input::Read) with the number of the batch; there is one at a
    /// time.
    Read {
        /// Number of the batch.
        batch: u64,
        /// Those that are asked for; none is twice in it.
        keys: Vec<Key>,
        /// What the change log is to add to them.
        log: Option<LogRead>,
    },
    /// Ask the engine for the container of an instance. Comes back as [`Inspected`](super::Input::Inspected).
    Inspect {
        /// The instance whose container it is.
        key: Key,
        /// What was recorded of it.
        recorded: Option<Sighting>,
    },
    /// Ask an API. Comes back as [`Probed`](super::Input::Probed).
    Probe(Box<Probe>),
    /// Have this probe end without an answer. It still comes back.
    EndProbe {
        /// The instance that is being asked.
        key: Key,
        /// Why, and with it how soon.
        stop: Stop,
    },
    /// Record these behind the fence. Comes back as [`Recorded`](super::Input::Recorded); there is one batch at a time.
    Record(Vec<Proposal>),
    /// Note that these changes were read and not answered for, as the process of this epoch: the log brings them no more
    /// while it leads. Comes back as [`PutOff`](super::Input::PutOff); there is one batch at a time.
    PutOff {
        /// The epoch of the term in which they were read.
        epoch: Uuid,
        /// Ids of the changes.
        changes: Vec<i64>,
    },
    /// Follow the output of a container, and tell what is heard of it.
    Follow {
        /// The instance.
        key: Key,
        /// Number of this follower, to be told with its end.
        serial: u64,
        /// Id of the container.
        container: String,
        /// Lines that hold this are counted for themselves.
        path: &'static str,
    },
    /// Follow the output of this instance's container no longer.
    Unfollow {
        /// The instance.
        key: Key,
    },
    /// Do this for the term with this epoch. Comes back as [`Done`](super::Input::Done).
    Do {
        /// The epoch of that term.
        epoch: Uuid,
        /// What is to be done.
        work: Work,
    },
    /// Say this to the operator.
    Say(Notice),
    /// End the process.
    End(Ending),
}

/// One request to the API of one instance, with all that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The instance.
    pub key: Key,
    /// Port of its API.
    pub port: u16,
    /// How it is asked.
    pub profile: &'static Profile,
    /// What it is asked with.
    pub api_key: ApiKey,
    /// Address of its container in its network, if that is known.
    pub address: Option<IpAddr>,
    /// What is known of its container.
    pub container: Container,
    /// It is to end without an answer from the beginning, at the latest once the API has had its time.
    pub stop: Option<Stop>,
}

/// Why a probe is to end without an answer. Of two the greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// A first look waits for its slot: once the API has had its time.
    GiveWay,
    /// Something was told that it may never see: at once.
    GiveUp,
    /// Somebody else wrote over a failure that was established: at once, and it is put back first.
    Overwritten,
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
    /// Have nobody ring who writes, if that can be had now. For the session that listens.
    Hush,
    /// Have everybody ring again. For the same session.
    Resound,
    /// Wait a while for those who have written in silence. For another session.
    AwaitSilent,
}

/// What a scan is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What was not recorded as final: after a gap in hearing.
    pub unsettled: bool,
    /// What of the log was put off, where this process does not remember it: after a gap in hearing, and of tables that were
    /// not served.
    pub put_off: bool,
    /// Every row of the tables that are served.
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
        /// Address and outcome of the last try, in words.
        tried: String,
    },
    /// The same, for so long that silence is believed.
    Believed,
    /// The change log takes no changes, and why.
    LogRefuses(String),
}

/// Something that an operator is told. Whether it was said before is the controller's to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Another process leads.
    StandingBy,
    /// Another process leads, as it was said before.
    StillStandingBy,
    /// Somebody who is no daemon holds the lock.
    ForeignLock(String),
    /// The leader's session is ended.
    Deposing(Session),
    /// There is no listener.
    NoListener {
        /// Why none could be made.
        failure: Failure,
        /// After what time it is tried again.
        retry_in: Duration,
        /// No try has failed like this for a while.
        news: bool,
        /// Another process led when this one was last told who does, so changes may well be answered for.
        stood_by: bool,
    },
    /// There is a listener again, after so many tries that failed.
    ListenerAgain(u32),
    /// The listener was lost.
    ListenerLost {
        /// Why it was lost.
        why: String,
        /// After what time another one is made.
        retry_in: Duration,
        /// The term has served, or none was lost like this for a while.
        news: bool,
    },
    /// The first scan of a term has found so many.
    Serving(usize),
    /// A later scan of a term has found so many.
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
    /// A row was read for its reconciliation.
    ReadFresh {
        /// The instance whose row was read.
        key: Key,
        /// Number of its last change, ever.
        generation: i64,
        /// Whether it can be asked.
        has_api_key: bool,
        /// Why it was read.
        cause: Cause,
    },
    /// Foreign writes of a contested instance wait for so long.
    Deferred(Key, Duration),
    /// A verdict was dropped, for something happened to the container meanwhile.
    Dropped(Key),
    /// Looks at all rows could not be queued.
    NotQueued {
        /// Why they could not be queued.
        failure: Failure,
        /// The same was not met before.
        news: bool,
    },
    /// What became of a proposal.
    Recorded {
        /// What was proposed.
        said: Said,
        /// What the database made of it.
        recording: Recording,
        /// The same was not said of this table and status before.
        news: bool,
        /// After what time it is tried again if the table refuses the status.
        retry_in: Duration,
    },
    /// A reconciliation failed.
    ReconcileFailed {
        /// The instance that was reconciled.
        key: Key,
        /// What it failed of.
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
    /// What was at fault is as it was again.
    FaultOver(Fault),
    /// The change log takes changes again, and nothing is owed any more.
    LogAgain,
    /// The output of a container cannot be followed.
    Unreadable {
        /// The instance whose container it is.
        key: Key,
        /// Why it cannot be read.
        why: String,
        /// It is the first such container.
        first: bool,
    },
}

/// What is said of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The instance.
    pub key: Key,
    /// The status that was wanted; `None` leaves the column alone.
    pub status: Option<AuthStatus>,
    /// Why; `None` if the row is gone and was to be forgotten.
    pub reason: Option<Reason>,
    /// What led to it.
    pub cause: Cause,
    /// Whether somebody else writes as often as we do.
    pub contested: bool,
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
