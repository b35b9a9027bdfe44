//! The simulated daemon: the real queue, witnesses and followers, and what it keeps of a run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::facts::{Change, Facts, Row};
use auth_reconciler_core::follow::{self, Followers, Life};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::profile::Profile;
use auth_reconciler_core::queue::{Limits, Queue};
use auth_reconciler_core::verdict::Verdict;
use auth_reconciler_core::witness::{Known, Witnesses, Word};

use crate::database::Read;

pub(crate) const BURST: u32 = 60;
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Steps after a run that could not be brought to its end.
pub(crate) const STUMBLE: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(60),
};

/// How far a run has come.
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
    pub(crate) facts: Facts,
    pub(crate) known: Known,
    pub(crate) read: Read,
    /// When it was read, in ms.
    pub(crate) sent: u64,
    pub(crate) stage: Stage,
    /// What its API said that is of weight for others, and when.
    pub(crate) heard: Option<(Word, u64)>,
    /// In which life of its container.
    pub(crate) life: Option<u64>,
    /// No engine could be asked.
    pub(crate) unseen: bool,
    /// Something happened to its container since it began.
    pub(crate) overtaken: bool,
    /// What the probe of a run by the clock is to meet.
    pub(crate) answer: Option<auth_reconciler_core::Answer>,
}

/// How a run ended, as in the daemon's own `End`.
#[derive(Debug)]
pub(crate) enum End {
    Settled,
    Again {
        after: Duration,
        hold_drift: bool,
        wants_witness: bool,
        follow: Option<Life>,
    },
    Overtaken,
    Stumbled,
    /// Final as far as is known, but no engine showed the container.
    Unsure,
    NotAsked,
    Doubted,
}

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) queue: Queue<usize>,
    pub(crate) witnesses: Witnesses<usize>,
    pub(crate) followers: Followers<usize>,
    pub(crate) runs: HashMap<usize, Run>,
    pub(crate) epoch: u64,
    pub(crate) rings: Vec<(usize, Cause)>,
    pub(crate) stumbles: HashMap<usize, u32>,
    /// Who could not be asked, and when all of them were last tried at once.
    pub(crate) unasked: HashSet<usize>,
    pub(crate) tried_all: Option<u64>,
}

impl Daemon {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            queue: Queue::new(Limits::with_slots(slots, BURST, INTERVAL)),
            witnesses: Witnesses::default(),
            followers: Followers::new(follow::Limits::with_places(16)),
            runs: HashMap::new(),
            epoch: 0,
            rings: Vec::new(),
            stumbles: HashMap::new(),
            unasked: HashSet::new(),
            tried_all: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let all = [
            self.queue.deadline(),
            self.followers.deadline(),
            self.witnesses.deadline(),
        ];
        all.into_iter().flatten().min()
    }
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
