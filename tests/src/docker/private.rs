//! An engine of a test's own, to be stopped, killed, frozen and started again.
//!
//! It lives in a folder of its own with a `containerd` of its own: one that runs on this machine already would keep the
//! containers of all engines in one namespace. It touches no firewall rule, because a starting engine flushes the
//! chains of the one beside it: published ports lead through the engine's userland proxy, which needs none. It has no
//! default bridge (there may be a `docker0` already); its networks come from a range of their own.

use std::ops::Deref;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::api;
use super::engine::Engine;
use super::remnants;
use crate::certificates::Certificates;
use crate::patience::{Caller, PATIENCE, within};
use crate::postgres::private_folder;
use crate::process::Process;

/// For what a `drop` waits for.
pub(super) const FAREWELL: Duration = Duration::from_secs(15);

/// What makes the paths of sockets too long for the kernel (107 bytes) when added to the folder.
const LONGEST: usize = "/containerd.sock.ttrpc".len();

/// A private engine; dropping it removes it with its containers, mounts and networks.
pub struct PrivateEngine {
    engine: Engine,
    folder: PathBuf,
    dockerd: Option<Process>,
    containerd: Option<Process>,
    /// Further words of its command line.
    more: Vec<String>,
}

impl Engine {
    /// Starts an engine of its own.
    ///
    /// # Errors
    /// When we are not root, the engine is not installed or it does not come up; the message holds the end of its log.
    #[track_caller]
    pub fn private() -> impl Future<Output = Result<PrivateEngine>> {
        private(Location::caller(), Vec::new())
    }

    /// The same, which listens on this port of 127.0.0.1, too, with TLS and for clients of the authority only.
    ///
    /// # Errors
    /// As for [`Engine::private`].
    #[track_caller]
    pub fn private_with_tls(
        certificates: &Certificates,
        port: u16,
    ) -> impl Future<Output = Result<PrivateEngine>> {
        let file = |path: &Path| path.display().to_string();
        let more = [
            "--tlsverify".to_owned(),
            format!("--host=tcp://127.0.0.1:{port}"),
            format!("--tlscacert={}", file(&certificates.authority)),
            format!("--tlscert={}", file(&certificates.server.certificate)),
            format!("--tlskey={}", file(&certificates.server.key)),
        ];
        private(Location::caller(), more.to_vec())
    }
}

async fn private(caller: Caller, more: Vec<String>) -> Result<PrivateEngine> {
    let folder = private_folder(None)?;
    ensure!(
        folder.as_os_str().len() + LONGEST < 107,
        "{} is too long a path for an engine's sockets",
        folder.display()
    );
    let mut private = PrivateEngine {
        engine: Engine::behind(folder.join("docker.sock")),
        folder,
        dockerd: None,
        containerd: None,
        more,
    };
    private.write_settings()?;
    private.launch(caller).await?;
    Ok(private)
}

impl Deref for PrivateEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl PrivateEngine {
    /// Stops it in an orderly way: it stops its containers first. Its socket is gone then.
    ///
    /// # Errors
    /// When it does not end within the usual patience.
    #[track_caller]
    pub fn stop(&mut self) -> impl Future<Output = Result<()>> {
        self.end("TERM", Location::caller())
    }

    /// Kills it. Its containers go on, but their published ports do not, and its socket stays and refuses; the next
    /// start stops them.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    #[track_caller]
    pub fn kill(&mut self) -> impl Future<Output = Result<()>> {
        self.end("KILL", Location::caller())
    }

