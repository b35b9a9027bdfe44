//! The simulated daemon: the real controller, and what a shell keeps beside it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use auth_reconciler_core::container::Sighting;
use auth_reconciler_core::controller::{
    Controller, Done, EngineNews, Input, LogRead, Notified, Settings, Work,
};
use auth_reconciler_core::facts::{Change, Facts, Row};
use auth_reconciler_core::follow;
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::queue::Limits;
use auth_reconciler_core::record::Proposal;
use auth_reconciler_core::verdict::Policy;
use auth_reconciler_core::{Answer, Key};
use uuid::Uuid;

use crate::sim::Sim;

pub(crate) const BURST: u32 = 60;
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// The number of the one watched table.
pub(crate) const TABLE: i32 = 1;

/// What a proposal was made from.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) facts: Facts,
    /// When it was read, in ms.
    pub(crate) sent: u64,
    /// What its probe met.
    pub(crate) answer: Option<Answer>,
    /// In which life of its container it answered in its own words.
    pub(crate) life: Option<u64>,
    /// In which life of its container it was asked, see [`Look::asked_in`].
    pub(crate) asked_in: u64,
}

/// A look at one instance, as the world knows of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// When it was read, in ms.
    pub(crate) read_at: u64,
    /// The key that was read.
    pub(crate) key: Option<u64>,
    /// Its probe is out: number of that, and what it is to meet by the clock.
    pub(crate) out: Option<(u64, Option<Answer>)>,
    pub(crate) answer: Option<Answer>,
    /// When it answered in its own words, and in which life of its container.
    pub(crate) heard: Option<(u64, Option<u64>)>,
    /// The life of its container when its probe ended. Where there is no container, nothing is of an earlier life.
    pub(crate) asked_in: u64,
}

/// Something under way, but for probes.
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
    /// Instances are read.
    Read {
        batch: u64,
        keys: Vec<Key>,
        log: Option<LogRead>,
    },
    /// Changes are put off.
    PutOff {
        epoch: Uuid,
        changes: Vec<i64>,
    },
    Inspect {
        key: Key,
        recorded: Option<Sighting>,
    },
    Record(Vec<Proposal>),
    /// A batch was recorded, and that is only told later.
    Recorded {
        keys: Vec<Key>,
        input: Input,
    },
    /// It has read what it read, and is only told later.
    Worked {
        epoch: Uuid,
        done: Done,
    },
}

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) controller: Controller,
    pub(crate) jobs: Vec<Job>,
    pub(crate) looks: BTreeMap<usize, Look>,
    /// Whether its listener holds the lock.
    pub(crate) leads: bool,
    /// Nothing is heard any more, and nobody says so.
    pub(crate) deaf: bool,
    /// Its session has whoever writes keep silent.
    pub(crate) silence: bool,
    /// What the listener heard and nobody has fetched.
    pub(crate) heard: Notified,
    /// What else was told and is not fetched yet.
    pub(crate) told: VecDeque<Input>,
    /// Number of the follower of each that is followed.
    pub(crate) following: HashMap<usize, u64>,
}

impl Daemon {
    pub(crate) fn new(slots: usize, policy: Policy, has_engine: bool, seed: u64) -> Self {
        Self {
            controller: Controller::new(Settings {
                limits: Limits::with_slots(slots, BURST, INTERVAL),
                follow: follow::Limits::with_places(16),
                echo_interval: Duration::from_secs(60),
                policy,
                has_engine,
                record_lanes: 3,
                seed,
            }),
            jobs: Vec::new(),
            looks: BTreeMap::new(),
            leads: false,
            deaf: false,
            silence: false,
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

    /// Something is in the log; sometimes it is told of whom.
    pub(crate) fn ring(&mut self, of: Option<usize>) {
        if self.silence {
            return;
        }
        self.notify(|heard| {
            heard.rang = true;
            heard.hints.extend(of.map(key));
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

impl Sim {
    /// A new process, if none runs.
    pub(crate) fn start_daemon(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        let seed = self.rng.next();
        self.daemon = Some(Daemon::new(
            self.slots,
            self.policy,
            self.dock.is_some(),
            seed,
        ));
        self.started.clear();
        self.ledger.process_started();
        if let Some(dock) = &mut self.dock {
            dock.forget();
        }
    }
}
