//! The simulated daemon: the real controller, and what a shell keeps beside it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use auth_reconciler_core::controller::{
    ChangeSet, Controller, Done, EngineNews, Input, Notified, Settings, Task, Work,
};
use auth_reconciler_core::facts::{Change, Facts, Row};
use auth_reconciler_core::follow;
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::profile::Profile;
use auth_reconciler_core::queue::Limits;
use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::witness::Word;
use auth_reconciler_core::{Cause, Key};
use uuid::Uuid;

use crate::database::Read;

pub(crate) const BURST: u32 = 60;
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// The number of the one watched table.
pub(crate) const TABLE: i32 = 1;

/// How far a reconciliation has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its probe is out.
    Out,
    Decided(Box<Verdict>),
    /// The row is gone.
    Forget,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) serial: u64,
    pub(crate) task: Task,
    pub(crate) facts: Facts,
    pub(crate) read: Read,
    pub(crate) changes: ChangeSet,
    /// When it was read, in ms.
    pub(crate) sent: u64,
    pub(crate) stage: Stage,
    /// What its API said that is of weight for others, and when.
    pub(crate) word: Option<(Word, u64)>,
    /// In which life of its container.
    pub(crate) life: Option<u64>,
    /// No engine could be asked.
    pub(crate) unseen: bool,
    /// Something happened to its container since it began.
    pub(crate) overtaken: bool,
    /// What the probe of a run by the clock is to meet.
    pub(crate) answer: Option<auth_reconciler_core::Answer>,
}

/// Something under way beside the reconciliations.
#[derive(Debug)]
pub(crate) struct Job {
    /// From when on it may end, in ms; a wait for the lock also as soon as that is free.
    pub(crate) ready: u64,
    /// When it ends by the clock.
    pub(crate) due: u64,
    pub(crate) act: Act,
}

#[derive(Debug)]
pub(crate) enum Act {
    Connect,
    WaitForLock,
    /// The engine is asked whether it is there.
    LookForEngine,
    Work {
        epoch: Uuid,
        work: Work,
    },
    /// The same, which has read what it read; it is only told later.
    Worked {
        epoch: Uuid,
        done: Done,
    },
}

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) controller: Controller,
    pub(crate) jobs: Vec<Job>,
    pub(crate) runs: BTreeMap<usize, Run>,
    /// Whether its listener holds the lock.
    pub(crate) leads: bool,
    /// Nothing is heard any more, and nobody says so.
    pub(crate) deaf: bool,
    /// What the listener heard and nobody has fetched.
    pub(crate) heard: Notified,
    /// What else was told and is not fetched yet.
    pub(crate) told: VecDeque<Input>,
    /// Number of the follower of each that is followed.
    pub(crate) following: HashMap<usize, u64>,
}

impl Daemon {
    pub(crate) fn new(slots: usize, has_engine: bool, seed: u64) -> Self {
        Self {
            controller: Controller::new(Settings {
                limits: Limits::with_slots(slots, BURST, INTERVAL),
                follow: follow::Limits::with_places(16),
                echo_interval: Duration::from_secs(60),
                believe_silence_after: None,
                has_engine,
                seed,
            }),
            jobs: Vec::new(),
            runs: BTreeMap::new(),
            leads: false,
            deaf: false,
            heard: Notified::default(),
            told: VecDeque::new(),
            following: HashMap::new(),
        }
    }

    /// A notification of the database; nobody hears it who does not listen.
    pub(crate) fn notify(&mut self, notify: impl FnOnce(&mut Notified)) {
        if self.leads && !self.deaf {
            notify(&mut self.heard);
        }
    }

    pub(crate) fn ring(&mut self, i: usize, cause: Cause) {
        self.notify(|heard| {
            let kept = heard.keys.entry(key(i)).or_insert(cause);
            *kept = (*kept).max(cause);
        });
    }

    pub(crate) fn engine_says(&mut self, news: EngineNews) {
        if self.leads {
            self.told.push_back(Input::Engine(news));
        }
    }
}

pub(crate) fn key(i: usize) -> Key {
    Key {
        watched_id: TABLE,
        instance_id: id(i),
    }
}

pub(crate) fn id(i: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(i).expect("fits"))
}

pub(crate) fn index(key: &Key) -> usize {
    usize::try_from(key.instance_id.as_u128()).expect("one of ours")
}

pub(crate) fn telegram() -> &'static Profile {
    Profile::of(Some("telegram")).expect("profile")
}

/// The facts of the row alone.
pub(crate) fn row_facts(key: Option<u64>, status: Option<String>) -> Row {
    Row {
        provider: Some("telegram".to_owned()),
        serves_api: true,
        api_key: key.map_or(Ok(None), |key| ApiKey::parse(&format!("key-{key}"))),
        port: Some(4001),
        auth_status: status,
        put_aside: false,
    }
}

pub(crate) fn changes(entries: &[crate::database::LogEntry]) -> Vec<Change> {
    entries.iter().map(|entry| entry.change).collect()
}
