//! The engine's stream of events: what of it concerns an instance.

use std::collections::{HashMap, VecDeque};

use auth_reconciler_core::Cause;
use bollard::query_parameters::EventsOptionsBuilder;
use chrono::{TimeDelta, Utc};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use uuid::Uuid;

use super::{API, Engine, EngineError, LIMIT, instance_of, within};

/// The events that lead to a look, in the words of Docker and of Podman, each of which knows only its own;
/// health checks that run commands would fill the stream with others.
const ACTIONS: [&str; 15] = [
    "create",
    "start",
    "restart",
    "restore",
    "die",
    "died",
    "oom",
    "kill",
    "stop",
    "pause",
    "unpause",
    "health_status",
    "destroy",
    "remove",
    "rename",
];

/// Longest event that is read.
const LONGEST: usize = 1 << 20;

/// How far back a subscription begins. The engine answers a little before it has subscribed us; what
/// happens in between it then tells afterwards. More than that would be looked at though nothing changed; so
/// much is left for clocks that differ.
const OVERLAP: TimeDelta = TimeDelta::milliseconds(300);

/// A subscription.
pub(super) struct Events {
    stream: Incoming,
    /// What came and was not told yet.
    bytes: Vec<u8>,
    told: VecDeque<Value>,
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
                vec![self.labels.instance.clone(), self.labels.api()],
            ),
        ]);
        let since = (Utc::now() - OVERLAP).format("%s%.9f").to_string();
        let query = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        let stream = within(LIMIT, self.transport.events(&query)).await?;
        // What was started again meanwhile was not heard.
        self.endings.clear();
        Ok(Events {
            stream,
            bytes: Vec::new(),
            told: VecDeque::new(),
        })
    }

    /// What an event means for an instance; `None` for one that concerns none.
    pub(super) fn read_event(&self, message: &Value) -> Option<Event> {
        let cause = Cause::of_event(message.get("Action")?.as_str()?)?;
        let actor = message.get("Actor")?;
        let labels = actor.get("Attributes")?;
        if labels.get(&self.labels.kind)?.as_str() != Some(API) {
            return None;
        }
        let event = Event {
            instance: instance_of(labels.get(&self.labels.instance)?.as_str()?)?,
            container: actor.get("ID")?.as_str()?.to_owned(),
            cause,
        };
        let container = event.container.as_str();
        if cause == Cause::Started {
            self.endings.forget(container);
        } else if cause == Cause::OutOfMemory {
            self.endings
                .change(container, |heard| heard.out_of_memory = true);
        } else if cause == Cause::Died
            && let Some(code) = exit_code(labels)
        {
            self.endings
                .change(container, |heard| heard.exit_code = Some(code));
        }
        Some(event)
    }
}

/// Docker's name for it, and Podman's.
fn exit_code(attributes: &Value) -> Option<i64> {
    ["exitCode", "containerExitCode"].iter().find_map(|name| {
        let told = attributes.get(name)?;
        told.as_i64().or_else(|| told.as_str()?.parse().ok())
    })
}

impl Events {
    /// The next message; an error ends the subscription.
    pub(super) async fn next(&mut self) -> Result<Value, EngineError> {
        loop {
            if let Some(message) = self.told.pop_front() {
                return Ok(message);
            }
            match self.stream.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.bytes.extend_from_slice(data);
                        self.read()?;
                    }
                }
                Some(Err(failure)) => return Err(EngineError::Broken(Some(failure))),
                None => return Err(EngineError::Ended),
            }
        }
    }

    /// Takes every whole message out of what came.
    fn read(&mut self) -> Result<(), EngineError> {
        let mut messages = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Value>();
        let mut end = 0;
        loop {
            match messages.next() {
                Some(Ok(message @ Value::Object(_))) => self.told.push_back(message),
                Some(Err(failure)) if failure.is_eof() => break,
                Some(Ok(_) | Err(_)) => return Err(EngineError::Answer),
                None => break,
            }
            end = messages.byte_offset();
        }
        self.bytes.drain(..end);
        if self.bytes.len() > LONGEST {
            return Err(EngineError::Answer);
        }
        Ok(())
    }
}
