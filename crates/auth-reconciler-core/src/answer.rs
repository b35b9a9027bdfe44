//! What a probe saw, as facts without secrets.

use crate::witness::Word;

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
    /// It was not asked: what failed is ours. Says nothing about the instance, so it is no miss, nothing
    /// is recorded or written of it, and it is tried again.
    NotAsked(Shortage),
}

impl Answer {
    /// Whether it came in the words of the provider's profile, whatever they say: proof that the way to
    /// this instance leads to its API and not to somebody in between.
    #[must_use]
    pub const fn in_own_words(&self) -> bool {
        matches!(Word::of(self), Some(Word::Own))
    }

    /// Whether anything at all came back from the address: an answer, a refusal, a connection.
    #[must_use]
    pub const fn speaks(&self) -> bool {
        match self {
            Self::Ready
            | Self::Authenticated
            | Self::QrReady
            | Self::NotConnected
            | Self::ProviderError
            | Self::Rejected { .. }
            | Self::Http { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. } => true,
            Self::Silent(silence) => silence.speaks(),
            Self::NotAsked(_) => false,
        }
    }
}

/// What we lacked to ask an API at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// No file descriptor is left (EMFILE, ENFILE).
    Descriptors,
    /// No local port is left (EADDRNOTAVAIL, EADDRINUSE).
    LocalPorts,
    /// No memory for it (ENOMEM, ENOBUFS).
    Memory,
    /// The system forbids the connection (EACCES, EPERM).
    Permission,
    /// Our own network is down or leads nowhere (ENETUNREACH, ENETDOWN).
    Network,
    /// The resolver does not answer, or says "try again" (EAI_AGAIN).
    Resolver,
    /// The engine, which alone knows the address, is out of sight.
    Engine,
}

impl Shortage {
    /// What is the case and what helps, as a sentence about this process.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptors => {
                "no file descriptor is left to ask with; raise the limit of open files (ulimit -n, LimitNOFILE)"
            }
            Self::LocalPorts => {
                "no local port is left to ask from; see net.ipv4.ip_local_port_range and what else connects from here"
            }
            Self::Memory => {
                "no memory is left to ask with; see the limits of this process and its machine"
            }
            Self::Permission => {
                "the system forbids the connection; see firewall and security rules of this machine"
            }
            Self::Network => {
                "the network cannot be reached from here; see its interfaces and routes"
            }
            Self::Engine => {
                "the engine is out of sight, and no one else knows the addresses of the containers; see the view reconcilers"
            }
            Self::Resolver => {
                "the resolver does not answer; see /etc/resolv.conf and the DNS server it names"
            }
        }
    }
}

/// How an API failed to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing listens.
    Refused,
    /// The connection was accepted and then closed or reset.
    Reset,
    /// A connection, and no complete answer over it within the probe time-out.
    TimedOut,
    /// Nothing came back within the probe time-out, not even a refusal.
    NoReply,
    /// The resolver answers that there is no such name: true of a container that is gone.
    UnknownHost,
    /// No route to this host: true of a container that is gone.
    Unreachable,
    /// What came back is not HTTP.
    NotHttp,
}

impl Silence {
    /// Whether something came back from the address.
    #[must_use]
    pub const fn speaks(self) -> bool {
        match self {
            Self::Refused | Self::Reset | Self::TimedOut | Self::NotHttp => true,
            Self::NoReply | Self::UnknownHost | Self::Unreachable => false,
        }
    }

    /// The end of the sentence "the API …".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refuses the connection",
            Self::Reset => "closes the connection without an answer",
            Self::TimedOut => "does not answer in time",
            Self::NoReply => "cannot be connected to in time",
            Self::UnknownHost => "has a host name that cannot be resolved",
            Self::Unreachable => "cannot be reached over the network",
            Self::NotHttp => "does not speak HTTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator reads of a shortage of ours: what is the case, and what helps.
    #[test]
    fn a_shortage_is_told_with_what_helps() {
        for (shortage, right) in [
            (
                Shortage::Descriptors,
                "no file descriptor is left to ask with; raise the limit of open files (ulimit -n, LimitNOFILE)",
            ),
            (
                Shortage::LocalPorts,
                "no local port is left to ask from; see net.ipv4.ip_local_port_range and what else connects from here",
            ),
            (
                Shortage::Memory,
                "no memory is left to ask with; see the limits of this process and its machine",
            ),
            (
                Shortage::Permission,
                "the system forbids the connection; see firewall and security rules of this machine",
            ),
            (
                Shortage::Network,
                "the network cannot be reached from here; see its interfaces and routes",
            ),
            (
                Shortage::Engine,
                "the engine is out of sight, and no one else knows the addresses of the containers; see the view reconcilers",
            ),
            (
                Shortage::Resolver,
                "the resolver does not answer; see /etc/resolv.conf and the DNS server it names",
            ),
        ] {
            assert_eq!(shortage.as_str(), right);
        }
    }

    /// Each ends a sentence that begins with "the API", and says whether somebody was there.
    #[test]
    fn a_silence_is_told_and_says_whether_somebody_was_there() {
        for (silence, right, speaks) in [
            (Silence::Refused, "refuses the connection", true),
            (
                Silence::Reset,
                "closes the connection without an answer",
                true,
            ),
            (Silence::TimedOut, "does not answer in time", true),
            (Silence::NotHttp, "does not speak HTTP", true),
            (Silence::NoReply, "cannot be connected to in time", false),
            (
                Silence::UnknownHost,
                "has a host name that cannot be resolved",
                false,
            ),
            (
                Silence::Unreachable,
                "cannot be reached over the network",
                false,
            ),
        ] {
            assert_eq!((silence.as_str(), silence.speaks()), (right, speaks));
            assert_eq!(Answer::Silent(silence).speaks(), speaks, "{silence:?}");
        }
    }

    #[test]
    fn every_answer_speaks_and_what_was_not_asked_does_not() {
        for answer in [
            Answer::Ready,
            Answer::Authenticated,
            Answer::QrReady,
            Answer::NotConnected,
            Answer::ProviderError,
            Answer::Rejected { code: 401 },
            Answer::Http { code: 500 },
            Answer::Malformed { what: "words" },
            Answer::TooLarge { cap: 1 },
        ] {
            assert!(answer.speaks(), "{answer:?}");
        }
        assert!(!Answer::NotAsked(Shortage::Memory).speaks());
    }
}
