//! Of what a connection failed, where the server said nothing with a code of its own.
//!
//! The libraries tell some of it by types, some by the kinds of the operating system, and some in words alone; a
//! program that has advice for its operator, or has to know whether to try again, needs one list.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Of what a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing listens at that address and port.
    Refused,
    /// There is no socket of that name.
    NoSocket,
    /// The host does not answer.
    Silent,
    /// No way leads to the host.
    Unreachable,
    /// The host's name is not known here.
    UnknownHost,
    /// Whoever listens closed the connection before there was a session.
    Closed,
    /// The session was there, and ended.
    Ended,
    /// This machine forbids it: the socket's permissions, or a firewall.
    Forbidden,
    /// The server asks for a password, and there is none.
    NoPassword,
    /// The server wants to know who we are in a way that is not spoken.
    UnknownMethod,
    /// The server takes no writes, and they are asked for.
    ReadOnly,
    /// The server has no TLS, and it is asked for.
    NoTls,
    /// The server offers no channel binding, and it is asked for.
    NoChannelBinding,
    /// The host's name is none that a certificate could be for.
    NoCertificateName,
    /// What answers does not speak TLS.
    NotTls,
    /// The server's TLS is of a version or a kind that is not spoken.
    OldTls,
    /// The server refuses this client's certificate.
    ClientRefused,
    /// The authority did not sign the server's certificate.
    OtherAuthority,
    /// The server's certificate is for another name.
    OtherName,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate cannot be used for another reason.
    UnusableCertificate,
    /// TLS failed otherwise.
    OtherTls,
}

impl Failure {
    /// Of what it failed; nothing where the server said it with an SQLSTATE, or where it is of no known kind.
    #[must_use]
    pub fn of(error: &tokio_postgres::Error) -> Option<Self> {
        if error.code().is_some() {
            return None;
        }
        if error.is_closed() {
            return Some(Self::Ended);
        }
        let mut next: Option<&(dyn Error + 'static)> = error.source();
        while let Some(cause) = next {
            let io = cause.downcast_ref::<io::Error>();
            let inner = io.and_then(io::Error::get_ref);
            let tls = cause
                .downcast_ref()
                .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
            if let Some(tls) = tls {
                return Some(Self::of_tls(tls));
            }
            let told = Self::of_words(&cause.to_string());
            if io.is_some() || told.is_some() {
                return told.or_else(|| io.and_then(Self::of_io));
            }
            next = cause.source();
        }
        None
    }

    /// Whether it may be gone in a moment: nothing listens yet, the way there is cut, a container's name is not known
    /// yet, a standby is not promoted yet. What the URL is to blame for (a password, a certificate) is not among these.
    #[must_use]
    pub fn may_pass(self) -> bool {
        match self {
            Self::Refused
            | Self::NoSocket
            | Self::Silent
            | Self::Unreachable
            | Self::UnknownHost
            | Self::Closed
            | Self::ReadOnly
            | Self::Ended => true,
            Self::Forbidden
            | Self::NoPassword
            | Self::UnknownMethod
            | Self::NoTls
            | Self::NoChannelBinding
            | Self::NoCertificateName
            | Self::NotTls
            | Self::OldTls
            | Self::ClientRefused
            | Self::OtherAuthority
            | Self::OtherName
            | Self::Expired
            | Self::NotYetValid
            | Self::UnusableCertificate
            | Self::OtherTls => false,
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        use io::ErrorKind as Kind;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library has kinds that no connection meets"
        )]
        match error.kind() {
            Kind::ConnectionRefused => Some(Self::Refused),
            Kind::NotFound => Some(Self::NoSocket),
            Kind::TimedOut => Some(Self::Silent),
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Some(Self::Unreachable)
            }
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::UnexpectedEof => Some(Self::Closed),
            Kind::PermissionDenied => Some(Self::Forbidden),
            _ => None,
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library adds kinds; those without a name here are one"
        )]
        match error {
            Tls::InvalidCertificate(fault) => Self::of_certificate(fault),
            Tls::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied,
            ) => Self::ClientRefused,
            Tls::AlertReceived(AlertDescription::ProtocolVersion) | Tls::PeerIncompatible(_) => {
                Self::OldTls
            }
            Tls::InvalidMessage(_) => Self::NotTls,
            _ => Self::OtherTls,
        }
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library adds faults; those without a name here are one"
        )]
        match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::OtherAuthority
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            _ => Self::UnusableCertificate,
        }
    }

    /// What the libraries tell in words alone.
    fn of_words(text: &str) -> Option<Self> {
        const WORDS: &[(&str, Failure)] = &[
            ("server does not support TLS", Failure::NoTls),
            ("password missing", Failure::NoPassword),
            (
                "server did not use channel binding",
                Failure::NoChannelBinding,
            ),
            ("unsupported authentication method", Failure::UnknownMethod),
            ("database does not allow writes", Failure::ReadOnly),
            ("failed to lookup address information", Failure::UnknownHost),
            ("invalid dns name", Failure::NoCertificateName),
        ];
        let told = WORDS.iter().find(|(words, _)| text.contains(words));
        told.map(|(_, failure)| *failure)
    }
}
