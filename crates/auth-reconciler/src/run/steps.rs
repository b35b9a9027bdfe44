//! Carries out the steps of reconciliations: reads, inspections, probes, records. Nothing is decided here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use auth_reconciler_core::answer::Shortage;
use auth_reconciler_core::container::{Container, Sighting};
use auth_reconciler_core::controller::{
    Failure, FailureKind, Input, Inspected, Probe, Probed, ReadBatch, Stop,
};
use auth_reconciler_core::follow::{Kind, Sound};
use auth_reconciler_core::record::Proposal;
use auth_reconciler_core::{Answer, Key};
use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::{debug, error};

use super::context::Context;
use super::patience::asked_to_end;
use crate::clock::Clock;
use crate::docker::sightings::Sightings;
use crate::postgres::record;
use crate::postgres::snapshot;
use crate::postgres::tables::Tables;
use crate::probe;
use crate::witness;

/// Reads these instances. Whatever happens, each of them has a result.
pub(super) async fn read(
    context: Arc<Context>,
    tables: Tables,
    (batch, keys): (u64, Vec<Key>),
    clock: Clock,
) -> Input {
    let read = spared(snapshot::read_all(&context.sessions, &tables, &keys)).await;
    let results = keys
        .iter()
        .zip(read.unwrap_or_default())
        .map(|(key, read)| match read {
            _ if !tables.contains_key(&key.watched_id) => Err(unknown_table()),
            read => read
                .map(Box::new)
                .map_err(|failure| Failure::from(&failure)),
        });
    let snapshots = results.collect();
    Input::Read(ReadBatch {
        batch,
        at: clock.now(),
        snapshots: each(&keys, snapshots),
    })
}

/// Records these. Whatever happens, each of them has a result.
pub(super) async fn record(context: Arc<Context>, proposals: Vec<Proposal>) -> Input {
    let keys: Vec<Key> = proposals.iter().map(|proposal| proposal.key).collect();
    let recorded = spared(record::record(
        &context.sessions,
        &context.record,
        &proposals,
    ))
    .await;
    let (recordings, held) = recorded.unwrap_or_default();
    let results = recordings.into_iter();
    let results = results.map(|recording| recording.map_err(|failure| Failure::from(&failure)));
    Input::Recorded {
        recordings: each(&keys, results.collect()),
        held,
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
