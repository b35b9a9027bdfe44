//! The engine's stream of events: what of it concerns an instance.

use std::collections::HashMap;
use std::pin::Pin;

use auth_reconciler_core::Cause;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use chrono::{TimeDelta, Utc};
use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use super::{API, Engine, EngineError, LIMIT, instance_of, within};

/// The events that lead to a look; health checks that run commands would fill the stream with others.
const ACTIONS: [&str; 12] = [
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "kill",
    "stop",
    "pause",
    "unpause",
    "health_status",
    "destroy",
    "rename",
];

/// How far back a subscription begins. The engine answers a little before it has subscribed us; what
/// happens in between it then tells afterwards. More than that would be looked at though nothing changed; so
/// much is left for clocks that differ.
const OVERLAP: TimeDelta = TimeDelta::milliseconds(300);

type Messages = Pin<Box<dyn Stream<Item = Result<EventMessage, bollard::errors::Error>> + Send>>;

/// A subscription.
pub(super) struct Events {
    messages: Messages,
    /// Came with the engine's answer.
    first: Option<Result<EventMessage, bollard::errors::Error>>,
}

/// Something that happened to a container of an instance.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) instance: Uuid,
    pub(super) container: String,
    pub(super) cause: Cause,
}

impl Engine {
    /// Subscribes; when this returns, everything that happens from now on will be told.
    pub(super) async fn subscribe(&self) -> Result<Events, EngineError> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", ACTIONS.map(str::to_owned).to_vec()),
            (
                "label",
                vec![
                    self.labels.instance.clone(),
                    format!("{}={API}", self.labels.kind),
                ],
            ),
        ]);
        let options = EventsOptionsBuilder::new()
            .since(&(Utc::now() - OVERLAP).format("%s%.9f").to_string())
            .filters(&filters)
            .build();
        let mut begun = self.transport.subscriptions();
        begun.mark_unchanged();
        let mut messages: Messages = Box::pin(self.client.clone().events(Some(options)));
        // The request is made when the stream is first asked for something.
        let first = within(LIMIT, async {
            tokio::select! {
                biased;
                first = messages.next() => Ok(Some(first)),
                _ = begun.changed() => Ok(None),
            }
        })
        .await?;
        match first {
            None => Ok(Events {
                messages,
                first: None,
            }),
            Some(Some(Ok(message))) => Ok(Events {
                messages,
                first: Some(Ok(message)),
            }),
            Some(Some(Err(failure))) => {
                Err(of_stream(failure, begun.has_changed().unwrap_or(false)))
            }
            Some(None) => Err(EngineError::Ended),
        }
    }

    /// What an event means for an instance; `None` for one that concerns none.
    pub(super) fn read_event(&self, message: EventMessage) -> Option<Event> {
        let cause = Cause::of_event(message.action.as_deref()?)?;
        let actor = message.actor?;
        let labels = actor.attributes.unwrap_or_default();
        if labels.get(&self.labels.kind).map(String::as_str) != Some(API) {
            return None;
        }
        Some(Event {
            instance: instance_of(labels.get(&self.labels.instance)?)?,
            container: actor.id?,
            cause,
        })
    }
}

impl Events {
    /// The next message; an error ends the subscription.
    pub(super) async fn next(&mut self) -> Result<EventMessage, EngineError> {
        let message = match self.first.take() {
            Some(message) => Some(message),
            None => self.messages.next().await,
        };
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(failure)) => Err(of_stream(failure, true)),
            None => Err(EngineError::Ended),
        }
    }
}

/// Once it has begun, what fails is not the way to it: the client library says both in the same words.
fn of_stream(failure: bollard::errors::Error, begun: bool) -> EngineError {
    let failure = EngineError::from(failure);
    if begun && matches!(failure, EngineError::Connect(_)) {
        return EngineError::Broken(None);
    }
    failure
}
