//! The way in for whoever steers a stub from another process: requests below `/control/`, which no real API has.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use super::http::{Answer, Head};

const PREFIX: &str = "/control/";

/// Answers calls with a JSON text; `None` says that the call is not understood (404).
pub type Control =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// One request below `/control/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: String,
    /// What is asked for: the path without `/control/` and the query.
    pub name: String,
    /// The query's parameters, which must need no escapes.
    pub parameters: BTreeMap<String, String>,
}

impl Call {
    /// The call that a request makes, if it makes one.
    pub(super) fn of(head: &Head) -> Option<Self> {
        let path = head.path.strip_prefix(PREFIX)?;
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Some(Self {
            method: head.method.clone(),
            name: name.to_owned(),
            parameters: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    /// A parameter as a number; `default` if it is missing or no number.
    #[must_use]
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let value = self.parameters.get(name);
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// Whether a parameter is `true`.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.parameters
            .get(name)
            .is_some_and(|value| value == "true")
    }
}

pub(super) fn answer(answer: Option<String>) -> Answer {
    match answer {
        Some(json) => Answer::json(&json),
        None => Answer {
            status: 404,
            ..Answer::json(r#"{"error":"not understood"}"#)
        },
    }
}
