//! What a database URL means: to libpq, to node-postgres, and to Prisma; and TLS as its `sslmode` promises it.
//!
//! One URL is often written for one program and read by others. [`tokio_postgres::Config`] reads a part of what is
//! found there; this crate reads all of it, and whatever it cannot honour is passed over with a reason
//! ([`Database::ignored`]) or refused by name, never in silence.
//!
//! # What is accepted
//!
//! - `postgres://` and `postgresql://` URLs with any number of hosts, IPv6 addresses in brackets, and the
//!   percent-encoded directory of a Unix socket; a password that holds `@`, `:` or `%` as it is, where only one reading
//!   is possible.
//! - libpq's `key=value` form, with quotes and backslashes.
//! - Separate names for host, port, user and database ([`Names`]), and what lends a URL its password, its TLS mode and
//!   its authority where it has none ([`Defaults`]).
//! - Every `sslmode` of libpq, node-postgres' `no-verify`, `ssl=true`, client certificates, channel binding,
//!   `sslnegotiation=direct`.
//!
//! # From where each fact comes
//!
//! - The forms, the keys, their units, and that zero asks for the default: PostgreSQL's manual, *libpq*, *Connection
//!   Strings* and *Parameter Key Words*. That `require` checks the authority once one is named, and that a Unix socket
//!   has no TLS: there, *SSL Support*.
//! - `ssl`, `no-verify`, `uselibpqcompat`, a plus for a blank in `options`, the names of pool settings: node-postgres'
//!   modules `pg-connection-string`, `pg` and `pg-pool`.
//! - `schema`, `connection_limit`, `pool_timeout`, `pgbouncer`, `socket_timeout`, `sslaccept`, `sslidentity`: Prisma's
//!   page on connection URLs of PostgreSQL.
//! - `supa`, `prepareThreshold`, `binary` and their like stand in URLs that hosts of databases hand out, for other
//!   drivers.
//!
//! # How it is built
//!
//! `url` takes the text apart and judges nothing, `key` lists the keys, `parameter` gives each its meaning, [`tls`]
//! does what `sslmode` promises, and [`Failure`] says of what a connection failed. Nothing here shows a password: not
//! an error, not [`Database::describe`], not `Debug`.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::config::{Host, TargetSessionAttrs};

mod error;
mod failure;
mod key;
mod parameter;
pub mod tls;
mod url;

pub use error::DatabaseError;
pub use failure::Failure;
pub use parameter::Ignored;
pub use tls::{Connector, TlsError, TlsMode};

/// A database, ready to be connected to.
#[derive(Clone)]
pub struct Database {
    config: tokio_postgres::Config,
    tls: tls::Tls,
    ignored: Vec<Ignored>,
}

/// What is taken from elsewhere where a URL says nothing.
#[derive(Default)]
pub struct Defaults {
    /// What `sslmode` would say.
    pub mode: Option<TlsMode>,
    /// What `sslrootcert` would name.
    pub ca: Option<PathBuf>,
    /// The password.
    pub password: Option<String>,
    /// How the program calls the settings that these come from.
    pub settings: SettingNames,
}

/// How the program calls its own settings beside the URL, for the errors that advise to set one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingNames {
    /// The one that names the authority's certificate.
    pub ca: &'static str,
    /// The one that holds the password.
    pub password: &'static str,
}

/// The names of the fields above, for a program that has no settings of its own.
impl Default for SettingNames {
    fn default() -> Self {
        Self {
            ca: "Defaults::ca",
            password: "Defaults::password",
        }
    }
}

/// A database that is named in parts instead of by a URL.
pub struct Names {
    /// A host's name, an address, or the directory of a Unix socket.
    pub host: String,
    /// The TCP port, or the number in the socket's name.
    pub port: u16,
    /// The role to connect as.
    pub user: String,
    /// The database; the user's name if left out.
    pub name: Option<String>,
}

impl Database {
    /// Reads a URL, or libpq's key=value form.
    ///
    /// # Errors
    /// When it is neither, leaves two readings, or asks for what cannot be done; the error repeats no secret.
    pub fn from_url(url: &str, defaults: &Defaults) -> Result<Self, DatabaseError> {
        parameter::Draft::from_pairs(url::pairs(url)?, defaults.settings)?.finish(defaults)
    }

    /// Takes a database that is named in parts.
    ///
    /// # Errors
    /// When a part holds a zero byte, or TLS is asked for that has nothing to check against.
    pub fn from_names(names: Names, defaults: &Defaults) -> Result<Self, DatabaseError> {
        parameter::Draft::from_names(names)?.finish(defaults)
    }

    /// How to connect, without TLS' part in it: see [`Database::connector`]. `options` holds what the URL asked for;
    /// whoever sets its own must keep it.
    pub fn config(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// The same for who only reads: a server that takes no writes will do, where it is the only one that is named.
    pub fn for_reading(&self) -> Self {
        let mut reading = self.clone();
        if reading.config.get_hosts().len() == 1 {
            reading.config.target_session_attrs(TargetSessionAttrs::Any);
        }
        reading
    }

    /// TLS' part, for [`tokio_postgres::Config::connect`] and for pools. Reads the certificate files each time, so that a renewed one counts from the next connect on.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn connector(&self) -> Result<Connector, TlsError> {
        self.tls.connector()
    }

    /// What the URL asked for and does not get, each with the reason.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// User, hosts, database and TLS mode in the form of a URL, without secrets.
    pub fn describe(&self) -> String {
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

#[cfg(test)]
mod tests;
