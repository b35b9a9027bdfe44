//! The daemon's log as tests read it: JSON lines with fields and spans.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::process::{Line, Stream};

/// A line of the daemon's output, read as a JSON log line where it is one.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// Where it was written.
    pub stream: Stream,
    /// The whole line.
    pub text: String,
    /// The line as JSON; null if it is none.
    pub json: Value,
}

impl LogLine {
    pub(super) fn parse(line: &Line) -> Self {
        let json = serde_json::from_str(&line.text).unwrap_or_default();
        Self {
            at: line.at,
            stream: line.stream,
            text: line.text.clone(),
            json,
        }
    }

    /// The message, if it is a log line.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.json["fields"]["message"].as_str()
    }

    /// Whether this is its message.
    #[must_use]
    pub fn is(&self, message: &str) -> bool {
        self.message() == Some(message)
    }

    /// The level (`INFO`), if it is a log line.
    #[must_use]
    pub fn level(&self) -> Option<&str> {
        self.json["level"].as_str()
    }

    /// A field of the event or, failing that, of the spans around it, the innermost first; null if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        let spans = self.json["spans"].as_array().into_iter().flatten().rev();
        let places = [&self.json["fields"], &self.json["span"]]
            .into_iter()
            .chain(spans);
        places
            .map(|place| &place[name])
            .find(|value| !value.is_null())
            .unwrap_or(&Value::Null)
    }

    /// Whether the field has this value, given as text (numbers and booleans as in JSON; a missing field as `null`).
    #[must_use]
    pub fn has(&self, name: &str, value: &str) -> bool {
        match self.field(name).as_str() {
            Some(text) => text == value,
            None => {
                serde_json::from_str::<Value>(value).is_ok_and(|value| value == *self.field(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> LogLine {
        LogLine::parse(&Line {
            at: Utc::now(),
            stream: Stream::Stdout,
            text: text.to_owned(),
        })
    }

    #[test]
    fn fields_come_from_the_event_first_and_then_from_the_innermost_span() {
        let line = parse(
            r#"{"level":"INFO","fields":{"message":"row read fresh","generation":3,"has_api_key":true},
                "span":{"name":"run","instance":"inner"},
                "spans":[{"name":"daemon","epoch":7,"instance":"outer"},{"name":"run","instance":"inner"}]}"#,
        );
        assert!(line.is("row read fresh"));
        assert_eq!(line.level(), Some("INFO"));
        assert!(line.has("generation", "3") && line.has("has_api_key", "true"));
        assert!(line.has("instance", "inner") && line.has("epoch", "7"));
        assert!(line.has("absent", "null") && !line.has("generation", "4"));
        assert!(!line.has("absent", "text"), "what is no JSON is not null");
    }

    #[test]
    fn what_is_no_log_line_has_no_message() {
        let line = parse("thread 'main' panicked");
        assert_eq!((line.message(), line.level()), (None, None));
        assert!(line.field("generation").is_null());
    }
}
