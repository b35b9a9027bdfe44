//! Why an engine does not answer as it should, and what to do about it.

use std::time::Duration;

use thiserror::Error;

/// Why the engine did not answer as it should. No text of an answer that holds a container's
/// environment is repeated.
#[derive(Debug, Error)]
pub(crate) enum EngineError {
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    #[error("it answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("it answered with something else than expected")]
    Answer,
    #[error("the connection broke")]
    Broken(#[source] Option<hyper::Error>),
    /// Over TLS, before anything was answered. In TLS 1.3 the engine judges the client's certificate when the client
    /// has sent its request already (RFC 8446, section 2), and what it says of it may be lost with the connection: so
    /// this may be a refusal.
    #[error("the connection was closed before the first answer")]
    ClosedUnanswered(#[source] hyper::Error),
    #[error("its stream of events ended")]
    Ended,
    #[error("its stream of events has missed something")]
    Missed,
}

impl EngineError {
    /// Whether there was no engine to answer, rather than an answer of no use.
    pub(super) const fn is_of_engine(&self) -> bool {
        match self {
            Self::TimedOut(_)
            | Self::Connect(_)
            | Self::Broken(_)
            | Self::ClosedUnanswered(_)
            | Self::Ended
            | Self::Missed => true,
            Self::Refused { .. } | Self::Answer => false,
        }
    }

    /// Whether somebody does not let us ask.
    pub(super) const fn is_ban(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 401 | 403 | 405 | 407,
                ..
            }
        )
    }

    /// TLS, and not the engine, is what failed.
    pub(super) fn is_of_tls(&self) -> bool {
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let inner = cause
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref);
            if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
                return true;
            }
            next = cause.source();
        }
        false
    }

    /// What the operator is to do, if it is known.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            _ if self.is_of_tls() => {
                "see that AUTH_RECONCILER_DOCKER_CERTS holds the ca.pem that signed the engine's certificate for this host, and a cert.pem and key.pem that the engine trusts"
            }
            Self::ClosedUnanswered(_) => {
                "see whether the engine, or the proxy in front of it, is well, and trusts the certificate of AUTH_RECONCILER_DOCKER_CERTS (ca.pem, cert.pem, key.pem): of a refusal no more may be heard than the end of the connection"
            }
            Self::Connect(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                "let the daemon's user use the socket (group docker), or put a read-only socket proxy in between"
            }
            Self::Connect(_) => {
                "start the engine, or name the right one with AUTH_RECONCILER_DOCKER; where a socket file is mounted into a container, mount its folder instead: the file goes stale when the engine restarts"
            }
            Self::Refused { .. } if self.is_ban() => {
                "let the socket proxy pass GET for /events and /containers"
            }
            Self::Refused { .. } | Self::Answer => {
                "see whether AUTH_RECONCILER_DOCKER names a Docker Engine, version 20.10 or newer"
            }
            Self::TimedOut(_) | Self::Broken(_) | Self::Ended | Self::Missed => {
                "see whether the engine, or the proxy in front of it, is well"
            }
        }
    }
}

/// An engine's own words, in a length that is fit for a log.
pub(super) fn shortened(message: &str) -> String {
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}
