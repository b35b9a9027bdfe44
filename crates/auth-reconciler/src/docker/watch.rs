//! Keeps the engine in sight: subscribe, list, hand over, follow; and all of it again after any end, error
//! or doubt.
//!
//! The order matters. What happens after the list is told by the subscription, because that was there
//! first; what happened before it is in the list. The list goes to the loop, which compares it with what
//! the *database* recorded.
//!
//! A stream that has fallen silent looks like one on which nothing happens. So with each echo interval one
//! list is compared with what the events have told; if it shows something else, twice, they have missed
//! something. That reads no table and asks no instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::container::Listed;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::events::{Event, Events};
use super::sightings::Sightings;
use super::{Engine, EngineError};
use crate::telemetry::chain;

/// Steps between tries to get the engine into sight.
const RECONNECT: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(15),
};

/// A subscription that lasted so long has served; what ends it begins a new row of failures.
const SERVED: Duration = Duration::from_secs(10);

/// How soon a list that shows something else than the events told is compared again: they may be under way.
const SECOND_THOUGHT: Duration = Duration::from_millis(500);

/// The engine in sight, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Arc<Engine>,
    sightings: Arc<Sightings>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins. `check` is the time between two lists that are compared with the events.
    pub(crate) fn begin(engine: Arc<Engine>, check: Duration) -> Self {
        let sightings = Arc::new(Sightings::default());
        let task = tokio::spawn(keep(Arc::clone(&engine), Arc::clone(&sightings), check));
        Self {
            engine,
            sightings,
            task,
        }
    }

    /// The engine.
    pub(crate) const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What was seen of it.
    pub(crate) const fn sightings(&self) -> &Arc<Sightings> {
        &self.sightings
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
        self.engine.seen.store(false, Ordering::Relaxed);
    }
}

async fn keep(engine: Arc<Engine>, sightings: Arc<Sightings>, check: Duration) {
    let mut failures = 0;
    let mut out_of_sight = false;
    loop {
        let begun = Instant::now();
        let failure = match follow(&engine, &sightings, check).await {
            Err(failure) => failure,
            Ok(never) => match never {},
        };
        let was_seen = engine.seen.swap(false, Ordering::Relaxed);
        if begun.elapsed() >= SERVED {
            failures = 0;
        }
        let wait = RECONNECT.delay(failures, fastrand::f64());
        failures = failures.saturating_add(1);
        let error = chain(&failure);
        let advice = failure.advice();
        // Said once, not with each try.
        if was_seen || !out_of_sight {
            warn!(engine = %engine.address, error, advice, retry_in = ?wait, "the engine is out of sight: container states are unknown until it is seen again");
        } else {
            debug!(error, retry_in = ?wait, "the engine is still out of sight");
        }
        out_of_sight = true;
        sightings.out_of_sight(format!("{error}; {advice}"));
        tokio::time::sleep(wait).await;
    }
}

enum Never {}

/// One subscription, until it ends.
async fn follow(
    engine: &Engine,
    sightings: &Sightings,
    check: Duration,
) -> Result<Never, EngineError> {
    let mut events = engine.subscribe().await?;
    let list = engine.list().await?;
    let mut told = Told::from(list.as_slice());
    engine.seen.store(true, Ordering::Relaxed);
    info!(engine = %engine.address, containers = list.len(), "the engine is in sight");
    sightings.in_sight(list);
    let mut suspected = false;
    let mut next_check = Instant::now() + check;
    loop {
        tokio::select! {
            event = next_event(engine, &mut events) => {
                let event = event?;
                debug!(instance = %event.instance, cause = event.cause.as_str(), "container event");
                told.note(&event);
                sightings.happened(event.instance, event.cause);
            }
            () = engine.doubt.notified() => next_check = Instant::now(),
            () = tokio::time::sleep_until(next_check.into()) => {
                let list = engine.list().await?;
                if told.agrees(&list) {
                    suspected = false;
                    next_check = Instant::now() + check;
                } else if suspected {
                    return Err(EngineError::Missed);
                } else {
                    suspected = true;
                    next_check = Instant::now() + SECOND_THOUGHT;
                }
            }
        }
    }
}

async fn next_event(engine: &Engine, events: &mut Events) -> Result<Event, EngineError> {
    loop {
        if let Some(event) = engine.read_event(events.next().await?) {
            return Ok(event);
        }
    }
}

/// What list and events have told of each container, coarse enough that both say the same.
struct Told(HashMap<String, Life>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Down,
    Up,
    Paused,
}

impl From<&[(Uuid, Listed)]> for Told {
    fn from(list: &[(Uuid, Listed)]) -> Self {
        let life = |listed: &Listed| match listed.state.as_str() {
            "running" => Life::Up,
            "paused" => Life::Paused,
            _ => Life::Down,
        };
        Self(
            list.iter()
                .map(|(_, listed)| (listed.id.clone(), life(listed)))
                .collect(),
        )
    }
}

impl Told {
    fn note(&mut self, event: &Event) {
        let is = |causes: &[Cause]| causes.contains(&event.cause);
        let life = if is(&[Cause::Started, Cause::Restarted, Cause::Unpaused]) {
            Life::Up
        } else if is(&[Cause::Paused]) {
            Life::Paused
        } else if is(&[Cause::Created, Cause::Died, Cause::Stopped]) {
            Life::Down
        } else {
            if is(&[Cause::Destroyed]) {
                self.0.remove(&event.container);
            }
            return;
        };
        self.0.insert(event.container.clone(), life);
    }

    fn agrees(&self, list: &[(Uuid, Listed)]) -> bool {
        self.0 == Self::from(list).0
    }
}
