//! What an engine lists against what was recorded: how the containers are found again after a gap in hearing.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Listed, Sighting, counting, differs};
use crate::instance::Key;

/// One instance as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedContainer {
    /// The instance.
    pub key: Key,
    /// Whether only an event leads to another look.
    pub settled: bool,
    /// Its container, if one was ever seen.
    pub sighting: Option<Sighting>,
}

/// What a comparison brought to light.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Whoever must be looked at.
    pub concerned: Vec<Key>,
    /// The engine has shown a container of an instance of ours, now or before.
    pub shows_ours: bool,
}

/// Whatever the engine shows otherwise than it was recorded, and every running container of an instance that
/// is not final: its output is to be followed again.
#[must_use]
pub fn compare(
    engine: &str,
    list: Vec<(Uuid, Listed)>,
    recorded: Vec<RecordedContainer>,
) -> Compared {
    let mut by_instance: HashMap<Uuid, Vec<Listed>> = HashMap::new();
    for (instance, listed) in list {
        by_instance.entry(instance).or_default().push(listed);
    }
    let shows_ours = recorded.iter().any(|recorded| {
        let seen_here = |seen: &Sighting| seen.engine == engine;
        recorded.sighting.as_ref().is_some_and(seen_here)
            || by_instance.contains_key(&recorded.key.instance_id)
    });
    let concerned = recorded.into_iter().filter(|recorded| {
        let listed = by_instance
            .get(&recorded.key.instance_id)
            .map_or(&[][..], Vec::as_slice);
        let converges =
            !recorded.settled && counting(listed).is_some_and(|listed| listed.state == "running");
        converges || differs(engine, recorded.sighting.as_ref(), listed)
    });
    Compared {
        concerned: concerned.map(|recorded| recorded.key).collect(),
        shows_ours,
    }
}
