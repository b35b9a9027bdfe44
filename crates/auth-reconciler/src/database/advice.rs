//! What an operator can do about a connection that failed.
//!
//! The error itself says what happened; this says what to change. The sentences are constants, so none can hold
//! anything of a URL.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};
use tokio_postgres::error::SqlState;

/// What to do about an error of connecting, if there is something to say.
pub(crate) fn advice(error: &tokio_postgres::Error) -> Option<&'static str> {
    if let Some(code) = error.code() {
        return by_code(code);
    }
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = cause
            .downcast_ref()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if let Some(tls) = tls {
            return by_tls(tls);
        }
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return by_io(cause);
        }
        if let Some(advice) = by_text(&cause.to_string()) {
            return Some(advice);
        }
        next = cause.source();
    }
    None
}

/// Whether an error of connecting, or of a connection, may be gone in a moment: nothing listens yet, the server
/// starts, stops or is full, or a time-out of its own ended the session. What the settings are to blame for (the
/// password, the name of the database, TLS) is not among them.
pub(crate) fn may_pass(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        // What a pooler says of a user or database that it does not know.
        let refused = *code == SqlState::PROTOCOL_VIOLATION;
        let passing = ["08", "53", "57P", "25P03", "25P04"];
        return !refused && passing.iter().any(|class| code.code().starts_with(class));
    }
    if error.is_closed() {
        return true;
    }
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            let of_tls = cause
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>());
            return !of_tls && io_may_pass(cause);
        }
        next = cause.source();
    }
    false
}

fn io_may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let passing = [
        Kind::ConnectionRefused,
        Kind::ConnectionReset,
        Kind::ConnectionAborted,
        Kind::BrokenPipe,
        Kind::UnexpectedEof,
        // The socket of a server that has not started yet.
        Kind::NotFound,
        Kind::TimedOut,
        Kind::HostUnreachable,
        Kind::NetworkUnreachable,
        Kind::NetworkDown,
    ];
    // Names of containers are known when those are.
    passing.contains(&error.kind()) || error.to_string().contains("failed to lookup address")
}

fn by_code(code: &SqlState) -> Option<&'static str> {
    let advice = match *code {
        SqlState::INVALID_PASSWORD => {
            "the user or the password is wrong: check both; a special character in a URL must be percent-encoded"
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "the role does not exist, may not log in, or pg_hba.conf has no line for this user, database, address \
             and kind of connection: if it wants encryption set sslmode=require, if it wants none sslmode=disable, \
             if it wants a client certificate set sslcert and sslkey"
        }
        SqlState::INVALID_CATALOG_NAME => {
            "the database does not exist: check the name after the host, which is the user's name if it is left out"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the role may not connect to this database: grant connect on it"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            "the server has no connection left: lower --pool-size (AUTH_RECONCILER_POOL_SIZE) or raise \
             max_connections"
        }
        SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping: try again in a moment",
        SqlState::PROTOCOL_VIOLATION | SqlState::FEATURE_NOT_SUPPORTED => {
            "something in between, most likely a connection pooler, refuses: see whether it knows this user, password \
             and database; if it is a start-up parameter that it refuses, connect to Postgres directly"
        }
        _ => return None,
    };
    Some(advice)
}

fn by_tls(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as Tls;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library adds kinds; those without advice need none"
    )]
    match error {
        Tls::InvalidCertificate(fault) => Some(by_certificate(fault)),
        Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied,
        ) => Some(
            "the server refuses this client's certificate: check sslcert and sslkey, and which authority \
                   the server trusts (ssl_ca_file)",
        ),
        Tls::AlertReceived(AlertDescription::ProtocolVersion) | Tls::PeerIncompatible(_) => Some(
            "the server's TLS is too old: it must speak TLS 1.2 or 1.3 (ssl_min_protocol_version, ssl_ciphers)",
        ),
        Tls::InvalidMessage(_) => {
            Some("the answer is not TLS: check host and port, and what stands between")
        }
        _ => None,
    }
}

fn by_certificate(fault: &CertificateError) -> &'static str {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library adds faults; they share one advice"
    )]
    match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by the authority in sslrootcert or DATABASE_SSL_CA: name the \
             PEM file of the one that signed it"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name: connect by a name that is among its alternative names \
             (its common name does not count), or check the authority alone with sslmode=verify-ca"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it, or check this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: check this machine's clock"
        }
        _ => {
            "the server's certificate cannot be used: it must be an X.509 certificate of version 3 made for servers"
        }
    }
}

fn by_io(error: &io::Error) -> Option<&'static str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "kinds without advice need none")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing listens there: check host and port, whether Postgres runs, and its listen_addresses")
        }
        io::ErrorKind::NotFound => Some("there is no such socket: check the directory in host, the port, and \
            whether Postgres runs"),
        io::ErrorKind::TimedOut => Some("the host does not answer: check host and port, and firewalls in between"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("the host cannot be reached from here: check its address and the network")
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            Some("the connection was closed at once: check that it is Postgres that listens there, and its log")
        }
        io::ErrorKind::PermissionDenied => by_text(&error.to_string())
            .or(Some("the socket may not be opened: check the permissions of its directory, or firewall rules")),
        _ => by_text(&error.to_string()),
    }
}

/// What the library tells in words alone.
fn by_text(text: &str) -> Option<&'static str> {
    const WORDS: &[(&str, &str)] = &[
        (
            "server does not support TLS",
            "the server has no TLS: turn it on there (ssl = on), or set sslmode=prefer or disable if the network \
             is trusted",
        ),
        (
            "password missing",
            "the server asks for a password: put one into the URL or set DATABASE_PASSWORD",
        ),
        (
            "server did not use channel binding",
            "the server offers no channel binding: it needs TLS and scram-sha-256 for this user, and nothing in \
             between that ends TLS; or leave channel_binding=require out",
        ),
        (
            "unsupported authentication method",
            "the server wants a method that is not spoken (Kerberos, SSPI): allow scram-sha-256 for this user in \
             pg_hba.conf",
        ),
        (
            "database does not allow writes",
            "if this server is a standby, name the primary, or all of them separated by commas; if \
             default_transaction_read_only is on for the database or the role, set it off (alter database … set, \
             alter role … set)",
        ),
        (
            "failed to lookup address information",
            "the host's name is not known here: check its spelling and the name service",
        ),
        (
            "invalid dns name",
            "the host's name cannot be checked against a certificate: use its DNS name or address",
        ),
    ];
    WORDS
        .iter()
        .find(|(words, _)| text.contains(words))
        .map(|(_, advice)| *advice)
}
