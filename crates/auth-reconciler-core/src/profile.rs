//! Providers as data: where an instance's API is asked, and how its answer is read.
//!
//! The paths and answers are those of the manager's containers as measured. Adding a provider means
//! adding a [`Profile`] to [`PROFILES`], with the reasons that it names, and nothing else.

use std::time::Duration;

use serde_json::Value;

use crate::{Answer, Reason};

/// Largest body that is read, in bytes. The measured answers are under 300 bytes.
pub const BODY_CAP: usize = 64 * 1024;

/// How instances of one provider are asked and understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// The value of the `provider` column.
    pub provider: &'static str,
    /// What people call it, in messages.
    pub name: &'static str,
    /// The path of the status request.
    pub path: &'static str,
    /// Read from the top; the first rule that fits says what the answer means.
    rules: &'static [Rule],
    /// Whether a phone must synchronise before it is connected, which takes minutes, and whether a
    /// restart may cost its session.
    pub by_phone: bool,
    /// After what time output of a container whose state lasts may lead to another look: a request may reach
    /// the provider itself, which is asked no more than once a minute for that.
    pub refill: Duration,
    /// The reason while it is not connected yet.
    pub connecting: Reason,
    /// The reason once it has not been connected for too long.
    pub not_connected: Reason,
    /// The reason when it reports an error of its provider.
    pub error: Reason,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// Value of `state` that this rule is for; `None` fits any.
    state: Option<&'static str>,
    /// JSON pointer that must lead to something else than null, false or an empty string.
    holds: Option<&'static str>,
    means: Meaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Ready,
    Authenticated,
    QrReady,
    NotConnected,
    ProviderError,
    Unproven,
}

/// Every provider that this version can ask.
pub const PROFILES: &[Profile] = &[
    Profile {
        provider: "telegram",
        name: "Telegram",
        path: "/api/v1/telegram/status",
        rules: &[
            Rule {
                state: Some("READY"),
                holds: Some("/info"),
                means: Meaning::Ready,
            },
            Rule {
                state: Some("READY"),
                holds: None,
                means: Meaning::Unproven,
            },
            Rule {
                state: Some("ERROR"),
                holds: None,
                means: Meaning::ProviderError,
            },
            Rule {
                state: None,
                holds: None,
                means: Meaning::NotConnected,
            },
        ],
        by_phone: false,
        refill: Duration::from_secs(60),
        connecting: Reason::TelegramConnecting,
        not_connected: Reason::TelegramNotConnected,
        error: Reason::TelegramError,
    },
    Profile {
        provider: "whatsappweb",
        name: "WhatsApp",
        path: "/api/v1/status",
        rules: &[
            Rule {
                state: Some("READY"),
                holds: Some("/info/me"),
                means: Meaning::Ready,
            },
            Rule {
                state: Some("READY"),
                holds: None,
                means: Meaning::Unproven,
            },
            Rule {
                state: Some("AUTHENTICATED"),
                holds: None,
                means: Meaning::Authenticated,
            },
            Rule {
                state: Some("ERROR"),
                holds: None,
                means: Meaning::ProviderError,
            },
            Rule {
                state: None,
                holds: Some("/qr"),
                means: Meaning::QrReady,
            },
            Rule {
                state: None,
                holds: None,
                means: Meaning::NotConnected,
            },
        ],
        by_phone: true,
        // Its container alone is asked, and somebody with a phone in hand waits for the QR code.
        refill: Duration::from_secs(10),
        connecting: Reason::WhatsappConnecting,
        not_connected: Reason::WhatsappNotConnected,
        error: Reason::WhatsappError,
    },
];

impl Profile {
    /// The profile of a `provider` value, if there is one.
    #[must_use]
    pub fn of(provider: Option<&str>) -> Option<&'static Self> {
        PROFILES
            .iter()
            .find(|profile| Some(profile.provider) == provider)
    }

    /// Understands a complete HTTP answer. `body` is at most [`BODY_CAP`] bytes.
    #[must_use]
    pub fn read(&self, code: u16, body: &[u8]) -> Answer {
        match code {
            200 => self.read_body(body),
            401 | 403 => Answer::Rejected { code },
            other => Answer::Http { code: other },
        }
    }

    fn read_body(&self, body: &[u8]) -> Answer {
        // Some servers begin it with a byte-order mark.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Answer::Malformed {
                what: "the body is not JSON",
            };
        };
        if !value.is_object() {
            return Answer::Malformed {
                what: "the body is not a JSON object",
            };
        }
        let state = match value.get("state") {
            Some(Value::String(state)) => Some(state.as_str()),
            None | Some(Value::Null) => None,
            Some(_) => {
                return Answer::Malformed {
                    what: "its `state` is not a string",
                };
            }
        };
        let fits = |rule: &&Rule| {
            (rule.state.is_none() || rule.state == state)
                && rule.holds.is_none_or(|pointer| holds(&value, pointer))
        };
        let rule = self.rules.iter().find(fits);
        // Null is a state, too: it has none yet.
        if value.get("state").is_none() && rule.is_none_or(|rule| rule.holds.is_none()) {
            return Answer::Malformed {
                what: "it has no `state`",
            };
        }
        match rule.map(|rule| rule.means) {
            Some(Meaning::Ready) => Answer::Ready,
            Some(Meaning::Authenticated) => Answer::Authenticated,
            Some(Meaning::QrReady) => Answer::QrReady,
            Some(Meaning::NotConnected) => Answer::NotConnected,
            Some(Meaning::ProviderError) => Answer::ProviderError,
            Some(Meaning::Unproven) | None => Answer::Malformed {
                what: "it says READY without saying who it is",
            },
        }
    }
}

