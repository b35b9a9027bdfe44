//! What a stub does with a request: every phase of a real instance's life, and every way to misbehave.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::http::Answer;

/// Which of the manager's containers a stub plays: it decides the path and the words of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Answers on `/api/v1/telegram/status`.
    Telegram,
    /// Answers on `/api/v1/status`.
    WhatsAppWeb,
}

impl Provider {
    /// Where its state is asked.
    #[must_use]
    pub fn status_path(self) -> &'static str {
        match self {
            Self::Telegram => "/api/v1/telegram/status",
            Self::WhatsAppWeb => "/api/v1/status",
        }
    }

    /// Its name in the watched table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Telegram => "telegram",
            Self::WhatsAppWeb => "whatsappweb",
        }
    }
}

/// What the stub does from now on; may be changed while it runs.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The port refuses.
    NotListening,
    /// The engine's proxy before the process listens: accepts, then resets.
    AcceptThenReset,
    /// Takes the request and never answers.
    Hang,
    /// Listening, not initialised: 200 DISCONNECTED.
    Disconnected,
    /// Ready: 200 READY with `info` (WhatsApp: `info.me`).
    Ready,
    /// READY that proves nothing: there is no `info`.
    ReadyWithoutInfo,
    /// Telegram answers with an error: 200 ERROR.
    Error,
    /// WhatsApp only: AUTHENTICATED, not yet READY.
    Authenticated,
    /// WhatsApp only: waits for somebody to scan the `qr`.
    Qr,
    /// An empty answer with this status code.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
    /// Exactly this answer.
    Body {
        /// The status code.
        status: u16,
        /// The content type.
        content_type: &'static str,
        /// The body.
        bytes: Vec<u8>,
    },
    /// 200 with a JSON string of this many bytes, sent as fast as it is read.
    HugeBody(usize),
    /// 200 with the READY body, one byte every 200 ms.
    SlowDrip,
    /// As [`Behaviour::SlowDrip`], from the first byte of the header on.
    SlowHeaders,
    /// The other behaviour, so much later.
    Delayed(Duration, Box<Behaviour>),
    /// The other behaviour, when the gate is opened.
    Held(Gate, Box<Behaviour>),
}

impl Behaviour {
    /// The other behaviour so much later.
    #[must_use]
    pub fn delayed(self, by: Duration) -> Self {
        Self::Delayed(by, Box::new(self))
    }

    /// This behaviour, when `gate` is opened.
    #[must_use]
    pub fn held(self, gate: &Gate) -> Self {
        Self::Held(gate.clone(), Box::new(self))
    }

    /// A JSON answer with status 200.
    #[must_use]
    pub fn json(text: &str) -> Self {
        Self::Body {
            status: 200,
            content_type: "application/json",
            bytes: text.as_bytes().to_vec(),
        }
    }

    /// The name under which requests are counted.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotListening => "not_listening",
            Self::AcceptThenReset => "accept_then_reset",
            Self::Hang => "hang",
            Self::Disconnected => "disconnected",
            Self::Ready => "ready",
            Self::ReadyWithoutInfo => "ready_without_info",
            Self::Error => "error",
            Self::Authenticated => "authenticated",
            Self::Qr => "qr",
            Self::Status(_) => "status",
            Self::Redirect(_) => "redirect",
            Self::Body { .. } => "body",
            Self::HugeBody(_) => "huge_body",
            Self::SlowDrip => "slow_drip",
            Self::SlowHeaders => "slow_headers",
            Self::Delayed(..) => "delayed",
            Self::Held(..) => "held",
        }
    }

    pub(super) fn listens(&self) -> bool {
        !matches!(self, Self::NotListening)
    }

    /// The answer to a request on the status path; `None` when there is none, ever.
    pub(super) fn answer(&self, provider: Provider) -> Option<Answer> {
        let json = |text: &str| Some(Answer::json(text));
        match self {
            Self::NotListening
            | Self::AcceptThenReset
            | Self::Hang
            | Self::Delayed(..)
            | Self::Held(..) => None,
            Self::Disconnected => json(match provider {
                Provider::Telegram => {
                    r#"{"provider":"telegram","status":"disconnected","state":"DISCONNECTED"}"#
                }
                Provider::WhatsAppWeb => r#"{"state":"DISCONNECTED"}"#,
            }),
            Self::Ready => json(ready(provider)),
            Self::ReadyWithoutInfo => json(match provider {
                Provider::Telegram => {
                    r#"{"provider":"telegram","status":"connected","state":"READY"}"#
                }
                Provider::WhatsAppWeb => r#"{"state":"READY"}"#,
            }),
            Self::Error => json(match provider {
                Provider::Telegram => r#"{"provider":"telegram","status":"error","state":"ERROR"}"#,
                Provider::WhatsAppWeb => r#"{"state":"ERROR"}"#,
            }),
            Self::Authenticated => json(r#"{"state":"AUTHENTICATED"}"#),
            Self::Qr => json(r#"{"state":"UNPAIRED","qr":"2@a-code-to-scan"}"#),
            Self::Status(status) => Some(Answer {
                status: *status,
                ..Answer::default()
            }),
            Self::Redirect(location) => Some(Answer {
                status: 302,
                location: Some(location.clone()),
                ..Answer::default()
            }),
            Self::Body {
                status,
                content_type,
                bytes,
            } => Some(Answer {
                status: *status,
                content_type,
                body: bytes.clone(),
                ..Answer::default()
            }),
            Self::HugeBody(size) => Some(Answer {
                filler: *size,
                ..Answer::json("")
            }),
            Self::SlowDrip => Some(Answer {
                drip_body: true,
                ..Answer::json(ready(provider))
            }),
            Self::SlowHeaders => Some(Answer {
                drip_head: true,
                drip_body: true,
                ..Answer::json(ready(provider))
            }),
        }
    }
}

fn ready(provider: Provider) -> &'static str {
    match provider {
        Provider::Telegram => concat!(
            r#"{"provider":"telegram","status":"connected","info":{"id":123456789,"firstName":"Name","#,
            r#""username":"username","isBot":true},"state":"READY"}"#
        ),
        Provider::WhatsAppWeb => r#"{"state":"READY","info":{"me":{"user":"491701234567"}}}"#,
    }
}

/// Holds answers back until it is opened; clones are the same gate, and it stays open.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through, what waits and what comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn opened(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
