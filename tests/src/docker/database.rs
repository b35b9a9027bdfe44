//! How a container reaches a database that this machine reaches.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::spec::Spec;
use crate::database::connect;

/// Where the folder of the server's socket is in the container.
const MOUNT: &str = "/postgres";

/// The way from a container to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through the server's socket, whose folder is mounted; the container has a network of its own, as in reality.
    Socket {
        /// The folder on this machine.
        folder: PathBuf,
        /// The URL inside.
        url: String,
    },
    /// As this machine does it, in this machine's network.
    HostNetwork {
        /// The URL as it was given.
        url: String,
    },
}

/// Finds a way that works, by trying.
///
/// A container's own network does not lead to a server that listens on 127.0.0.1 only, as private ones do. The socket
/// does, but only if the server is on this machine and lets us in there: its `pg_hba.conf` may ask for `peer`. So it is
/// tried, from here, with the user that the container gets. What remains is the machine's network, where whatever works
/// here works there; the price is that nothing is published by the engine then.
pub async fn reach(url: &str) -> Reach {
    let host_network = Reach::HostNetwork {
        url: url.to_owned(),
    };
    let Ok(config) = url.parse::<Config>() else {
        return host_network;
    };
    let mut folders = Vec::new();
    if let Some(Host::Unix(folder)) = config.get_hosts().first() {
        folders.push(folder.clone());
    } else if let Ok(client) = connect(url).await {
        // Only a superuser is told; others take the other way.
        if let Ok(row) = client.query_one("show unix_socket_directories", &[]).await {
            let all: String = row.try_get(0).unwrap_or_default();
            folders.extend(all.split(',').map(|folder| PathBuf::from(folder.trim())));
        }
    }
    for folder in folders.into_iter().filter(|folder| folder.is_absolute()) {
        let Some(here) = through(&config, &folder.to_string_lossy()) else {
            continue;
        };
        // The same server, not another one with the same port number.
        if let (Some(url), true) = (through(&config, MOUNT), same(url, &here).await) {
            return Reach::Socket { folder, url };
        }
    }
    host_network
}

impl Reach {
    /// Gives a container this way to the database.
    #[must_use]
    pub fn apply(self, mut spec: Spec, user: (u32, u32)) -> Spec {
        // `peer` asks who we are: the container must be who this process is.
        spec.user = Some(user);
        match self {
            Self::Socket { folder, url } => {
                spec.mounts.push((folder, MOUNT.to_owned()));
                spec.settings.database = Some(url);
            }
            Self::HostNetwork { url } => {
                spec.host_network = true;
                spec.settings.database = Some(url);
            }
        }
        spec
    }
}

/// The connection through a folder's socket; `None` if it cannot be written as a URL.
fn through(config: &Config, folder: &str) -> Option<String> {
    let escape = |text: &str| {
        let escaped = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        });
        escaped.collect::<String>()
    };
    let mut url = format!("postgres://{}", escape(config.get_user()?));
    if let Some(password) = config.get_password() {
        url.push_str(&format!(":{}", escape(std::str::from_utf8(password).ok()?)));
    }
    let port = config.get_ports().first().copied().unwrap_or(5432);
    url.push_str(&format!("@{}:{port}", escape(folder)));
    if let Some(database) = config.get_dbname() {
        url.push_str(&format!("/{}", escape(database)));
    }
    Some(url)
}

/// Whether both lead to the same database of the same server.
async fn same(one: &str, other: &str) -> bool {
    let ask = async |url: &str| {
        let client = connect(url).await.ok()?;
        let what = "select current_database() || ' ' || pg_postmaster_start_time()::text";
        let row = client.query_one(what, &[]).await.ok()?;
        row.try_get::<_, String>(0).ok()
    };
    let one = ask(one).await;
    one.is_some() && one == ask(other).await
}
