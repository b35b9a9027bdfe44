//! What each key of a database URL means here.
//!
//! Which keys there are is in [`crate::key`]. Where libpq and tokio-postgres differ in a unit or a name, libpq's is
//! meant; zero asks for the default, as in libpq, and the defaults are chosen here: a dead peer is noticed in half a
//! minute, and a standby is not a database to work on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{
    ChannelBinding, Config, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs,
};

use crate::key::{self, ACCEPTED, IGNORED, PASSWORD_SETTING, UNSUPPORTED};
use crate::tls::{ClientCertificate, Tls, TlsMode};
use crate::url::{Pair, text};
use crate::{Database, DatabaseError, Defaults, Names, SettingNames};

pub(crate) const DEFAULT_PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVES_COUNT: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Something that the URL asked for and does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored {
    /// The key.
    pub key: &'static str,
    /// Why it is passed over.
    pub reason: &'static str,
}

/// A connection in the making.
pub(crate) struct Draft {
    config: Config,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    user: Option<String>,
    database: Option<String>,
    has_password: bool,
    ssl: Option<TlsMode>,
    sslmode: Option<TlsMode>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ignored: Vec<Ignored>,
}

impl Draft {
    pub(crate) fn from_pairs(
        pairs: Vec<Pair>,
        settings: SettingNames,
    ) -> Result<Self, DatabaseError> {
        let mut draft = Self::new();
        for pair in pairs {
            draft.set(pair, settings)?;
        }
        Ok(draft)
    }

    pub(crate) fn from_names(names: Names) -> Result<Self, DatabaseError> {
        let mut draft = Self::new();
        draft.hosts = vec![checked("the host", names.host)?];
        draft.ports = vec![names.port];
        draft.user = Some(checked("the user's name", names.user)?);
        draft.database = names
            .name
            .map(|name| checked("the database's name", name))
            .transpose()?;
        Ok(draft)
    }

