//! A private PostgreSQL server for tests that need settings, certificates or a crash of their own.
//!
//! The server runs as a direct child (no `pg_ctl`), so its number is known, its log is read as the signal that it is
//! ready, and dropping the [`Cluster`] ends it and removes its folder, after a panic too. PostgreSQL refuses to run as
//! root: then it runs as the system's `postgres` user. `fsync` stays on, because durability is among the things tested;
//! a role other than `postgres` may be made to prove itself with a password.
//!
//! Most tests share one server ([`shared_cluster`]) and take a database each ([`crate::database::TestDatabase`]).

mod installation;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use self::installation::{private_folder, program, server_owner};
use crate::certificates::Identity;
use crate::patience::{Caller, PATIENCE, within};
use crate::port::free_port;
use crate::process::{Line, Process};

/// The variable with the superuser's URL of the server that all tests share.
pub const SHARED_URL: &str = "AUTH_RECONCILER_TEST_DATABASE_URL";

/// A standby accepts read-only ones.
const READY: [&str; 2] = [
    "database system is ready to accept connections",
    "database system is ready to accept read-only connections",
];

/// So many lines of the log show why a server does not run.
const LAST: usize = 50;

/// The superuser's URL of the server that `tests/run.sh` started.
///
/// # Errors
/// When the variable is not set; the message says what to do.
pub fn shared_cluster() -> Result<String> {
    std::env::var(SHARED_URL).with_context(|| {
        format!("{SHARED_URL} is not set: run tests/run.sh, or set it to a superuser's URL")
    })
}

/// How a server is to be set up.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    settings: Vec<(String, String)>,
    scram_for_others: bool,
    tls_only: bool,
    rules: Option<String>,
    language: Option<String>,
}

impl ClusterOptions {
    /// Adds a setting of `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Databases whose `lc_messages` is set to `C.UTF-8` speak this language, as far as it was installed with the server;
    /// all others, and the server's log, speak English.
    #[must_use]
    pub fn language(mut self, code: &str) -> Self {
        self.language = Some(code.to_owned());
        self
    }

    /// Roles other than `postgres` need their password (SCRAM-SHA-256).
    #[must_use]
    pub fn scram_for_others(mut self) -> Self {
        self.scram_for_others = true;
        self
    }

    /// Switches TLS on with this certificate.
    #[must_use]
    pub fn tls(self, identity: &Identity) -> Self {
        self.set("ssl", "on")
            .set("ssl_cert_file", &identity.certificate.to_string_lossy())
            .set("ssl_key_file", &identity.key.to_string_lossy())
    }

    /// Refuses TCP connections without TLS; the harness itself then uses [`Cluster::socket_url`].
    #[must_use]
    pub fn tls_only(mut self) -> Self {
        self.tls_only = true;
        self
    }

    /// Lets in over TCP whom these lines of `pg_hba.conf` let in, and nobody else; the harness itself then uses
    /// [`Cluster::socket_url`].
    #[must_use]
    pub fn rules(mut self, lines: &str) -> Self {
        self.rules = Some(lines.to_owned());
        self
    }

    fn host_rules(&self) -> String {
        if let Some(rules) = &self.rules {
            return format!("local all all trust\n{rules}");
        }
        let host = if self.tls_only { "hostssl" } else { "host" };
        let others = if self.scram_for_others {
            "scram-sha-256"
        } else {
            "trust"
        };
        format!(
            "local all all trust\n\
             {host} all postgres 127.0.0.1/32 trust\n\
             {host} all all 127.0.0.1/32 {others}\n\
             {host} replication postgres 127.0.0.1/32 trust\n"
        )
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends the sessions, writes a checkpoint (SIGINT).
    Fast,
    /// Drops everything as it is: what was committed asynchronously may be lost (SIGQUIT).
    Immediate,
    /// As when the machine's memory killer comes: not even the shared memory is freed (SIGKILL).
    Kill,
}

/// A private server; dropping it stops it and removes its folder.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    owner: Option<(u32, u32)>,
    options: ClusterOptions,
    server: Option<Process>,
}