    /// Starts it again after [`PrivateEngine::stop`] or [`PrivateEngine::kill`], with the containers that it had, none
    /// of which runs.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    #[track_caller]
    pub fn start_again(&mut self) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        async move {
            ensure!(self.dockerd.is_none(), "the engine is still running");
            self.launch(caller).await
        }
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As for both.
    #[track_caller]
    pub fn restart(&mut self) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        async move {
            self.end("TERM", caller).await?;
            self.launch(caller).await
        }
    }

    /// Freezes it: its socket accepts (the kernel does) and nothing answers. When this returns, each of its threads has
    /// stopped: the signal is taken by one after the other, and until then the rest still answer.
    ///
    /// # Errors
    /// When the signal cannot be sent, or has no effect.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")?;
        let pid = self.pid().context("the engine does not run")?;
        // Nobody tells of it; how often this asks decides nothing.
        for _ in 0..10_000 {
            if all_stopped(pid)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("the engine does not stop")
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// The process number of the engine while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.dockerd.as_ref().map(Process::pid)
    }

    /// Where everything of it lives; gone when it is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn signal(&self, name: &str) -> Result<()> {
        let dockerd = self.dockerd.as_ref().context("the engine does not run")?;
        dockerd.signal(name)
    }

    async fn end(&mut self, signal: &str, caller: Caller) -> Result<()> {
        let Some(dockerd) = self.dockerd.take() else {
            return Ok(());
        };
        dockerd.signal(signal)?;
        within(PATIENCE, caller, "the engine to end", dockerd.ended()).await?;
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn write_settings(&self) -> Result<()> {
        // An empty file, so that the machine's own settings are not ours.
        std::fs::write(self.path("daemon.json"), "{}")?;
        let (root, state, socket) = (
            self.path("containerd"),
            self.path("containerd-state"),
            self.path("containerd.sock"),
        );
        let settings = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
        );
        std::fs::write(self.path("containerd.toml"), settings)?;
        Ok(())
    }

    async fn launch(&mut self, caller: Caller) -> Result<()> {
        if self.containerd.is_none() {
            let mut command = command("containerd")?;
            command.args(["--config", &self.path("containerd.toml")]);
            let containerd = Process::spawn(&mut command)?;
            ready(&containerd, caller, "containerd", "successfully booted").await?;
            self.containerd = Some(containerd);
        }
        // A killed one leaves it, and its number may be somebody else's by now.
        let _ = std::fs::remove_file(self.path("docker.pid"));
        let mut command = command("dockerd")?;
        for (option, value) in [
            ("--config-file", self.path("daemon.json")),
            ("--host", self.engine.url()),
            ("--containerd", self.path("containerd.sock")),
            ("--data-root", self.path("data")),
            ("--exec-root", self.path("exec")),
            ("--pidfile", self.path("docker.pid")),
            ("--bridge", "none".to_owned()),
            ("--default-address-pool", self.addresses()),
        ] {
            command.arg(option).arg(value);
        }
        command.args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"]);
        command.args(&self.more);
        let dockerd = Process::spawn(&mut command)?;
        ready(&dockerd, caller, "the engine", "API listen on").await?;
        self.dockerd = Some(dockerd);
        Ok(())
    }

    /// A range that hardly anybody else has: the engine looks for overlaps, but two that start at once do not see each
    /// other's.
    fn addresses(&self) -> String {
        let name = self.folder.to_string_lossy();
        let sum = name.bytes().fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        format!(
            "base=10.{}.{}.0/20,size=24",
            100 + sum % 100,
            sum / 100 % 16 * 16
        )
    }
}

impl Drop for PrivateEngine {
    /// Removes everything, also after a panic, and whatever state the engine is in.
    fn drop(&mut self) {
        if let Some(dockerd) = &self.dockerd {
            let _ = dockerd.signal("CONT");
            empty(self.engine.socket());
            let _ = dockerd.signal("TERM");
            let _ = dockerd.ended_blocking(FAREWELL);
        }
        // Kills it if that was in vain.
        self.dockerd = None;
        // Before containerd: what it still watches over are the containers of a killed engine.
        remnants::kill_shims(&self.path("containerd.sock"));
        if let Some(containerd) = self.containerd.take() {
            let _ = containerd.signal("TERM");
            let _ = containerd.ended_blocking(FAREWELL);
        }
        remnants::unmount_below(&self.folder);
        remnants::remove_links(&self.folder);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes all containers and networks; best effort.
pub(super) fn empty(socket: &Path) {
    let ask = |method: &str, path: &str| {
        let answer = api::blocking(socket, method, path, FAREWELL).unwrap_or_default();
        let list: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        let ids = list.as_array().into_iter().flatten();
        ids.filter_map(|one| one["Id"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    for id in ask("GET", "/containers/json?all=1") {
        ask("DELETE", &format!("/containers/{id}?force=1&v=1"));
    }
    for id in ask(
        "GET",
        "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D",
    ) {
        ask("DELETE", &format!("/networks/{id}"));
    }
}

/// Waits for the line that says that it serves.
pub(super) async fn ready(process: &Process, caller: Caller, what: &str, line: &str) -> Result<()> {
    let said = process.until(|progress| {
        let said = progress.lines.iter().any(|said| said.text.contains(line));
        (said || progress.exit.is_some()).then_some(said)
    });
    let log = || {
        process.look(|progress| {
            let from = progress.lines.len().saturating_sub(20);
            let lines: Vec<_> = progress.lines.iter().skip(from).collect();
            let lines = lines.into_iter().map(|line| line.text.as_str());
            lines.collect::<Vec<_>>().join("\n")
        })
    };
    match within(PATIENCE, caller, &format!("{what} to be ready"), said).await {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{what} did not start (it needs root):\n{}", log()),
        Err(error) => Err(error.context(format!("the log of {what} so far:\n{}", log()))),
    }
}

fn command(name: &str) -> Result<Command> {
    // Not always in the path of a test.
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let program = folders
        .into_iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed (Debian: docker.io)"))?;
    let mut command = Command::new(program);
    command.env_clear();
    command.env(
        "PATH",
        format!(
            "/usr/sbin:/sbin:{}",
            std::env::var("PATH").unwrap_or_default()
        ),
    );
    Ok(command)
}

/// Whether every thread of a process is stopped by a signal.
fn all_stopped(pid: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile. Its state follows its name, which stands in parentheses.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        if !state.is_some_and(|state| state.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}
