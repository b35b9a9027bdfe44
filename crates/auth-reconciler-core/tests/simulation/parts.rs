//! What the simulated world is made of: rows, the change log, our own rows, runs, and what may happen to them.

use std::collections::{HashMap, HashSet};

use auth_reconciler_core::answer::Silence;
use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::facts::{Change, Facts, Recorded, Row, Way};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::profile::Profile;
use auth_reconciler_core::queue::Queue;
use auth_reconciler_core::verdict::{self, Conclusion, Policy, Verdict};
use auth_reconciler_core::{Answer, Cause};
use chrono::{DateTime, Utc};

use crate::dock::Fate;

/// What an instance's API would say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Silent,
    NotConnected,
    Error,
    Ready,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    NewKey(usize),
    ClearKey(usize),
    WriteAccount(usize),
    ForeignStatus(usize, &'static str),
    Delete(usize),
    World(usize, Api),
    /// Something happens to a container; nothing in a world without an engine.
    Container(usize, Fate),
    /// The container of an instance writes something.
    Output(usize),
    EngineLost,
    EngineBack,
    /// The daemon starts whatever its queue lets it start.
    Dispatch,
    /// The probe of a run under way gets its answer.
    Probe(usize),
    /// The record of a run that has its answer is made.
    Record(usize),
    Wait(u64),
    Kill,
    Start,
    /// The ear is lost and made anew: new epoch, resync. Runs under way go on.
    LoseEar,
    /// What rang since the last dispatch is lost together with the ear that heard it.
    LoseRings,
}

#[derive(Clone, Debug)]
pub(crate) struct DbRow {
    pub(crate) key: Option<u64>,
    pub(crate) status: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) id: u64,
    pub(crate) instance: usize,
    pub(crate) change: Change,
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) version: u64,
    pub(crate) memory: Recorded,
    pub(crate) settled: bool,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) epoch: u64,
    pub(crate) facts: Facts,
    pub(crate) key: Option<u64>,
    pub(crate) version: Option<u64>,
    pub(crate) changes: HashSet<u64>,
    /// Decided, or `None` while the probe is out.
    pub(crate) verdict: Option<Verdict>,
    /// Something happened to its container since it began.
    pub(crate) overtaken: bool,
}

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) queue: Queue<usize>,
    pub(crate) runs: HashMap<usize, Run>,
    pub(crate) epoch: u64,
    pub(crate) rings: Vec<(usize, Cause)>,
}

pub(crate) fn facts(
    row: Option<&DbRow>,
    changes: &[&LogEntry],
    instance: Option<&Instance>,
    sight: (Container, Option<Sighting>),
    now: DateTime<Utc>,
) -> Facts {
    let (container, sighting) = sight;
    Facts {
        now,
        row: row.map(|row| Row {
            provider: Some("telegram".to_owned()),
            serves_api: true,
            api_key: row
                .key
                .map_or(Ok(None), |key| ApiKey::parse(&format!("key-{key}"))),
            port: Some(4001),
            auth_status: row.status.clone(),
            put_aside: false,
        }),
        changes: changes.iter().map(|entry| entry.change).collect(),
        recorded: instance.map(|instance| instance.memory.clone()),
        engine_has_shown_ours: true,
        way: Way {
            witness_at: Some(now),
            ..Way::default()
        },
        followed: container == Container::Running,
        container,
        sighting,
        paused: None,
    }
}

pub(crate) fn conclude(
    policy: &Policy,
    run: &Run,
    profile: &Profile,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Verdict {
    match verdict::conclude(policy, &run.facts, profile, answer, now, 0.5) {
        Conclusion::Record(verdict) => *verdict,
        other @ (Conclusion::NotAsked(_) | Conclusion::Doubted) => panic!("{other:?}"),
    }
}

pub(crate) fn answer(api: Api) -> Answer {
    match api {
        Api::Silent => Answer::Silent(Silence::Refused),
        Api::NotConnected => Answer::NotConnected,
        Api::Error => Answer::ProviderError,
        Api::Ready => Answer::Ready,
    }
}