    fn new() -> Self {
        let mut config = Config::new();
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVES_IDLE)
            .keepalives_interval(KEEPALIVES_INTERVAL)
            .keepalives_retries(KEEPALIVES_COUNT)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Self {
            config,
            hosts: Vec::new(),
            addresses: Vec::new(),
            ports: Vec::new(),
            user: None,
            database: None,
            has_password: false,
            ssl: None,
            sslmode: None,
            ca: None,
            certificate: None,
            key: None,
            ignored: Vec::new(),
        }
    }

    fn set(&mut self, pair: Pair, settings: SettingNames) -> Result<(), DatabaseError> {
        if pair.key == "password" {
            if !pair.value.is_empty() {
                self.config.password(pair.value);
                self.has_password = true;
            }
            return Ok(());
        }
        if let Some((key, reason)) = IGNORED.iter().find(|(key, _)| *key == pair.key) {
            self.ignored.push(Ignored { key, reason });
            return Ok(());
        }
        if let Some((key, instead)) = UNSUPPORTED.iter().find(|(key, _)| *key == pair.key) {
            let instead = instead.replace(PASSWORD_SETTING, settings.password);
            return Err(DatabaseError::Unsupported { key, instead });
        }
        let value = text("a value", pair.value)?;
        let Some(key) = ACCEPTED
            .iter()
            .copied()
            .find(|key| *key == key::spelling(&pair.key))
        else {
            return Err(DatabaseError::UnknownKey(pair.nameable.then_some(pair.key)));
        };
        if value.is_empty() {
            return Ok(());
        }
        match key {
            "host" | "hostaddr" | "port" | "user" | "dbname" => self.set_place(key, value),
            "sslmode" | "ssl" | "sslrootcert" | "sslcert" | "sslkey" => self.set_tls(key, value),
            "connect_timeout"
            | "tcp_user_timeout"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count" => self.set_number(key, value),
            _ => self.set_session(key, value),
        }
    }

    fn set_place(&mut self, key: &'static str, value: String) -> Result<(), DatabaseError> {
        match key {
            "user" => self.user = Some(value),
            "dbname" => self.database = Some(value),
            "host" => self.hosts = value.split(',').map(str::to_owned).collect(),
            "port" => self.ports = value.split(',').map(port).collect::<Result<_, _>>()?,
            _ => self.addresses = value.split(',').map(address).collect::<Result<_, _>>()?,
        }
        Ok(())
    }

    fn set_tls(&mut self, key: &'static str, value: String) -> Result<(), DatabaseError> {
        let not = |accepted: &'static str| DatabaseError::Value {
            key,
            value: value.clone(),
            accepted,
        };
        match key {
            "sslmode" => {
                self.sslmode = Some(TlsMode::from_name(&value).ok_or_else(|| not(TlsMode::NAMES))?)
            }
            "ssl" => {
                self.ssl = Some(TlsMode::from_setting(&value).ok_or_else(|| not(TlsMode::SETTING))?)
            }
            "sslrootcert" if value == "system" => {
                return Err(not(
                    "name a PEM file; on Debian /etc/ssl/certs/ca-certificates.crt holds the system's",
                ));
            }
            "sslrootcert" => self.ca = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            _ => self.key = Some(value.into()),
        }
        Ok(())
    }

    /// Times and counts; libpq's milliseconds and seconds.
    fn set_number(&mut self, key: &'static str, value: String) -> Result<(), DatabaseError> {
        let Ok(number) = value.trim().parse::<i32>() else {
            let accepted = "give a whole number";
            return Err(DatabaseError::Value {
                key,
                value,
                accepted,
            });
        };
        let config = &mut self.config;
        if key == "keepalives" {
            config.keepalives(number != 0);
            return Ok(());
        }
        // Zero or less asks for the default, as in libpq; it is ours here.
        let Ok(number @ 1..) = u32::try_from(number) else {
            return Ok(());
        };
        let seconds = Duration::from_secs(number.into());
        match key {
            "connect_timeout" => config.connect_timeout(seconds),
            "tcp_user_timeout" => config.tcp_user_timeout(Duration::from_millis(number.into())),
            "keepalives_idle" => config.keepalives_idle(seconds),
            "keepalives_interval" => config.keepalives_interval(seconds),
            _ => config.keepalives_retries(number),
        };
        Ok(())
    }

    fn set_session(&mut self, key: &'static str, value: String) -> Result<(), DatabaseError> {
        let not = |accepted: &'static str| DatabaseError::Value {
            key,
            value: value.clone(),
            accepted,
        };
        let config = &mut self.config;
        match key {
            "options" => config.options(&*value),
            "target_session_attrs" => config.target_session_attrs(match value.as_str() {
                "any" => TargetSessionAttrs::Any,
                "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                _ => return Err(not("give read-write, primary or any: this program writes")),
            }),
            "channel_binding" => config.channel_binding(match value.as_str() {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return Err(not("give disable, prefer or require")),
            }),
            "load_balance_hosts" => config.load_balance_hosts(match value.as_str() {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return Err(not("give disable or random")),
            }),
            "sslnegotiation" => config.ssl_negotiation(match value.as_str() {
                "postgres" => SslNegotiation::Postgres,
                "direct" => SslNegotiation::Direct,
                _ => return Err(not("give postgres or direct")),
            }),
            _ => return key::fixed(key, &value).map_err(not),
        };
        Ok(())
    }

    pub(crate) fn finish(mut self, defaults: &Defaults) -> Result<Database, DatabaseError> {
        let user = self.user.take().ok_or(DatabaseError::NoUser)?;
        self.config
            .dbname(self.database.take().unwrap_or_else(|| user.clone()));
        self.config.user(user);
        if let Some(password) = defaults.password.as_ref().filter(|_| !self.has_password) {
            self.config.password(password);
        }
        self.places()?;
        let tls = self.tls(defaults)?;
        self.config.ssl_mode(match tls.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::NoVerify | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                SslMode::Require
            }
        });
        Ok(Database {
            config: self.config,
            tls,
            ignored: self.ignored,
        })
    }

    /// What TLS is to do, once the hosts are known.
    fn tls(&mut self, defaults: &Defaults) -> Result<Tls, DatabaseError> {
        let client = match (self.certificate.take(), self.key.take()) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(DatabaseError::HalfClientCertificate),
        };
        let only_sockets = self
            .config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        let ca = self.ca.take().or_else(|| defaults.ca.clone());
        let asked = self
            .sslmode
            .or(self.ssl)
            .or(defaults.mode)
            .unwrap_or(TlsMode::Prefer);
        // As in libpq: a Unix socket has no TLS, whatever is asked for, and a CA makes `require` check.
        let mode = match asked {
            _ if only_sockets => TlsMode::Disable,
            TlsMode::Require if ca.is_some() => TlsMode::VerifyCa,
            TlsMode::VerifyCa | TlsMode::VerifyFull if ca.is_none() => {
                return Err(DatabaseError::NoCa {
                    mode: asked,
                    setting: defaults.settings.ca,
                });
            }
            TlsMode::Disable
            | TlsMode::Prefer
            | TlsMode::Require
            | TlsMode::NoVerify
            | TlsMode::VerifyCa
            | TlsMode::VerifyFull => asked,
        };
        let direct = self.config.get_ssl_negotiation() == SslNegotiation::Direct;
        if direct && mode == TlsMode::Prefer {
            return Err(DatabaseError::Value {
                key: "sslnegotiation",
                value: "direct".to_owned(),
                accepted: "it needs sslmode=require or stronger",
            });
        }
        Ok(Tls {
            mode,
            ca,
            ca_setting: defaults.settings.ca,
            client,
            direct,
        })
    }

    /// Hosts, addresses and ports. An address alone also serves as the name that a certificate is checked against.
    fn places(&mut self) -> Result<(), DatabaseError> {
        if self.hosts.is_empty() {
            self.hosts = self
                .addresses
                .drain(..)
                .map(|address| address.to_string())
                .collect();
        }
        if self.hosts.is_empty() {
            self.hosts.push("localhost".to_owned());
        }
        let (hosts, ports, addresses) = (self.hosts.len(), self.ports.len(), self.addresses.len());
        if ports > 1 && ports != hosts {
            return Err(DatabaseError::PortCount { hosts, ports });
        }
        if addresses > 0 && addresses != hosts {
            return Err(DatabaseError::AddressCount { hosts, addresses });
        }
        for host in &self.hosts {
            self.config
                .host(if host.is_empty() { "localhost" } else { host });
        }
        for address in &self.addresses {
            self.config.hostaddr(*address);
        }
        for port in &self.ports {
            self.config.port(*port);
        }
        Ok(())
    }
}

fn checked(what: &'static str, value: String) -> Result<String, DatabaseError> {
    text(what, value.into_bytes())
}

fn port(text: &str) -> Result<u16, DatabaseError> {
    match text {
        "" => Ok(DEFAULT_PORT),
        text => text
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or(DatabaseError::Port),
    }
}

fn address(text: &str) -> Result<IpAddr, DatabaseError> {
    let accepted = "give IP addresses, comma separated";
    text.parse().map_err(|_| DatabaseError::Value {
        key: "hostaddr",
        value: text.to_owned(),
        accepted,
    })
}
