//! The PostgreSQL that is installed on this machine, and the user that its server must run as.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// The path of one of PostgreSQL's programs, from the newest version installed.
///
/// # Errors
/// When it is not found.
pub fn program(name: &str) -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort();
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let folders = versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(told);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "PostgreSQL's {name} is not installed (looked in /usr/lib/postgresql and pg_config)"
            )
        })
}

/// User and group that the server must run as; `None` means as ourselves.
///
/// # Errors
/// When we are root and the system has no user `postgres`.
pub fn server_owner() -> Result<Option<(u32, u32)>> {
    if id(["-u"])? != 0 {
        return Ok(None);
    }
    let no_user = "PostgreSQL refuses to run as root and there is no user postgres";
    Ok(Some((
        id(["-u", "postgres"]).context(no_user)?,
        id(["-g", "postgres"]).context(no_user)?,
    )))
}

/// A new folder below the system's temporary one, which only the server's user (and root) may enter.
///
/// # Errors
/// When it cannot be made.
pub fn private_folder(owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let folder = std::env::temp_dir().join(format!("auth-reconciler-{}", &random[..12]));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = owner {
        chown(&folder, Some(user), Some(group))?;
    }
    Ok(folder)
}

fn id<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Result<u32> {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .context("cannot run id")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}
