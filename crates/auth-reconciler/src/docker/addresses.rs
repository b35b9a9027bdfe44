//! Where containers were when the engine showed them last: while it is out of sight, their APIs are asked there.
//!
//! One that is gone does not answer there, which is the silence that it has to be. Nothing of it outlives the process:
//! after a restart an address that nobody has shown to it is not known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// By instance; bounded by the containers that the engine shows.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<Uuid, IpAddr>>);

impl Addresses {
    /// Where the container of this instance was.
    pub(super) fn of(&self, instance: Uuid) -> Option<IpAddr> {
        self.change(|known| known.get(&instance).copied())
    }

    /// The engine shows it there, or nowhere.
    pub(super) fn note(&self, instance: Uuid, address: Option<IpAddr>) {
        self.change(|known| match address {
            Some(address) => known.insert(instance, address),
            None => known.remove(&instance),
        });
    }

    /// These are all that the engine shows.
    pub(super) fn all(&self, shown: HashMap<Uuid, IpAddr>) {
        self.change(|known| *known = shown);
    }

    fn change<T>(&self, act: impl FnOnce(&mut HashMap<Uuid, IpAddr>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
