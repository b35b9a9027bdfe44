//! A child process under watch: its output line by line, its end, and no chance to outlive its owner.
//!
//! Two threads read the two outputs into memory; the second to reach the end reaps the child. "Ended" therefore means
//! that the process *and whoever inherited its outputs* are gone: for a PostgreSQL server that includes every backend,
//! so a data folder may be used again as soon as [`Process::ended`] returns. As the child is reaped under the same lock
//! that signals take, no signal can reach a process that merely got the same number.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// Which output a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read, on this machine's clock.
    pub at: DateTime<Utc>,
    /// Where it was written.
    pub stream: Stream,
    /// The text without its line end.
    pub text: String,
}

/// What is known of a process so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Every line of both outputs, in the order in which they were read.
    pub lines: Vec<Line>,
    /// How it ended; `None` while it runs.
    pub exit: Option<ExitStatus>,
    open_streams: usize,
}

struct Shared {
    progress: Mutex<Progress>,
    child: Mutex<Child>,
    changed: Condvar,
    version: watch::Sender<u64>,
}

/// A running (or ended) child process; dropping it kills it.
pub struct Process {
    pid: u32,
    shared: Arc<Shared>,
}

impl Process {
    /// Starts `command` with no input and both outputs read into memory.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let stderr = child.stderr.take().context("the child has no stderr")?;
        let pid = child.id();
        let shared = Arc::new(Shared {
            progress: Mutex::new(Progress {
                open_streams: 2,
                ..Progress::default()
            }),
            child: Mutex::new(child),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
        });
        let process = Self { pid, shared };
        process.read(Stream::Stdout, stdout);
        process.read(Stream::Stderr, stderr);
        Ok(process)
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All of its output so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.look(|progress| {
            let lines: Vec<&str> = progress
                .lines
                .iter()
                .map(|line| line.text.as_str())
                .collect();
            lines.join("\n")
        })
    }

    /// Looks at what is known so far.
    pub fn look<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.shared.progress())
    }

    /// Waits until `find` finds something in what is known; give it a limit with [`crate::patience::within`].
    pub async fn until<T>(&self, mut find: impl FnMut(&Progress) -> Option<T>) -> T {
        let mut version = self.shared.version.subscribe();
        loop {
            version.borrow_and_update();
            if let Some(found) = self.look(&mut find) {
                return found;
            }
            // The sender lives as long as `self`, so this can only be a change.
            let _ = version.changed().await;
        }
    }

    /// Waits for the end of the process and of everything that inherited its outputs.
    pub async fn ended(&self) -> ExitStatus {
        self.until(|progress| progress.exit).await
    }

    /// Sends a signal by its name (`TERM`, `INT`, `QUIT`, `KILL`, `STOP`, `CONT`); nothing happens if it has ended.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let mut child = lock(&self.shared.child);
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid.to_string())
            .status()?;
        ensure!(
            status.success(),
            "kill -{name} {} failed: {status}",
            self.pid
        );
        Ok(())
    }

    /// As [`Process::ended`], for a `drop`, where nothing can be awaited; says whether it ended within `limit`.
    #[must_use]
    pub fn ended_blocking(&self, limit: Duration) -> bool {
        let progress = self.shared.progress();
        let running = |progress: &mut Progress| progress.exit.is_none();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(progress, limit, running);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .exit
            .is_some()
    }

    fn read(&self, stream: Stream, from: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut bytes = Vec::new();
            while matches!(from.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                shared.change(|progress| {
                    progress.lines.push(Line {
                        at: Utc::now(),
                        stream,
                        text,
                    })
                });
                bytes.clear();
            }
            let last = {
                let mut progress = shared.progress();
                progress.open_streams -= 1;
                progress.open_streams == 0
            };
            if last {
                let exit = lock(&shared.child).wait().ok();
                shared.change(|progress| progress.exit = exit);
            }
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.look(|progress| progress.exit.is_none()) {
            let _ = self.signal("KILL");
            let _ = self.ended_blocking(Duration::from_secs(10));
        }
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
    }
}

/// The path of a program of this workspace: as the variable says, else beside the running test's target folder.
///
/// # Errors
/// When it is not there; the message says what to do.
pub(crate) fn program_beside(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "there is no {name} near {}: run `cargo build` first, or set {variable}",
                own.display()
            )
        })
}

/// Locks, also when a panicking test left the lock poisoned: `drop` must still work then.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
