//! The images of the instance and of the daemon: the program and the libraries that it names, and nothing else. Nothing
//! is pulled.
//!
//! The tag is a hash of the content, so an engine gets each build once, and two test runs with different builds do not
//! disturb each other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;

use super::api::Content;
use super::engine::Engine;
use crate::daemon::BINARY;
use crate::process::program_beside;

/// The variable with the path of the program `instance`, if it is not beside the running one.
pub const INSTANCE: &str = "AUTH_RECONCILER_INSTANCE_BIN";

/// An image of a daemon that is older than this, in seconds, is of no run that still goes on.
const OLD: i64 = 60 * 60;

/// A program of which there is an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Instance,
    Daemon,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Daemon => "auth-reconciler",
        }
    }

    fn path(self) -> Result<PathBuf> {
        let variable = match self {
            Self::Instance => INSTANCE,
            Self::Daemon => BINARY,
        };
        program_beside(self.name(), variable)
    }

    const fn repository(self) -> &'static str {
        match self {
            Self::Instance => "auth-reconciler-instance",
            Self::Daemon => "auth-reconciler-daemon",
        }
    }
}

/// Makes the image on this engine unless it is there; gives its name.
pub(super) async fn ensure(engine: &Engine, program: Program) -> Result<String> {
    let (tag, tar) = tokio::task::spawn_blocking(move || content(program)).await??;
    let repository = program.repository();
    let name = format!("{repository}:{tag}");
    if engine.get(&format!("/images/{name}/json")).await.is_ok() {
        return Ok(name);
    }
    if program == Program::Daemon {
        forget_old(engine, repository).await?;
    }
    let change = format!("ENTRYPOINT%20%5B%22%2F{}%22%5D", program.name());
    // With the tag in it: Podman 4.3 passes over one that comes by itself.
    let path = format!("/images/create?fromSrc=-&repo={name}&changes={change}");
    engine.send("POST", &path, Content::Tar(tar)).await?;
    // An import tells of its failures in the middle of a 200.
    let made = engine.get(&format!("/images/{name}/json")).await;
    made.context("the engine did not make the image")?;
    Ok(name)
}

/// Removes images of earlier builds, of which there is one a build; who runs at the moment keeps its own.
async fn forget_old(engine: &Engine, repository: &str) -> Result<()> {
    let all = engine.get("/images/json").await?;
    for image in all.as_array().into_iter().flatten() {
        let names = image["RepoTags"].as_array().into_iter().flatten();
        let names = names.filter_map(|name| name.as_str()?.split_once(':'));
        let is_old = image["Created"]
            .as_i64()
            .is_some_and(|made| Utc::now().timestamp() - made > OLD);
        for (of, tag) in names.filter(|(of, _)| is_old && *of == repository) {
            let path = format!("/images/{of}:{tag}");
            // Another may have been quicker, or a container may have it.
            let _ = engine.send("DELETE", &path, Content::Nothing).await;
        }
    }
    Ok(())
}

/// Hash and content of the image.
fn content(program: Program) -> Result<(String, Vec<u8>)> {
    let folder = std::env::temp_dir().join(format!("auth-reconciler-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder)?;
    let packed = program
        .path()
        .and_then(|path| pack(program, &path, &folder));
    let _ = std::fs::remove_dir_all(&folder);
    let tar = packed?;
    let hash = run(Command::new("sha256sum"), &tar)?;
    let hash: String = String::from_utf8(hash)?.chars().take(16).collect();
    ensure!(hash.len() == 16, "sha256sum printed no hash");
    Ok((hash, tar))
}

fn pack(program: Program, path: &Path, folder: &Path) -> Result<Vec<u8>> {
    let copy = folder.join(program.name());
    std::fs::copy(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
    // Its symbols are nine tenths of it. Where nothing can remove them, they stay.
    let _ = Command::new("strip")
        .arg(&copy)
        .stderr(Stdio::null())
        .status();
    let mut tar = Command::new("tar");
    // Links are followed: a library is found under the name that the program asks for.
    tar.args([
        "-ch",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args(["-f", "-", "-C"])
        .arg(folder)
        .arg(program.name())
        .args(["-C", "/"]);
    for library in libraries(path)? {
        tar.arg(library.strip_prefix("/")?);
    }
    run(tar, &[])
}

/// The libraries that the program is linked to, and its loader; none if it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        // "not a dynamic executable"
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for line in text.lines() {
        // `name => /path (address)`, or only a path for the loader, or only a name for what the kernel provides.
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        match path {
            Some(path) => found.push(PathBuf::from(path)),
            None if line.contains("not found") => bail!("a library is missing: {}", line.trim()),
            None => {}
        }
    }
    Ok(found)
}

/// Runs a command with this input; gives what it printed.
fn run(mut command: Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let stdin = child.stdin.take();
    // It prints nothing before it has read everything (sha256sum) or reads nothing (tar).
    if let Some(mut stdin) = stdin {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name} failed: {}", output.status);
    Ok(output.stdout)
}
