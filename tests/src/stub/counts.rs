//! What a stub has seen: counted, and published so that a test can wait for it.

use std::collections::BTreeMap;
use std::time::Instant;

/// What a request had in its `Authorization` header; never the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authorization {
    /// There was no such header.
    Missing,
    /// `Bearer` and the expected key.
    Right,
    /// Anything else.
    Wrong,
    /// There was one, and the test never said which key to expect.
    Unchecked,
}

/// One request (or, where the stub resets connections unread, one connection).
#[derive(Clone, Debug)]
pub struct Request {
    /// Which it was, from 1.
    pub number: u64,
    /// When it had been read.
    pub at: Instant,
    /// Its path; empty if it was never read.
    pub path: String,
    /// Whether it carried the right key.
    pub authorization: Authorization,
    /// The behaviour that it met, by [`super::Behaviour::name`].
    pub met: &'static str,
}

/// Everything that a stub has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All requests in their order.
    pub requests: Vec<Request>,
    /// How many met which behaviour.
    pub by_behaviour: BTreeMap<&'static str, u64>,
    /// Requests that are neither answered nor given up at the moment.
    pub open: u64,
    /// The most that were open at once.
    pub max_open: u64,
    /// Connections accepted.
    pub connections: u64,
}

impl Counts {
    /// The number of requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.len() as u64
    }

    /// The number of requests that carried `authorization`.
    #[must_use]
    pub fn with(&self, authorization: Authorization) -> u64 {
        self.requests
            .iter()
            .filter(|request| request.authorization == authorization)
            .count() as u64
    }
}
