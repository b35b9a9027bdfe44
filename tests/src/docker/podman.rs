//! A real Podman of a test's own, by its Docker-compatible socket.
//!
//! Everything of it lives in one folder. What the machine has set for Podman does not count: limits of processes that
//! a machine in a container may not grant are replaced, events go to a file, because there may be no journal, and
//! nothing asks for systemd. Its containers use the machine's own network, which needs no network plug-ins.

use std::ops::Deref;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::engine::Engine;
use super::private::{FAREWELL, empty, ready};
use super::remnants;
use crate::patience::Caller;
use crate::postgres::private_folder;
use crate::process::Process;

/// Instead of the machine's `containers.conf`.
const SETTINGS: &str = "\
[containers]
default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]
[engine]
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
";

/// Where it may be installed.
const PROGRAMS: [&str; 2] = ["/usr/bin/podman", "/usr/local/bin/podman"];

/// A running Podman; dropping it removes it with its containers and mounts.
pub struct Podman {
    engine: Engine,
    folder: PathBuf,
    service: Process,
}

impl Podman {
    /// Starts one; `None` where Podman is not installed.
    ///
    /// # Errors
    /// When we are not root or it does not come up; the message holds the end of its log.
    #[track_caller]
    pub fn start() -> impl Future<Output = Result<Option<Self>>> {
        start(Location::caller())
    }
}

async fn start(caller: Caller) -> Result<Option<Podman>> {
    let program = PROGRAMS
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file());
    let Some(program) = program else {
        return Ok(None);
    };
    let folder = private_folder(None)?;
    let engine = Engine::behind(folder.join("podman.sock"));
    let settings = folder.join("containers.conf");
    std::fs::write(&settings, SETTINGS)?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", &folder)
        .env("TMPDIR", &folder)
        .env("CONTAINERS_CONF", &settings)
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .arg("--tmpdir")
        .arg(folder.join("tmp"))
        .args(["--log-level", "info", "system", "service", "--time", "0"])
        .arg(engine.url());
    let podman = Podman {
        service: Process::spawn(&mut command)?,
        engine,
        folder,
    };
    ready(&podman.service, caller, "Podman", "API service listening").await?;
    Ok(Some(podman))
}

impl Deref for Podman {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Podman {
    /// Removes everything, also after a panic.
    fn drop(&mut self) {
        empty(self.engine.socket());
        let _ = self.service.signal("TERM");
        let _ = self.service.ended_blocking(FAREWELL);
        remnants::unmount_below(&self.folder);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
