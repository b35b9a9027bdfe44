//! Why a URL cannot be used, and what to write instead: never with a value that may hold a secret.

use crate::key;
use crate::tls::TlsMode;

/// Why a database cannot be reached by what was given. Repeats nothing of a URL but keys and harmless values.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Neither a URL nor key=value pairs.
    #[error("it is neither postgres://user:password@host:port/name nor a list of key=value pairs")]
    NotUnderstood,
    /// Quotation marks became part of the value, as in some environment files.
    #[error(
        "it begins with a quotation mark: the file that sets it keeps quotation marks, so leave them out"
    )]
    Quoted,
    /// A URL of another scheme.
    #[error("only postgres:// and postgresql:// are accepted")]
    Scheme,
    /// A character that makes the URL ambiguous; most often it belongs to the password.
    #[error(
        "a special character must be percent-encoded, in the password too: @ is %40, / is %2F, ? is %3F, # \
             is %23, : is %3A"
    )]
    Unencoded,
    /// Percent-encoding of something that is not UTF-8, or a zero byte.
    #[error("{0} is not valid text")]
    NotText(&'static str),
    /// A host whose brackets are not closed.
    #[error(
        "its host is not understood: give a name, an address, [address] for IPv6, or the percent-encoded \
             directory of a socket"
    )]
    Host,
    /// A port that is no number, or zero.
    #[error(
        "its port is not a number from 1 to 65535 (a special character in the password must be percent-encoded: / is \
         %2F, ? is %3F, # is %23)"
    )]
    Port,
    /// A list of ports that does not fit the list of hosts.
    #[error("it has {hosts} hosts but {ports} ports: give one port, or one for each host")]
    PortCount {
        /// How many hosts.
        hosts: usize,
        /// How many ports.
        ports: usize,
    },
    /// A list of addresses that does not fit the list of hosts.
    #[error("it has {hosts} hosts but {addresses} addresses in hostaddr: give one for each host")]
    AddressCount {
        /// How many hosts.
        hosts: usize,
        /// How many addresses.
        addresses: usize,
    },
    /// `key` without `=value`.
    #[error("a key=value pair has no =; a value with blanks is put in single quotes")]
    NoValue,
    /// A quoted value without its end.
    #[error("a quoted value is not closed")]
    OpenQuote,
    /// Nobody to connect as.
    #[error("it names no user")]
    NoUser,
    /// A key that nobody knows; named unless it may be a part of a password.
    #[error(
        "{} is not understood; accepted are: {}",
        named(.0.as_deref()),
        key::ACCEPTED.join(", ")
    )]
    UnknownKey(Option<String>),
    /// A key that others know and this program cannot honour.
    #[error("key `{key}` is not supported: {instead}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What to do instead.
        instead: String,
    },
    /// A known key with a value that it does not take.
    #[error("{key} does not accept `{value}`: {accepted}")]
    Value {
        /// The key.
        key: &'static str,
        /// As given; no secret.
        value: String,
        /// What would be right.
        accepted: &'static str,
    },
    /// A check was asked for without anything to check against.
    #[error(
        "sslmode={mode} needs the certificate of the authority that signed the server's: name its PEM file with \
         sslrootcert in the URL or with {setting}"
    )]
    NoCa {
        /// The mode that was asked for.
        mode: TlsMode,
        /// The setting that names the authority where the URL does not.
        setting: &'static str,
    },
    /// Half of a client certificate.
    #[error(
        "sslcert and sslkey belong together and are this client's own certificate and key; the authority's certificate \
         belongs in sslrootcert"
    )]
    HalfClientCertificate,
}

fn named(key: Option<&str>) -> String {
    key.map_or_else(
        || "a key after the password (quote or percent-encode the password)".to_owned(),
        |key| format!("key `{key}`"),
    )
}
