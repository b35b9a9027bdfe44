//! What an engine shows of a container, read field by field.
//!
//! Engines differ: in the words for a state, in what they leave out or null, and in what they will invent. A
//! container of ours of which something cannot be read is still there, with that unknown; left out of a list it
//! would pass for removed.

use std::net::IpAddr;

use auth_reconciler_core::container::{Inspected, Listed, Sighting, common_word};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Longest word for a state that is kept.
const LONGEST_WORD: usize = 40;

/// What the engine says of one container.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) inspected: Inspected,
    /// Its address in its network.
    pub(super) address: Option<IpAddr>,
}

/// A label of a container in a list.
pub(super) fn label<'a>(container: &'a Value, key: &str) -> Option<&'a str> {
    container.get("Labels")?.get(key)?.as_str()
}

/// One container of a list.
pub(super) fn listed(container: &Value) -> Listed {
    Listed {
        id: text(container, "Id").to_owned(),
        state: word(text(container, "State")),
        created: container
            .get("Created")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        network: endpoints(container),
    }
}

/// An inspected container; `None` if it is no such thing.
pub(super) fn inspected(engine: &str, container: &Value) -> Option<Shown> {
    let id = container.get("Id")?.as_str()?.to_owned();
    let state = container.get("State").filter(|state| state.is_object())?;
    let number = |key| state.get(key).and_then(Value::as_i64).unwrap_or_default();
    Some(Shown {
        inspected: Inspected {
            sighting: Sighting {
                engine: engine.to_owned(),
                id,
                name: text(container, "Name").trim_start_matches('/').to_owned(),
                state: state_of(state),
                started_at: moment(text(state, "StartedAt")),
                network: endpoints(container),
            },
            exit_code: number("ExitCode"),
            out_of_memory: is(state, "OOMKilled"),
        },
        address: address(container),
    })
}

/// Its address in the first of its networks where it has one.
pub(super) fn address(container: &Value) -> Option<IpAddr> {
    networks(container)
        .into_iter()
        .find_map(|(_, network)| text(network, "IPAddress").parse().ok())
}

/// Its word, or where there is none what its flags say.
fn state_of(state: &Value) -> String {
    match text(state, "Status") {
        "" if is(state, "Paused") => "paused".to_owned(),
        "" if is(state, "Restarting") => "restarting".to_owned(),
        "" if is(state, "Running") => "running".to_owned(),
        status => word(status),
    }
}

/// Docker's word, where there is one; of another as much as is fit for a column.
fn word(state: &str) -> String {
    common_word(state)
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_WORD)
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// Its networks, in the order of their names.
fn networks(container: &Value) -> Vec<(&String, &Value)> {
    let networks = container
        .get("NetworkSettings")
        .and_then(|settings| settings.get("Networks")?.as_object());
    let mut networks: Vec<_> = networks.into_iter().flatten().collect();
    networks.sort_by_key(|(name, _)| *name);
    networks
}

/// Ids of all endpoints in the order of their networks' names; each start makes new ones.
fn endpoints(container: &Value) -> String {
    let ids: Vec<&str> = networks(container)
        .into_iter()
        .map(|(_, network)| text(network, "EndpointID"))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_null_or_strange_makes_that_one_thing_unknown() {
        for strange in [json!(null), json!(7), json!({"a": []}), json!("")] {
            let container = json!({
                "Id": "a",
                "Labels": {"l": "x"},
                "State": strange,
                "Created": strange,
                "NetworkSettings": {"Networks": {"n": strange, "m": {"EndpointID": strange}}},
            });
            let listed = listed(&container);
            assert_eq!(
                (listed.id.as_str(), listed.network.as_str()),
                ("a", ""),
                "{strange}"
            );
            assert!(!matches!(listed.state.as_str(), "running" | "exited"));
            assert_eq!(label(&container, "l"), Some("x"));
            let container = json!({
                "Id": "a",
                "Name": strange,
                "State": {
                    "Status": "exited", "ExitCode": strange, "OOMKilled": strange, "StartedAt": strange
                },
                "NetworkSettings": strange,
            });
            let shown = inspected("e", &container).expect("shown").inspected;
            assert_eq!(shown.sighting.state, "exited", "{strange}");
            assert_eq!(shown.exit_code, strange.as_i64().unwrap_or(0));
            assert_eq!(shown.sighting.started_at, None);
        }
        for none in [
            json!([]),
            json!({"Id": "a"}),
            json!({"Id": "a", "State": "exited"}),
        ] {
            assert!(inspected("e", &none).is_none(), "{none}");
        }
    }

    #[test]
    fn states_of_other_engines_are_read_as_text() {
        for (told, kept) in [
            ("stopped", "exited"),
            ("initialized", "created"),
            ("configured", "created"),
            ("running", "running"),
            ("levitating", "levitating"),
            ("line\nbreak", "linebreak"),
        ] {
            let summary = json!({"Id": "a", "State": told});
            assert_eq!(listed(&summary).state, kept);
            let container = json!({"Id": "a", "State": {"Status": told}});
            let shown = inspected("e", &container).expect("shown").inspected;
            assert_eq!(shown.sighting.state, kept);
        }
        // Before there were words.
        let flags = json!({"Id": "a", "State": {"Running": true, "Paused": true}});
        let shown = inspected("e", &flags).expect("shown").inspected;
        assert_eq!(shown.sighting.state, "paused");
    }
}