impl Cluster {
    /// Makes and starts a server.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up; the message holds the end of its log.
    #[track_caller]
    pub fn start(options: ClusterOptions) -> impl Future<Output = Result<Self>> {
        let caller = Location::caller();
        async move {
            let owner = server_owner()?;
            let folder = private_folder(owner)?;
            let mut cluster = Self {
                folder,
                port: 0,
                owner,
                options,
                server: None,
            };
            cluster.initialise().await?;
            for _ in 0..5 {
                cluster.port = free_port()?;
                if cluster.launch(caller).await? {
                    return Ok(cluster);
                }
            }
            bail!("five free ports in a row were taken before the server could listen");
        }
    }

    /// Stops the server and waits until all of its processes are gone.
    ///
    /// # Errors
    /// When it does not stop within the usual patience.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        async move {
            let Some(server) = self.server.take() else {
                return Ok(());
            };
            server.signal(match how {
                Stop::Fast => "INT",
                Stop::Immediate => "QUIT",
                Stop::Kill => "KILL",
            })?;
            within(PATIENCE, caller, "the server to stop", server.ended()).await?;
            Ok(())
        }
    }

    /// Starts the stopped server again, on the same port with the same data.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    #[track_caller]
    pub fn start_again(&mut self) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        async move {
            ensure!(self.server.is_none(), "the server is still running");
            ensure!(
                self.launch(caller).await?,
                "the server's port was taken while it was stopped"
            );
            Ok(())
        }
    }

    /// As [`Cluster::start_again`], as a hot standby of nobody: it can be read, and stays in recovery.
    ///
    /// # Errors
    /// As for [`Cluster::start_again`].
    #[track_caller]
    pub fn start_as_standby(&mut self) -> impl Future<Output = Result<()>> {
        let signal = std::fs::write(self.folder.join("data/standby.signal"), "");
        let started = self.start_again();
        async move {
            signal?;
            started.await
        }
    }

    /// The superuser's URL over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The superuser's URL over the server's own socket: works whatever TCP connections must prove.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.socket_folder().to_string_lossy().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process number of the server (the postmaster) while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// The log of the server since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.as_ref().map(log).unwrap_or_default()
    }

    fn socket_folder(&self) -> PathBuf {
        self.folder.join("socket")
    }

    async fn initialise(&self) -> Result<()> {
        let socket = self.socket_folder();
        std::fs::create_dir(&socket)?;
        if let Some((user, group)) = self.owner {
            chown(&socket, Some(user), Some(group))?;
        }
        let mut initdb = self.command("initdb")?;
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        initdb.arg(self.folder.join("data"));
        let process = Process::spawn(&mut initdb)?;
        let status = process.ended().await;
        ensure!(
            status.success(),
            "initdb failed ({status}):\n{}",
            end_of_log(&process, LAST)
        );
        std::fs::write(
            self.folder.join("data/pg_hba.conf"),
            self.options.host_rules(),
        )?;
        Ok(())
    }

    /// Starts the server and waits until it is ready; `false` says that somebody else has the port.
    async fn launch(&mut self, caller: Caller) -> Result<bool> {
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(self.folder.join("data"));
        let socket = self.socket_folder();
        let port = self.port.to_string();
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", &socket.to_string_lossy()),
            ("shared_buffers", "32MB"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("lc_messages", "C"),
        ];
        let given = self
            .options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.into_iter().chain(given) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let server = Process::spawn(&mut command)?;
        let ready = server.until(|progress| {
            let told = |line: &Line| READY.iter().any(|ready| line.text.contains(ready));
            let ready = progress.lines.iter().any(told);
            (ready || progress.exit.is_some()).then_some(ready)
        });
        let ready = within(PATIENCE, caller, "the server to be ready", ready).await;
        match ready {
            Ok(true) => {
                self.server = Some(server);
                Ok(true)
            }
            Ok(false) if log(&server).contains("Address already in use") => Ok(false),
            Ok(false) => bail!("the server did not start:\n{}", end_of_log(&server, LAST)),
            Err(error) => {
                let end = end_of_log(&server, LAST);
                Err(error.context(format!("the server's log so far:\n{end}")))
            }
        }
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(program(name)?);
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        if let Some(language) = &self.options.language {
            command.env("LANGUAGE", language);
        }
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = server.signal("QUIT");
            let _ = server.ended_blocking(Duration::from_secs(10));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn log(process: &Process) -> String {
    end_of_log(process, usize::MAX)
}

/// So many lines of it.
fn end_of_log(process: &Process, most: usize) -> String {
    process.look(|progress| {
        let lines = &progress.lines[progress.lines.len().saturating_sub(most)..];
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    })
}
