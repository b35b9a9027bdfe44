//! A real PgBouncer in transaction mode, in front of one server.
//!
//! It hands a session to somebody else after each transaction, so LISTEN does not work through it, and whatever a
//! session sets is left behind for others.

use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::connection_url::with_address;
use crate::patience::{PATIENCE, within};
use crate::port::free_port;
use crate::postgres::{private_folder, server_owner};
use crate::process::Process;

/// A running pooler; dropping it ends it.
pub struct Pooler {
    // Ends before its folder goes.
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl Pooler {
    /// Starts a pooler for the server of `url`, with so many server connections a database.
    ///
    /// # Errors
    /// When PgBouncer is not installed or does not listen in time.
    #[track_caller]
    pub fn start(url: &str, connections: usize) -> impl Future<Output = Result<Self>> + use<> {
        let caller = Location::caller();
        let url = url.to_owned();
        async move {
            let address = crate::connection_url::address(&url)?;
            let (host, server_port) = address
                .rsplit_once(':')
                .context("the address has no port")?;
            let owner = server_owner()?;
            let folder = private_folder(owner)?;
            let port = free_port()?;
            let settings = folder.join("pgbouncer.ini");
            std::fs::write(
                &settings,
                format!(
                    "[databases]\n* = host={host} port={server_port} user=postgres\n[pgbouncer]\n\
                     listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                     pool_mode = transaction\ndefault_pool_size = {connections}\n"
                ),
            )?;
            let mut command = Command::new("/usr/sbin/pgbouncer");
            command.arg(&settings);
            if let Some((user, group)) = owner {
                std::os::unix::fs::chown(&settings, Some(user), Some(group))?;
                command.uid(user).gid(group);
            }
            let process =
                Process::spawn(&mut command).context("is the package pgbouncer installed?")?;
            let pooler = Self {
                process,
                folder,
                port,
            };
            let listens = pooler.process.until(|progress| {
                let up = progress
                    .lines
                    .iter()
                    .any(|line| line.text.contains("process up"));
                (up || progress.exit.is_some()).then_some(up)
            });
            let up = within(PATIENCE, caller, "pgbouncer to listen", listens).await?;
            ensure!(up, "pgbouncer ended at once");
            Ok(pooler)
        }
    }

    /// `url` through the pooler.
    ///
    /// # Errors
    /// When it is not a URL.
    pub fn url(&self, url: &str) -> Result<String> {
        with_address(url, "127.0.0.1", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // Nothing is left to do about an error here.
        let _ = self.process.signal("KILL");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
