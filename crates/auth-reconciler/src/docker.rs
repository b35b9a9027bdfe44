//! The container engine: what it is asked, and what comes of its answers.
//!
//! Four requests and no others (`docker/transport.rs` lets nothing else through): the stream of events,
//! the list of containers, one container's state, one container's output. An event and a line of output
//! are hints; what a verdict is computed from is asked for afresh in the look that the hint leads to.
//!
//! The engine's identity is derived, because none of the four answers holds one: from its address and,
//! where that is a socket of this machine, from the machine. It serves one purpose: that a container is
//! gone is believed of the engine on which it was seen and of no other.
//!
//! Answers are read field by field, as text: what is absent, null or of a strange kind makes that one thing
//! unknown, never the whole answer (`docker/shown.rs`).

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth_reconciler_core::container::{self, Container, Listed, Sighting};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use serde_json::Value;
use tracing::debug;
use uuid::Uuid;

pub(crate) mod address;
mod addresses;
mod endings;
mod error;
mod events;
pub(crate) mod lines;
mod presence;
mod product;
mod shown;
pub(crate) mod sightings;
mod transport;
pub(crate) mod watch;

use address::Address;
use addresses::Addresses;
use endings::Endings;
pub(crate) use error::EngineError;
use presence::Presence;
pub(crate) use product::Product;
use shown::Shown;
use transport::Transport;
pub(crate) use transport::{Output, TlsError};

/// Longest time for one answer, but for streams, where it is the longest time until they begin.
const LIMIT: Duration = Duration::from_secs(5);

/// The same within a look: a hanging engine must not hold up what can be seen without it.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// The type of container that counts; others carry the same instance id.
const API: &str = "api";

/// The state of a container that runs.
const RUNNING: &str = "running";

/// Which labels tell the instance and the type of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Key of the label that holds the instance's id.
    pub(crate) instance: String,
    /// Key of the label that holds the container's type.
    pub(crate) kind: String,
}

impl Labels {
    /// What a container that counts is labelled with.
    fn api(&self) -> String {
        format!("{}={API}", self.kind)
    }
}

/// A container engine as this process asks it: how it is reached, and what of its answers is remembered.
pub(crate) struct Engine {
    transport: Transport,
    id: String,
    address: Address,
    labels: Labels,
    presence: Presence,
    endings: Endings,
    addresses: Addresses,
    /// Whether it has ever shown a container of a watched row, to this process or to one before it.
    ours: AtomicBool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What a look knows of its container.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// State of the container.
    pub(crate) container: Container,
    /// What is to be recorded.
    pub(crate) sighting: Option<Sighting>,
    /// Its address in its network; where its state is unknown the one that it had when it was shown last.
    pub(crate) address: Option<IpAddr>,
    /// The engine is in sight and did not answer this question: it is to be asked again.
    pub(crate) unanswered: bool,
}

