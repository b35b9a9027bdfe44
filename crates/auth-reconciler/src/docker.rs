//! The container engine: what it is asked, and what comes of its answers.
//!
//! Four requests and no others (`docker/transport.rs` lets nothing else through): the stream of events,
//! the list of containers, one container's state, one container's output. An event and a line of output
//! are hints; what a verdict is computed from is asked for afresh in the look that the hint leads to.
//!
//! The engine's identity is derived, because none of the four answers holds one: from its address and,
//! where that is a socket of this machine, from the machine. It serves one purpose: that a container is
//! gone is believed of the engine on which it was seen and of no other.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use auth_reconciler_core::container::{self, Container, Inspected, Listed, Sighting};
use bollard::models::{ContainerInspectResponse, ContainerSummary, EndpointSettings};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use chrono::{DateTime, Utc};
use tracing::debug;
use uuid::Uuid;

pub(crate) mod address;
mod error;
mod events;
mod presence;
pub(crate) mod sightings;
mod transport;
pub(crate) mod watch;

use address::Address;
pub(crate) use error::EngineError;
use presence::Presence;
use transport::Transport;
pub(crate) use transport::{Output, TlsError};

/// Longest time for one answer, but for streams, where it is the longest time until they begin.
const LIMIT: Duration = Duration::from_secs(5);

/// The same within a look: a hanging engine must not hold up what can be seen without it.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// The type of container that counts; others carry the same instance id.
const API: &str = "api";

/// Which labels tell the instance and the type of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Key of the label that holds the instance's id.
    pub(crate) instance: String,
    /// Key of the label that holds the container's type.
    pub(crate) kind: String,
}

/// One engine.
pub(crate) struct Engine {
    client: Docker,
    transport: Arc<Transport>,
    id: String,
    address: Address,
    labels: Labels,
    presence: Presence,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What the engine says of one container.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    inspected: Inspected,
    address: Option<IpAddr>,
}

/// What a look knows of its container.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Its state.
    pub(crate) container: Container,
    /// What is to be recorded.
    pub(crate) sighting: Option<Sighting>,
    /// Its address in its network.
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
        let transport = Arc::new(Transport::new(&address)?);
        let carrier = Arc::clone(&transport);
        let client = Docker::connect_with_custom_transport(
            move |request| Arc::clone(&carrier).carry(request),
            Some("http://engine"),
            LIMIT.as_secs(),
            API_DEFAULT_VERSION,
        )
        .map_err(|_| TlsError::Library)?;
        Ok(Arc::new(Self {
            client,
            transport,
            id: address.identity(),
            address,
            labels,
            presence: Presence::default(),
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

    /// What a look is to know of the container of an instance. Whatever goes wrong, the answer is then
    /// that the state is unknown, and what was recorded stays.
    pub(crate) async fn sight(&self, instance: Uuid, recorded: Option<&Sighting>) -> Sight {
        let unknown = || Sight {
            container: Container::Unknown,
            sighting: recorded.cloned(),
            address: None,
            unanswered: false,
        };
        let Some(stretch) = self.presence.now() else {
            return unknown();
        };
        let shown = within(LOOK_LIMIT, self.counting(instance)).await;
        match shown {
            Ok(shown) => {
                let address = shown.as_ref().and_then(|shown| shown.address);
                let shown = shown.map(|shown| shown.inspected);
                let (container, sighting) = container::resolve(&self.id, recorded, shown);
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
        within(LIMIT, self.list_labelled(&self.labels.instance)).await
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

    /// The output of a container: the last thing that it said, and all that follows.
    pub(crate) async fn output(&self, container: &str) -> Result<Output, EngineError> {
        within(LIMIT, self.transport.output(container)).await
    }

    async fn list_labelled(&self, label: &str) -> Result<Vec<(Uuid, Listed)>, EngineError> {
        let labels = vec![label.to_owned(), format!("{}={API}", self.labels.kind)];
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&[("label", labels)].into_iter().collect())
            .build();
        let listed = self.client.list_containers(Some(options)).await?;
        Ok(listed
            .into_iter()
            .filter_map(|summary| self.listed(summary))
            .collect())
    }

    fn listed(&self, summary: ContainerSummary) -> Option<(Uuid, Listed)> {
        let label = summary.labels.as_ref()?.get(&self.labels.instance)?;
        let Some(instance) = instance_of(label) else {
            debug!(label, "the label of a container is no instance id");
            return None;
        };
        let networks = summary
            .network_settings
            .and_then(|network| network.networks);
        let listed = Listed {
            id: summary.id?,
            state: summary.state?.to_string(),
            created: summary.created.unwrap_or_default(),
            network: endpoints(networks.iter().flatten()),
        };
        Some((instance, listed))
    }

    /// The container of an instance that counts, as it is now.
    async fn counting(&self, instance: Uuid) -> Result<Option<Shown>, EngineError> {
        // One that goes between the list and the question is asked for once more.
        for _ in 0..2 {
            let label = format!("{}={instance}", self.labels.instance);
            let all = self.list_labelled(&label).await?;
            let listed: Vec<Listed> = all.into_iter().map(|(_, listed)| listed).collect();
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
        let asked = self
            .client
            .inspect_container(id, None::<InspectContainerOptions>)
            .await;
        match asked.map_err(EngineError::from) {
            Ok(answer) => self.shown(answer).map(Some).ok_or(EngineError::Answer),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn shown(&self, answer: ContainerInspectResponse) -> Option<Shown> {
        let state = answer.state?;
        let networks = answer.network_settings.and_then(|network| network.networks);
        let by_name: BTreeMap<_, _> = networks.iter().flatten().collect();
        let address = by_name
            .values()
            .find_map(|endpoint| endpoint.ip_address.as_deref()?.parse().ok());
        Some(Shown {
            inspected: Inspected {
                sighting: Sighting {
                    engine: self.id.clone(),
                    id: answer.id?,
                    name: answer
                        .name
                        .unwrap_or_default()
                        .trim_start_matches('/')
                        .to_owned(),
                    state: state.status?.to_string(),
                    started_at: state.started_at.as_deref().and_then(moment),
                    network: endpoints(networks.iter().flatten()),
                },
                exit_code: state.exit_code.unwrap_or_default(),
                out_of_memory: state.oom_killed.unwrap_or_default(),
            },
            address,
        })
    }
}

/// The instance that a label names. Only in the one spelling that the manager and we write: by that the engine is
/// asked for the containers of an instance.
fn instance_of(label: &str) -> Option<Uuid> {
    let instance = Uuid::parse_str(label).ok()?;
    (instance.to_string() == label).then_some(instance)
}

/// Ids of all endpoints in the order of their networks' names; each start makes new ones.
fn endpoints<'a>(networks: impl Iterator<Item = (&'a String, &'a EndpointSettings)>) -> String {
    let by_name: BTreeMap<_, _> = networks.collect();
    let ids: Vec<&str> = by_name
        .values()
        .filter_map(|endpoint| endpoint.endpoint_id.as_deref())
        .filter(|id| !id.is_empty())
        // Enough of each to tell one from another.
        .map(|id| id.get(..16).unwrap_or(id))
        .collect();
    ids.join(" ")
}

/// The engine writes the year 1 for never.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    // As the database keeps it, or it would differ from itself once recorded.
    DateTime::from_timestamp_micros(at.timestamp_micros()).filter(|at| at.timestamp() > 0)
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
