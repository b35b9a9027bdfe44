//! A resolver of a test's own: the daemon sees other `/etc/hosts`, `/etc/resolv.conf` and `/etc/nsswitch.conf` than the
//! rest of the machine, in a mount namespace.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use uuid::Uuid;

/// The files, and the way to start a program that sees them.
pub(crate) struct Names {
    folder: PathBuf,
    script: String,
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Names {
    /// Names are looked up in the file alone (`sources` is `files`), or after it by a name server that does not answer
    /// (`files dns`). `None` where this machine lets nobody mount.
    pub(crate) fn new(sources: &str) -> Result<Option<Self>> {
        let folder = std::env::temp_dir().join(format!("auth-reconciler-names-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder)?;
        let mut script = String::new();
        for (name, text) in [
            ("hosts", "127.0.0.1 localhost\n".to_owned()),
            // Nobody listens on port 53 of this address.
            (
                "resolv.conf",
                "nameserver 127.0.53.99\noptions timeout:1 attempts:1\n".to_owned(),
            ),
            (
                "nsswitch.conf",
                format!("passwd: files\nhosts: {sources}\n"),
            ),
        ] {
            let file = folder.join(name);
            std::fs::write(&file, text)?;
            let file = file.to_str().context("a path that is no text")?;
            write!(script, "mount --bind {file} /etc/{name} && ")?;
        }
        let names = Self { folder, script };
        let tried = Command::new("unshare")
            .args(["--mount", "sh", "-c", &format!("{}true", names.script)])
            .stderr(Stdio::null())
            .status();
        if tried.is_ok_and(|status| status.success()) {
            return Ok(Some(names));
        }
        eprintln!("skipped: nothing can be mounted here (it takes root)");
        Ok(None)
    }

    /// The script that a wrapper of [`Names::wrapper`] runs.
    pub(crate) fn script(&self) -> String {
        format!("{}exec \"$0\" \"$@\"", self.script)
    }

    /// The program and its arguments that start another one which sees these files.
    pub(crate) fn wrapper(script: &str) -> [&str; 5] {
        ["unshare", "--mount", "sh", "-c", script]
    }

    /// From now on these names lead to this machine, and no others but `localhost`.
    pub(crate) fn know(&self, names: &[String]) -> Result<()> {
        let here: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), "127.0.0.1"))
            .collect();
        self.know_at(&here)
    }

    /// From now on these names lead to these addresses, and no others but `localhost`.
    pub(crate) fn know_at(&self, names: &[(&str, &str)]) -> Result<()> {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in names {
            writeln!(text, "{address} {name}")?;
        }
        // The same file: another one of that name would not be seen.
        Ok(std::fs::write(self.hosts(), text)?)
    }

    fn hosts(&self) -> impl AsRef<Path> {
        self.folder.join("hosts")
    }
}