impl Engine {
    /// Nothing is connected to before it is needed.
    ///
    /// # Errors
    /// The TLS files are unusable.
    pub(crate) fn new(address: Address, labels: Labels) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            transport: Transport::new(&address)?,
            id: address.identity(),
            address,
            labels,
            presence: Presence::default(),
            endings: Endings::default(),
            addresses: Addresses::default(),
            ours: AtomicBool::new(false),
        }))
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Its identity, as it is recorded.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it has ever shown a container of a watched row. That it shows none of an instance is no evidence
    /// before: the containers may be on another one.
    pub(crate) fn has_shown_ours(&self) -> bool {
        self.ours.load(Ordering::Acquire)
    }

    /// Notes that it has shown a container of a watched row.
    pub(crate) fn note_ours(&self) {
        self.ours.store(true, Ordering::Release);
    }

    /// What a look is to know of the container of an instance. Whatever goes wrong, the answer is then
    /// that the state is unknown, and what was recorded stays.
    pub(crate) async fn sight(&self, instance: Uuid, recorded: Option<&Sighting>) -> Sight {
        let unknown = || Sight {
            container: Container::Unknown,
            sighting: recorded.cloned(),
            address: self.addresses.of(instance),
            unanswered: false,
        };
        let Some(stretch) = self.presence.now() else {
            return unknown();
        };
        let shown = within(LOOK_LIMIT, self.counting(instance)).await;
        match shown {
            Ok(shown) => {
                if shown.is_some() || recorded.is_some_and(|known| known.engine == self.id) {
                    self.note_ours();
                }
                let address = shown.as_ref().and_then(|shown| shown.address);
                self.addresses.note(instance, address);
                let shown = shown.map(|shown| shown.inspected);
                let (container, sighting) =
                    container::resolve(&self.id, recorded, shown, |id| self.endings.of(id));
                Sight {
                    container,
                    sighting,
                    address,
                    unanswered: false,
                }
            }
            Err(failure) => {
                debug!(
                    error = crate::telemetry::chain(&failure),
                    "container state is unknown"
                );
                let unanswered = !failure.is_of_engine();
                if !unanswered {
                    self.presence.doubt(stretch, failure);
                }
                Sight {
                    unanswered,
                    ..unknown()
                }
            }
        }
    }

    /// Every container that counts, with its instance; those whose label is no id are left out.
    async fn list(&self) -> Result<Vec<(Uuid, Listed)>, EngineError> {
        let shown = within(LIMIT, self.list_labelled(&self.labels.instance)).await?;
        let running = shown
            .iter()
            .filter(|(_, listed, _)| listed.state == RUNNING);
        let at = running.filter_map(|(instance, _, address)| Some((*instance, (*address)?)));
        self.addresses.all(at.collect());
        let listed = shown.into_iter();
        Ok(listed
            .map(|(instance, listed, _)| (instance, listed))
            .collect())
    }

    /// What it called itself with its last answer, if it did.
    pub(crate) fn product(&self) -> Option<Product> {
        self.transport.product().map(Product)
    }

    /// Whether it can be followed: how many containers count.
    pub(crate) async fn examine(&self) -> Result<usize, EngineError> {
        let (_, list) = self.find().await?;
        Ok(list.len())
    }

    /// Subscribes to it, and lists: what happens after the list is told by the subscription.
    async fn find(&self) -> Result<(events::Events, Vec<(Uuid, Listed)>), EngineError> {
        let events = self.subscribe().await?;
        let list = self.list().await?;
        self.shows(&list).await?;
        Ok((events, list))
    }

    /// Asks for the first of these containers as a look would: a way that lets lists pass and nothing else is
    /// none.
    async fn shows(&self, listed: &[(Uuid, Listed)]) -> Result<(), EngineError> {
        let Some((_, first)) = listed.first() else {
            return Ok(());
        };
        match within(LIMIT, self.inspect(&first.id)).await {
            Err(failure) if failure.is_of_engine() || failure.is_ban() => Err(failure),
            // That one container cannot be shown is no reason to be blind for all.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The output of a container: the last thing that it said, and all that follows. Lines that hold `path`
    /// are counted for themselves.
    pub(crate) async fn output(
        &self,
        container: &str,
        path: &'static str,
    ) -> Result<Output, EngineError> {
        within(LIMIT, self.transport.output(container, path)).await
    }

    /// With the address of each, where it is shown.
    async fn list_labelled(
        &self,
        label: &str,
    ) -> Result<Vec<(Uuid, Listed, Option<IpAddr>)>, EngineError> {
        let labels = vec![label.to_owned(), self.labels.api()];
        let query = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", labels)]))
            .build();
        let Value::Array(listed) = self.transport.json("/containers/json", &query).await? else {
            return Err(EngineError::Answer);
        };
        let listed = listed.iter();
        Ok(listed
            .filter_map(|one| {
                let label = shown::label(one, &self.labels.instance)?;
                if shown::label(one, &self.labels.kind) != Some(API) {
                    return None;
                }
                let Some(instance) = instance_of(label) else {
                    debug!(label, "the label of a container is no instance id");
                    return None;
                };
                Some((instance, shown::listed(one), shown::address(one)))
            })
            .collect())
    }

    /// The container of an instance that counts, as it is now.
    async fn counting(&self, instance: Uuid) -> Result<Option<Shown>, EngineError> {
        // One that goes between the list and the question is asked for once more.
        for _ in 0..2 {
            let label = format!("{}={instance}", self.labels.instance);
            let all = self.list_labelled(&label).await?;
            let listed: Vec<Listed> = all
                .into_iter()
                .filter_map(|(of, listed, _)| (of == instance).then_some(listed))
                .collect();
            let Some(counting) = container::counting(&listed) else {
                return Ok(None);
            };
            if let Some(shown) = self.inspect(&counting.id).await? {
                return Ok(Some(shown));
            }
        }
        // Listed again and not to be found: it has not gone, somebody in between does not let us ask.
        Err(EngineError::Answer)
    }

    /// `None` when it is gone.
    async fn inspect(&self, id: &str) -> Result<Option<Shown>, EngineError> {
        let path = format!("/containers/{id}/json");
        match self
            .transport
            .json(&path, &InspectContainerOptions::default())
            .await
        {
            Ok(answer) => shown::inspected(&self.id, &answer)
                .map(Some)
                .ok_or(EngineError::Answer),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// The instance that a label names. Only in the one spelling that the manager and we write: by that the engine is
/// asked for the containers of an instance.
fn instance_of(label: &str) -> Option<Uuid> {
    let instance = Uuid::parse_str(label).ok()?;
    (instance.to_string() == label).then_some(instance)
}

async fn within<T>(
    limit: Duration,
    act: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, act).await {
        Ok(done) => done,
        Err(_) => Err(EngineError::TimedOut(limit)),
    }
}
