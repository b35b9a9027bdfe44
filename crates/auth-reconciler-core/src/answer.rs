//! What a probe saw, as facts without secrets.

/// The outcome of asking one instance's API once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// READY, with the proof that the provider's profile asks for.
    Ready,
    /// Logged in, not ready to send.
    Authenticated,
    /// A QR code waits.
    QrReady,
    /// The API answers that it is not connected (yet).
    NotConnected,
    /// The API answers that its provider has an error.
    ProviderError,
    /// 401 or 403.
    Rejected {
        /// The HTTP status code.
        code: u16,
    },
    /// Any other status than 200.
    Http {
        /// The HTTP status code.
        code: u16,
    },
    /// 200 with a body that the profile cannot read.
    Malformed {
        /// What is wrong with it; never a part of the body.
        what: &'static str,
    },
    /// The body is larger than the cap.
    TooLarge {
        /// The cap in bytes.
        cap: usize,
    },
    /// No answer at all.
    Silent(Silence),
}

/// How an API failed to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing listens.
    Refused,
    /// The connection was accepted and then closed or reset.
    Reset,
    /// No complete answer within the probe time-out.
    TimedOut,
    /// The host name of the probe address is not known.
    UnknownHost,
    /// The network refuses: no route, for example.
    Unreachable,
    /// What came back is not HTTP.
    NotHttp,
}

impl Silence {
    /// The end of the sentence "the API …".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refuses the connection",
            Self::Reset => "closes the connection without an answer",
            Self::TimedOut => "does not answer in time",
            Self::UnknownHost => "has a host name that cannot be resolved",
            Self::Unreachable => "cannot be reached over the network",
            Self::NotHttp => "does not speak HTTP",
        }
    }
}
