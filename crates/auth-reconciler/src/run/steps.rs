//! Carries out the steps of reconciliations: reads, inspections, probes, records. Nothing is decided here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::controller::{
    Failure, FailureKind, Input, Inspected, LogRead, Probe, Probed, ReadBatch, Stop, Taken,
    TakenInstance,
};
use auth_reconciler_core::follow::{Kind, Sound};
use auth_reconciler_core::record::Proposal;
use auth_reconciler_core::snapshot::Snapshot;
use auth_reconciler_core::{Answer, Key};
use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::{debug, error};
use uuid::Uuid;

use super::context::Context;
use super::patience::asked_to_end;
use crate::clock::Clock;
use crate::docker::sightings::Sightings;
use crate::postgres::error::StoreError;
use crate::postgres::tables::Tables;
use crate::postgres::{read, record, store};
use crate::probe;
use crate::witness;

/// Reads these instances, and what is wanted of the change log. Whatever happens, each of them has a result.
pub(super) async fn read(
    context: Arc<Context>,
    tables: Tables,
    (batch, keys, log): (u64, Vec<Key>, Option<LogRead>),
    clock: Clock,
) -> Input {
    let read = spared(read::read_all(
        &context.sessions,
        &tables,
        &keys,
        log.as_ref(),
    ))
    .await;
    let (asked, taken) = read.map_or_else(
        || (Vec::new(), log.map(|_| Err(panicked()))),
        |read| (read.asked, read.log.map(of_the_log)),
    );
    let results = keys.iter().zip(asked).map(|(key, read)| {
        if tables.contains_key(&key.watched_id) {
            told(read)
        } else {
            Err(unknown_table())
        }
    });
    let snapshots = results.collect();
    Input::Read(ReadBatch {
        batch,
        at: clock.now(),
        snapshots: each(&keys, snapshots),
        log: taken,
    })
}

fn of_the_log(taken: Result<read::Taken, StoreError>) -> Result<Taken, Failure> {
    let taken = taken.map_err(|failure| Failure::from(&failure))?;
    let instances = taken.instances.into_iter().map(|brought| TakenInstance {
        key: brought.key,
        unread: brought.unread,
        snapshot: told(brought.snapshot),
    });
    Ok(Taken {
        instances: instances.collect(),
        more: taken.more,
        seen: taken.seen,
    })
}

fn told(read: Result<Snapshot, StoreError>) -> Result<Box<Snapshot>, Failure> {
    read.map(Box::new)
        .map_err(|failure| Failure::from(&failure))
}

/// Marks changes that were read and could not be answered for.
pub(super) async fn put_off(context: Arc<Context>, epoch: Uuid, changes: Vec<i64>) -> Input {
    let put_off = spared(store::put_off(&context.sessions, epoch, &changes)).await;
    Input::PutOff(put_off.map_or_else(
        || Err(panicked()),
        |put_off| put_off.map_err(|failure| Failure::from(&failure)),
    ))
}

/// Records these. Whatever happens, each of them has a result.
pub(super) async fn record(
    context: Arc<Context>,
    tables: Tables,
    proposals: Vec<Proposal>,
) -> Input {
    let keys: Vec<Key> = proposals.iter().map(|proposal| proposal.key).collect();
    let recorded = spared(record::record(
        &context.sessions,
        &tables,
        &context.record,
        &proposals,
    ))
    .await;
    let (recordings, transactions) = recorded.unwrap_or_default();
    let results = recordings.into_iter();
    let results = results.map(|recording| recording.map_err(|failure| Failure::from(&failure)));
    Input::Recorded {
        recordings: each(&keys, results.collect()),
        transactions,
    }
}

