//! The instance's image: the program and the libraries that it names, and nothing else. Nothing is pulled.
//!
//! The tag is a hash of the content, so an engine gets each build once, and two test runs with different builds do not
//! disturb each other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::api::Content;
use super::engine::Engine;
use crate::process::program_beside;

/// The variable with the path of the program `instance`, if it is not beside the running one.
pub const INSTANCE: &str = "AUTH_RECONCILER_INSTANCE_BIN";

const REPOSITORY: &str = "auth-reconciler-instance";

/// Makes the image on this engine unless it is there; gives its name.
pub(super) async fn ensure(engine: &Engine) -> Result<String> {
    let (tag, tar) = tokio::task::spawn_blocking(content).await??;
    let name = format!("{REPOSITORY}:{tag}");
    if engine.get(&format!("/images/{name}/json")).await.is_ok() {
        return Ok(name);
    }
    let change = "ENTRYPOINT%20%5B%22%2Finstance%22%5D";
    let path = format!("/images/create?fromSrc=-&repo={REPOSITORY}&tag={tag}&changes={change}");
    engine.send("POST", &path, Content::Tar(tar)).await?;
    // An import tells of its failures in the middle of a 200.
    let made = engine.get(&format!("/images/{name}/json")).await;
    made.context("the engine did not make the instance's image")?;
    Ok(name)
}

/// Hash and content of the image.
fn content() -> Result<(String, Vec<u8>)> {
    let program = program_beside("instance", INSTANCE)?;
    let folder = std::env::temp_dir().join(format!("auth-reconciler-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder)?;
    let packed = pack(&program, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    let tar = packed?;
    let hash = run(Command::new("sha256sum"), &tar)?;
    let hash: String = String::from_utf8(hash)?.chars().take(16).collect();
    ensure!(hash.len() == 16, "sha256sum printed no hash");
    Ok((hash, tar))
}

fn pack(program: &Path, folder: &Path) -> Result<Vec<u8>> {
    let copy = folder.join("instance");
    std::fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
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
        .arg("instance")
        .args(["-C", "/"]);
    for library in libraries(program)? {
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
