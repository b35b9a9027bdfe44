//! A line in which each key stands once. A whole fleet may stand in it, so joining and leaving cost no walk along it.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The line, the first first.
#[derive(Debug)]
pub(super) struct Line<K> {
    tickets: HashMap<K, u64>,
    order: BTreeMap<u64, K>,
    issued: u64,
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self {
            tickets: HashMap::new(),
            order: BTreeMap::new(),
            issued: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Line<K> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Goes to the end; whoever stands in line already stays where it is.
    pub(super) fn join(&mut self, key: &K) {
        if !self.tickets.contains_key(key) {
            self.issued += 1;
            self.tickets.insert(key.clone(), self.issued);
            self.order.insert(self.issued, key.clone());
        }
    }

    pub(super) fn leave(&mut self, key: &K) {
        if let Some(ticket) = self.tickets.remove(key) {
            self.order.remove(&ticket);
        }
    }

    /// The first `count`, who go to the end.
    pub(super) fn next(&mut self, count: usize) -> Vec<K> {
        let first: Vec<K> = self.order.values().take(count).cloned().collect();
        for key in &first {
            self.leave(key);
            self.join(key);
        }
        first
    }

    /// All of them, and nobody stands in line.
    pub(super) fn take(&mut self) -> Vec<K> {
        self.tickets.clear();
        std::mem::take(&mut self.order).into_values().collect()
    }
}