/// Asks the engine for a container.
pub(super) async fn inspect(context: Arc<Context>, key: Key, recorded: Option<Sighting>) -> Input {
    let unknown = |recorded: Option<Sighting>| Inspected {
        key,
        container: Container::Unknown,
        sighting: recorded,
        address: None,
        has_shown_ours: false,
        unanswered: true,
    };
    let Some(engine) = &context.engine else {
        return Input::Inspected(Box::new(unknown(recorded)));
    };
    let sight = spared(engine.sight(key.instance_id, recorded.as_ref())).await;
    let inspected = sight.map(|sight| Inspected {
        key,
        container: sight.container,
        sighting: sight.sighting,
        address: sight.address,
        has_shown_ours: engine.has_shown_ours(),
        unanswered: sight.unanswered,
    });
    Input::Inspected(Box::new(inspected.unwrap_or_else(|| unknown(recorded))))
}

/// Asks an API, unless and until it is to end without an answer.
pub(super) async fn probe(
    context: Arc<Context>,
    probe: Box<Probe>,
    mut stop: watch::Receiver<Option<Stop>>,
    sightings: Option<Arc<Sightings>>,
    clock: Clock,
) -> Input {
    let key = probe.key;
    let asked = spared(ask(&context, &probe, &mut stop, sightings.as_deref())).await;
    let (answer, tried) = asked.unwrap_or_default();
    Input::Probed(Box::new(Probed {
        key,
        answer,
        at: clock.now(),
        tried,
    }))
}

/// The answer, if there is one, and where it was asked and what came of it.
async fn ask(
    context: &Context,
    probe: &Probe,
    stop: &mut watch::Receiver<Option<Stop>>,
    sightings: Option<&Sightings>,
) -> (Option<Answer>, String) {
    let (prober, url) = (&context.prober, &context.prober.url);
    if url.needs_container()
        && probe.container == Container::Unknown
        && (probe.address.is_none() || !url.tells_apart())
    {
        return (Some(Answer::NotAsked(Shortage::Engine)), String::new());
    }
    let instance = probe::Instance {
        id: probe.key.instance_id,
        port: probe.port,
        container: probe.address,
    };
    let sounded = |sound| {
        if let Some(sightings) = sightings {
            sightings.sounded(probe.key, sound);
        }
    };
    sounded(Sound::Sent);
    let sent = Instant::now();
    let answer = tokio::select! {
        answer = prober.ask(&instance, probe.profile, &probe.api_key) => answer,
        Some(()) = asked_to_end(stop, sent) => {
            say_ended(*stop.borrow());
            return (None, String::new());
        }
    };
    sounded(Sound::Answered(Kind::of(&answer)));
    debug!(?answer, elapsed = ?sent.elapsed(), "api asked");
    let tried = witness::tried_one(prober, &instance, &answer);
    (Some(answer), tried)
}

fn say_ended(stop: Option<Stop>) {
    match stop {
        Some(Stop::Overtaken) => {
            debug!("probe ended: something happened to the container meanwhile");
        }
        Some(Stop::Overwritten) => {
            debug!("probe ended: somebody else wrote over a failure that was established");
        }
        Some(Stop::GiveUp) => debug!("probe ended: something was told since it was sent"),
        Some(Stop::GiveWay) | None => debug!("gave way to a first look"),
    }
}

/// A step that panics is reported and repeated, not spread.
async fn spared<T>(step: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(step).catch_unwind().await;
    if done.is_err() {
        error!("a look panicked; it will be repeated, please report this");
    }
    done.ok()
}

/// The result of each key; of a step that panicked there is none.
fn each<T>(keys: &[Key], results: Vec<Result<T, Failure>>) -> Vec<(Key, Result<T, Failure>)> {
    let mut results = results.into_iter();
    let result = |key: &Key| (*key, results.next().unwrap_or_else(|| Err(panicked())));
    keys.iter().map(result).collect()
}

fn unknown_table() -> Failure {
    Failure {
        error: "the table is not watched".to_owned(),
        advice: None,
        kind: FailureKind::NoTable,
    }
}

fn panicked() -> Failure {
    Failure {
        error: "a look panicked".to_owned(),
        advice: None,
        kind: FailureKind::Unclear,
    }
}
