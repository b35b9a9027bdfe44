//! Where the engine is: a socket of this machine, or a host with or without TLS.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use url::Url;
use uuid::Uuid;

/// The socket that an engine of this machine has by default.
pub(crate) const LOCAL_SOCKET: &str = "/var/run/docker.sock";

/// Ports that are registered for the engine, without and with TLS.
const PORTS: (u16, u16) = (2375, 2376);

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    place: Place,
    certificates: Option<PathBuf>,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host.
    Tcp {
        /// Name or address, an IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text is no address of an engine. None repeats it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// Another scheme, or none.
    #[error("give unix:///path/to/docker.sock or tcp://host:2375, auto, or off")]
    Scheme,
    /// A socket without a path.
    #[error("give the path of the socket, as in unix:///var/run/docker.sock")]
    NoPath,
    /// Nothing that can be connected to.
    #[error("give a host, and a port if it is not 2375 (with TLS 2376), as in tcp://host:2375")]
    NoHost,
    /// More than host and port.
    #[error("neither user, password, path nor query belong into the address of an engine")]
    TooMuch,
}

impl Address {
    /// The engine's socket of this machine.
    pub(crate) fn local() -> Self {
        Self {
            place: Place::Unix(LOCAL_SOCKET.into()),
            certificates: None,
        }
    }

    /// Reads `unix://` and `tcp://`; with `certificates`, a folder of PEM files, `tcp` is with TLS.
    pub(crate) fn parse(text: &str, certificates: Option<&Path>) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') || path.len() < 2 {
                return Err(AddressError::NoPath);
            }
            return Ok(Self {
                place: Place::Unix(path.into()),
                certificates: None,
            });
        }
        let rest = ["tcp://", "http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or(AddressError::Scheme)?;
        // A scheme whose hosts the library reads as such.
        let url = Url::parse(&format!("ws://{rest}")).map_err(|_| AddressError::NoHost)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if !bare || url.fragment().is_some() || rest.contains('@') {
            return Err(AddressError::TooMuch);
        }
        let host = url.host_str().ok_or(AddressError::NoHost)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let (plain, tls) = PORTS;
        // 80 is what the library takes for this scheme's default and leaves out.
        let port = match url.port() {
            Some(0) => return Err(AddressError::NoHost),
            Some(port) => port,
            None if rest.trim_end_matches('/').ends_with(":80") => 80,
            None if certificates.is_some() => tls,
            None => plain,
        };
        Ok(Self {
            place: Place::Tcp { host, port },
            certificates: certificates.map(Path::to_owned),
        })
    }

    /// Where to connect.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// The folder with the files for TLS.
    pub(crate) fn certificates(&self) -> Option<&Path> {
        self.certificates.as_deref()
    }

    /// What tells this engine from others: its address and, for a socket, the machine, because every
    /// machine has a socket of that name.
    pub(crate) fn identity(&self) -> String {
        let machine = match &self.place {
            Place::Unix(_) => machine(),
            Place::Tcp { .. } => String::new(),
        };
        let name = format!("{self} {machine}");
        // Hashed: the machine's id is not for everybody.
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
            Place::Tcp { host, port } => {
                let open = if host.contains(':') {
                    ("[", "]")
                } else {
                    ("", "")
                };
                let tls = self.certificates.as_ref().map_or("", |_| " (TLS)");
                write!(f, "tcp://{}{host}{}:{port}{tls}", open.0, open.1)
            }
        }
    }
}

/// What tells this machine from others. In a container there is no machine id; what the kernel drew when it
/// started is the machine's there, too, and lasts until it is started again.
fn machine() -> String {
    ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty() && text != "uninitialized")
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text, None)
            .map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn addresses_are_read_as_docker_s_own_client_reads_them() {
        for (text, expected) in [
            (
                "unix:///run/user/1000/docker.sock",
                "unix:///run/user/1000/docker.sock",
            ),
            ("tcp://engine", "tcp://engine:2375"),
            (" tcp://10.0.0.7:80/ ", "tcp://10.0.0.7:80"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
            ("http://engine:2375", "tcp://engine:2375"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let certificates = Address::parse("tcp://engine", Some(Path::new("/certificates")));
        assert_eq!(
            certificates.map(|address| address.to_string()).as_deref(),
            Ok("tcp://engine:2376 (TLS)")
        );
    }

    #[test]
    fn what_is_none_says_what_would_be_one_and_repeats_nothing() {
        for (text, error) in [
            ("docker", AddressError::Scheme),
            ("ssh://user@host", AddressError::Scheme),
            ("npipe:////./pipe/docker_engine", AddressError::Scheme),
            ("unix://", AddressError::NoPath),
            ("unix://docker.sock", AddressError::NoPath),
            ("tcp://", AddressError::NoHost),
            ("tcp://host:0", AddressError::NoHost),
            ("tcp://host:99999", AddressError::NoHost),
            ("tcp://user:secret@host", AddressError::TooMuch),
            ("tcp://host/v1.41", AddressError::TooMuch),
            ("tcp://host?x=1", AddressError::TooMuch),
        ] {
            assert_eq!(Address::parse(text, None), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn an_engine_is_told_from_another_and_stays_itself() {
        let of = |text| Address::parse(text, None).expect("address").identity();
        assert_eq!(of("unix:///a.sock"), of("unix:///a.sock"));
        assert_ne!(of("unix:///a.sock"), of("unix:///b.sock"));
        assert_ne!(of("tcp://a"), of("tcp://b"));
        let machine = machine();
        assert!(!machine.is_empty() && !of("unix:///a.sock").contains(&machine));
    }
}