fn holds(value: &Value, pointer: &str) -> bool {
    match value.pointer(pointer) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telegram(body: &str) -> Answer {
        Profile::of(Some("telegram"))
            .expect("profile")
            .read(200, body.as_bytes())
    }

    fn whatsapp(body: &str) -> Answer {
        Profile::of(Some("whatsappweb"))
            .expect("profile")
            .read(200, body.as_bytes())
    }

    #[test]
    fn telegram_is_ready_only_with_proof() {
        let info = r#"{"id":1,"firstName":"B","username":"b_bot","isBot":true}"#;
        assert_eq!(
            telegram(&format!(
                r#"{{"status":"connected","info":{info},"state":"READY"}}"#
            )),
            Answer::Ready
        );
        for unproven in [
            r#"{"state":"READY"}"#,
            r#"{"state":"READY","info":null}"#,
            r#"{"state":"READY","info":{}}"#,
        ] {
            assert!(
                matches!(telegram(unproven), Answer::Malformed { .. }),
                "{unproven}"
            );
        }
        assert_eq!(
            telegram(r#"{"status":"disconnected","state":"DISCONNECTED"}"#),
            Answer::NotConnected
        );
        assert_eq!(
            telegram(r#"{"status":"error","state":"ERROR"}"#),
            Answer::ProviderError
        );
    }

    #[test]
    fn whatsapp_has_more_steps() {
        assert_eq!(
            whatsapp(r#"{"state":"READY","info":{"me":{"user":"1"}}}"#),
            Answer::Ready
        );
        assert_eq!(
            whatsapp(r#"{"state":"AUTHENTICATED"}"#),
            Answer::Authenticated
        );
        assert_eq!(
            whatsapp(r#"{"state":"PAIRING","qr":"2@x"}"#),
            Answer::QrReady
        );
        assert_eq!(whatsapp(r#"{"qr":"2@x"}"#), Answer::QrReady);
        assert_eq!(
            whatsapp(r#"{"state":"PAIRING","qr":null}"#),
            Answer::NotConnected
        );
        assert!(matches!(
            whatsapp(r#"{"state":"READY","info":{}}"#),
            Answer::Malformed { .. }
        ));
    }

    /// What is there and says nothing proves nothing, of whatever type it is.
    #[test]
    fn proof_is_what_is_there_and_not_empty() {
        for (proof, right) in [
            (r#""b_bot""#, true),
            ("7", true),
            ("true", true),
            ("[1]", true),
            (r#"{"id":1}"#, true),
            (r#""""#, false),
            ("false", false),
            ("[]", false),
            ("{}", false),
            ("null", false),
        ] {
            let answer = telegram(&format!(r#"{{"state":"READY","info":{proof}}}"#));
            assert_eq!(answer == Answer::Ready, right, "{proof}");
            let answer = whatsapp(&format!(r#"{{"state":"PAIRING","qr":{proof}}}"#));
            assert_eq!(answer == Answer::QrReady, right, "{proof}");
        }
    }

    #[test]
    fn a_state_of_null_is_not_connected_and_a_byte_order_mark_is_no_harm() {
        let body = r#"{"provider":"x","status":"disconnected","state":null}"#;
        assert_eq!(whatsapp(body), Answer::NotConnected);
        assert_eq!(telegram(body), Answer::NotConnected);
        assert_eq!(
            whatsapp(r#"{"state":null,"qr":"2@x"}"#),
            Answer::QrReady,
            "a QR is told as ever"
        );
        assert_eq!(
            telegram("\u{feff}{\"state\":\"READY\",\"info\":{\"id\":1}}"),
            Answer::Ready
        );
        assert!(matches!(
            telegram("\u{feff}\u{feff}{}"),
            Answer::Malformed { .. }
        ));
    }

    #[test]
    fn a_state_that_the_profile_does_not_know_is_not_connected() {
        for state in [
            "",
            "ready",
            "READY ",
            "CONFLICT",
            "UNPAIRED",
            "ПОДКЛЮЧЕНО",
            "ERROR2",
        ] {
            let body = format!(r#"{{"state":"{state}","info":{{"id":1,"me":{{"user":"1"}}}}}}"#);
            assert_eq!(telegram(&body), Answer::NotConnected, "{state}");
            assert_eq!(whatsapp(&body), Answer::NotConnected, "{state}");
        }
    }

    #[test]
    fn no_more_is_read_of_an_answer_than_64_kib() {
        assert_eq!(BODY_CAP, 65_536);
    }

    #[test]
    fn what_is_no_status_answer_is_named() {
        for body in [
            "",
            "ready",
            "[]",
            "null",
            "17",
            r#"{"state":7}"#,
            "{}",
            r#"{"state":"READY""#,
        ] {
            assert!(matches!(telegram(body), Answer::Malformed { .. }), "{body}");
        }
        let profile = Profile::of(Some("telegram")).expect("profile");
        assert_eq!(profile.read(403, b""), Answer::Rejected { code: 403 });
        assert_eq!(profile.read(302, b""), Answer::Http { code: 302 });
        assert_eq!(Profile::of(Some("smoke")), None);
        assert_eq!(Profile::of(None), None);
    }
}
