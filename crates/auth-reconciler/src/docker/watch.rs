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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_core::Cause;
use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::container::{self, Listed};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::events::{Event, Events};
use super::sightings::Sightings;
use super::{Engine, EngineError};
use crate::clock::Clock;
use crate::telemetry::chain;

/// Steps between tries to get the engine into sight.
const RECONNECT: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(15),
};

/// A subscription that lasted so long has served; what ends it begins a new row of failures.
const SERVED: Duration = Duration::from_secs(10);

/// How soon the first list is compared again. For up to half a second after a container ended, engine 20.10
/// lists it as running; if we were not subscribed yet when it was told, nothing else would tell.
const FIRST_CHECK: Duration = Duration::from_secs(1);

/// How soon a list that shows something else than the events told is compared again: they may be under way.
const SECOND_THOUGHT: Duration = Duration::from_secs(2);

/// The engine in sight, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Arc<Engine>,
    sightings: Arc<Sightings>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins. `check` is the time between two lists that are compared with the events.
    pub(crate) fn begin(engine: Arc<Engine>, check: Duration, clock: Clock) -> Self {
        let sightings = Arc::new(Sightings::new(clock));
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
        self.engine.presence.end();
    }
}

async fn keep(engine: Arc<Engine>, sightings: Arc<Sightings>, check: Duration) {
    let mut failures = 0;
    let mut out_of_sight = false;
    loop {
        let mut since = None;
        let failure = match follow(&engine, &sightings, check, &mut since).await {
            Err(failure) => failure,
            Ok(never) => match never {},
        };
        engine.presence.end();
        if since.is_some_and(|since: Instant| since.elapsed() >= SERVED) {
            failures = 0;
        }
        let wait = RECONNECT.delay(failures, fastrand::f64());
        failures = failures.saturating_add(1);
        let error = chain(&failure);
        let advice = failure.advice();
        // Said once, not with each try.
        if since.is_some() || !out_of_sight {
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

/// One subscription, until it ends; says since when the engine was in sight by it.
async fn follow(
    engine: &Engine,
    sightings: &Sightings,
    check: Duration,
    since: &mut Option<Instant>,
) -> Result<Never, EngineError> {
    let (mut events, list) = engine.find().await?;
    let mut told = Told::from(list.as_slice());
    engine.presence.begin();
    *since = Some(Instant::now());
    info!(engine = %engine.address, containers = list.len(), "the engine is in sight");
    sightings.in_sight(list);
    // Of which the last list showed something else, and no event since.
    let mut suspected = HashSet::new();
    let mut next_check = Instant::now() + check.min(FIRST_CHECK);
    loop {
        tokio::select! {
            event = next_event(engine, &mut events) => {
                let event = event?;
                debug!(instance = %event.instance, cause = event.cause.as_str(), "container event");
                told.note(&event);
                suspected.remove(&event.container);
                sightings.happened(event.instance, event.cause);
            }
            failure = engine.presence.doubted() => return Err(failure),
            () = tokio::time::sleep_until(next_check.into()) => {
                let list = engine.list().await?;
                let differing = told.differing(&list);
                if differing.is_empty() {
                    // With what events do not tell: the endpoints of what has been started.
                    told = Told::from(list.as_slice());
                    next_check = Instant::now() + check;
                } else if differing.is_disjoint(&suspected) {
                    next_check = Instant::now() + SECOND_THOUGHT;
                } else {
                    return Err(EngineError::Missed);
                }
                suspected = differing;
            }
        }
    }
}

async fn next_event(engine: &Engine, events: &mut Events) -> Result<Event, EngineError> {
    loop {
        if let Some(event) = engine.read_event(&events.next().await?) {
            return Ok(event);
        }
    }
}

/// What list and events have told of each container, coarse enough that both say the same.
struct Told(HashMap<String, Known>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    life: Life,
    /// The endpoints of its last start, by which a list shows a start that nobody told of; `None` since an event
    /// told of one, as events do not name them.
    network: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Down,
    Up,
    Paused,
}

impl From<&[(Uuid, Listed)]> for Told {
    fn from(list: &[(Uuid, Listed)]) -> Self {
        let known = |listed: &Listed| Known {
            life: match container::common_word(&listed.state) {
                "running" => Life::Up,
                "paused" => Life::Paused,
                _ => Life::Down,
            },
            network: Some(listed.network.clone()),
        };
        Self(
            list.iter()
                .map(|(_, listed)| (listed.id.clone(), known(listed)))
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
        let network = None;
        self.0
            .insert(event.container.clone(), Known { life, network });
    }

    /// The containers of which a list shows something else.
    fn differing(&self, list: &[(Uuid, Listed)]) -> HashSet<String> {
        let shown = Self::from(list).0;
        let agrees = |id: &String| match (self.0.get(id), shown.get(id)) {
            (Some(known), Some(shown)) => {
                known.life == shown.life
                    && (known.network.is_none() || known.network == shown.network)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let all = self.0.keys().chain(shown.keys());
        all.filter(|id| !agrees(id)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(containers: &[(&str, &str, &str)]) -> Vec<(Uuid, Listed)> {
        let listed = |&(id, state, network): &(&str, &str, &str)| Listed {
            id: id.to_owned(),
            state: state.to_owned(),
            created: 0,
            network: network.to_owned(),
        };
        let all = containers.iter();
        all.map(|container| (Uuid::nil(), listed(container)))
            .collect()
    }

    fn event(container: &str, cause: Cause) -> Event {
        Event {
            instance: Uuid::nil(),
            container: container.to_owned(),
            cause,
        }
    }

    #[test]
    fn a_list_shows_what_events_have_missed() {
        let before = list(&[("a", "running", "n1"), ("b", "exited", "")]);
        let told = Told::from(before.as_slice());
        assert!(told.differing(&before).is_empty());
        for other in [
            list(&[("a", "running", "n1")]),
            list(&[("a", "exited", ""), ("b", "exited", "")]),
            list(&[("a", "paused", "n1"), ("b", "exited", "")]),
            list(&[("a", "running", "n1"), ("c", "exited", "")]),
            // It died and was started.
            list(&[("a", "running", "n2"), ("b", "exited", "")]),
        ] {
            assert!(!told.differing(&other).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn what_events_told_of_is_not_missed() {
        let mut told = Told::from(list(&[("a", "running", "n1"), ("b", "exited", "")]).as_slice());
        for (container, cause) in [
            ("a", Cause::Died),
            ("a", Cause::Started),
            ("a", Cause::Killed),
            ("b", Cause::Destroyed),
            ("c", Cause::Created),
            ("c", Cause::Started),
            ("c", Cause::Paused),
        ] {
            told.note(&event(container, cause));
        }
        let now = list(&[("a", "running", "n2"), ("c", "paused", "n3")]);
        assert!(told.differing(&now).is_empty());
    }
}
