//! Where the manager's database is and how it is reached.
//!
//! The one `DATABASE_URL` is written for the manager, which is node-postgres or an ORM on top of it; here it has to
//! mean the same. So what libpq, node-postgres and Prisma understand is understood or refused by name, never passed
//! over in silence ([`url`] takes the text apart, [`parameter`] gives each key its meaning, [`tls`] does what
//! `sslmode` promises).
//!
//! Nothing here shows a password: not an error, not [`Database::describe`], not `Debug`.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::config::{Host, TargetSessionAttrs};

mod advice;
mod key;
mod parameter;
mod tls;
mod url;

pub(crate) use advice::{advice, may_pass};
pub(crate) use parameter::Ignored;
pub(crate) use tls::{Connector, TlsError, TlsMode};

/// A database, ready to be connected to.
#[derive(Clone)]
pub(crate) struct Database {
    config: tokio_postgres::Config,
    tls: tls::Tls,
    ignored: Vec<Ignored>,
}

/// What is taken from the separate settings where a URL says nothing.
#[derive(Default)]
pub(crate) struct Defaults {
    /// `DATABASE_SSL`.
    pub(crate) mode: Option<TlsMode>,
    /// `DATABASE_SSL_CA`.
    pub(crate) ca: Option<PathBuf>,
    /// `DATABASE_PASSWORD`.
    pub(crate) password: Option<String>,
}

/// The separate names of the manager's settings.
pub(crate) struct Names {
    /// `DATABASE_HOST`.
    pub(crate) host: String,
    /// `DATABASE_PORT`.
    pub(crate) port: u16,
    /// `DATABASE_USER`.
    pub(crate) user: String,
    /// `DATABASE_NAME`.
    pub(crate) name: Option<String>,
}

/// Why a database cannot be reached by what was given. Repeats nothing of a URL but keys and harmless values.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// Neither a URL nor key=value pairs.
    #[error("it is neither postgres://user:password@host:port/name nor a list of key=value pairs")]
    NotUnderstood,
    /// Quotation marks became part of the value, as in some environment files.
    #[error(
        "it begins with a quotation mark: the file that sets it keeps quotation marks, so leave them out"
    )]
    Quoted,
    /// Another scheme.
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
    /// The host's brackets or name.
    #[error(
        "its host is not understood: give a name, an address, [address] for IPv6, or the percent-encoded \
             directory of a socket"
    )]
    Host,
    /// The port.
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
        /// Which.
        key: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A known key with a value that it does not take.
    #[error("{key} does not accept `{value}`: {accepted}")]
    Value {
        /// Which.
        key: &'static str,
        /// As given; no secret.
        value: String,
        /// What would be right.
        accepted: &'static str,
    },
    /// A check was asked for without anything to check against.
    #[error(
        "sslmode={0} needs the certificate of the authority that signed the server's: name its PEM file with \
         sslrootcert in the URL or with --database-ca (DATABASE_SSL_CA)"
    )]
    NoCa(TlsMode),
    /// Half of a client certificate.
    #[error(
        "sslcert and sslkey belong together and are this client's own certificate and key; the authority's certificate \
         belongs in sslrootcert"
    )]
    HalfClientCertificate,
}

impl Database {
    /// Reads a URL, or libpq's key=value form.
    pub(crate) fn from_url(url: &str, defaults: &Defaults) -> Result<Self, DatabaseError> {
        parameter::Draft::from_pairs(url::pairs(url)?)?.finish(defaults)
    }

    /// Takes the separate names.
    pub(crate) fn from_names(names: Names, defaults: &Defaults) -> Result<Self, DatabaseError> {
        parameter::Draft::from_names(names)?.finish(defaults)
    }

    /// How to connect, without TLS' part in it: see [`Database::connector`]. `options` holds what the URL asked for;
    /// whoever sets its own must keep it.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// The same for who only reads: a server that takes no writes will do, where it is the only one that is named.
    pub(crate) fn for_reading(&self) -> Self {
        let mut reading = self.clone();
        if reading.config.get_hosts().len() == 1 {
            reading.config.target_session_attrs(TargetSessionAttrs::Any);
        }
        reading
    }

    /// TLS' part. Reads the certificate files each time, so that a renewed one counts from the next connect on.
    pub(crate) fn connector(&self) -> Result<Connector, TlsError> {
        self.tls.connector()
    }

    /// What the URL asked for and does not get, each with the reason.
    pub(crate) fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// User, hosts, database and TLS mode in the form of a URL, without secrets.
    pub(crate) fn describe(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(i, host)| self.place(i, host))
            .collect();
        format!(
            "postgres://{}@{}/{} (sslmode={})",
            url::encoded(self.config.get_user().unwrap_or_default()),
            hosts.join(","),
            url::encoded(self.config.get_dbname().unwrap_or_default()),
            self.tls.mode
        )
    }

    fn place(&self, index: usize, host: &Host) -> String {
        let ports = self.config.get_ports();
        let port = ports
            .get(index)
            .or_else(|| ports.first())
            .copied()
            .unwrap_or(parameter::DEFAULT_PORT);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{}:{port}", url::encoded(name)),
            Host::Unix(directory) => {
                format!("{}:{port}", url::encoded(&directory.to_string_lossy()))
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.describe()).finish()
    }
}

fn named(key: Option<&str>) -> String {
    key.map_or_else(
        || "a key after the password (quote or percent-encode the password)".to_owned(),
        |key| format!("key `{key}`"),
    )
}

#[cfg(test)]
mod tests;
