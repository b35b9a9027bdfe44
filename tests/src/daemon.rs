//! The real binary as a process: started with nothing but the given settings, its JSON log read line by line.
//!
//! The environment is cleaned, so a test means what it says on every machine. Whatever a failure prints of the log is
//! freed of the secrets that the harness knows ([`Daemon::hide`] adds to them).

mod log;
mod secrets;

use std::panic::Location;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use self::log::LogLine;
pub use self::secrets::without_secrets;
use self::secrets::{redact, secrets};
use crate::database::TestDatabase;
use crate::patience::{Caller, PATIENCE, within};
use crate::process::{Process, Progress, Stream, program_beside};

/// The variable with the path of the binary under test.
pub const BINARY: &str = "AUTH_RECONCILER_BIN";

/// The variable with the engine that the daemon follows: `unix://…`, or `off`, which is what a test's daemon gets
/// unless it is given another in its settings, such as `(DOCKER, &engine.url())`.
pub const DOCKER: &str = "AUTH_RECONCILER_DOCKER";

/// The message that says that the daemon leads and hears.
pub const SERVING: &str = "serving";

/// Name and value of a setting (an environment variable).
pub type Setting<'a> = (&'a str, &'a str);

/// The settings with which a test's daemon finds its database and its stubs.
#[must_use]
pub fn settings_for(url: &str) -> Vec<(String, String)> {
    let own = [
        ("DATABASE_URL", url),
        (DOCKER, "off"),
        ("AUTH_RECONCILER_PROBE_URL", "http://127.0.0.1:{port}"),
        ("RUST_LOG", "info"),
    ];
    own.into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A running (or ended) daemon; dropping it kills it.
pub struct Daemon {
    process: Process,
    secrets: Vec<String>,
}

impl Daemon {
    /// Starts `run --migrate` on the test's database and waits until it serves. `settings` come on top of
    /// [`settings_for`] and win.
    ///
    /// # Errors
    /// When it ends or does not serve within the usual patience; the message holds the end of its log.
    #[track_caller]
    pub fn start(
        database: &TestDatabase,
        settings: &[Setting<'_>],
    ) -> impl Future<Output = Result<Self>> {
        let caller = Location::caller();
        async move {
            let daemon = Self::spawn(database.url(), &["run", "--migrate"], settings)?;
            daemon
                .wait(caller, 0, &format!("log line `{SERVING}`"), |line| {
                    line.is(SERVING)
                })
                .await?;
            Ok(daemon)
        }
    }

    /// Starts the binary with these arguments and does not wait; for a standby, or one that is to fail.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn spawn(url: &str, arguments: &[&str], settings: &[Setting<'_>]) -> Result<Self> {
        Self::spawn_within(&[], url, arguments, settings)
    }

    /// The same by way of another program that takes the binary and its arguments as its last ones and becomes it,
    /// such as `sh -c 'ulimit -n 24; exec "$0" "$@"'`.
    ///
    /// # Errors
    /// When either program is missing.
    pub fn spawn_within(
        wrapper: &[&str],
        url: &str,
        arguments: &[&str],
        settings: &[Setting<'_>],
    ) -> Result<Self> {
        let mut command = command_within(wrapper, url, arguments, settings)?;
        command.args(["--log-format", "json"]);
        let secrets = secrets(url, settings);
        Ok(Self {
            process: Process::spawn(&mut command)?,
            secrets,
        })
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.look(|progress| progress.exit.is_none())
    }

    /// Keeps one more secret out of what failures print.
    pub fn hide(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn sigterm(&self) -> Result<()> {
        self.process.signal("TERM")
    }

    /// Kills it.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn sigkill(&self) -> Result<()> {
        self.process.signal("KILL")
    }

    /// Sends any signal by its name (`STOP` and `CONT` freeze and thaw it).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within the usual patience.
    #[track_caller]
    pub fn ended(&self) -> impl Future<Output = Result<ExitStatus>> {
        let caller = Location::caller();
        async move {
            let ended = within(PATIENCE, caller, "the daemon to end", self.process.ended()).await;
            ended.with_context(|| self.tail())
        }
    }

    /// Waits for its end without any limit, for who watches it all the time.
    pub async fn exit(&self) -> ExitStatus {
        self.process.ended().await
    }

    /// Everything that it has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.process
            .look(|progress| progress.lines.iter().map(LogLine::parse).collect())
    }

    /// The raw output so far, secrets and all, for a test that looks for secrets in it.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.text()
    }

    /// How many lines were logged so far, to wait for what comes after them.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.process.look(|progress| progress.lines.len())
    }

    /// How many lines so far satisfy `condition`.
    #[must_use]
    pub fn count(&self, mut condition: impl FnMut(&LogLine) -> bool) -> usize {
        self.log().iter().filter(|line| condition(line)).count()
    }

    /// The lines so far by which it complains.
    #[must_use]
    pub fn complaints(&self) -> Vec<LogLine> {
        let mut log = self.log();
        log.retain(|line| matches!(line.level(), Some("WARN" | "ERROR")));
        log
    }

    /// Waits for a line with exactly this message, from the beginning of the log.
    ///
    /// # Errors
    /// When it does not come within the usual patience, or the daemon ended without it.
    #[track_caller]
    pub fn wait_message(&self, message: &str) -> impl Future<Output = Result<LogLine>> {
        self.wait_message_after(0, message)
    }

    /// Waits for a line with exactly this message after `mark`.
    ///
    /// # Errors
    /// As for [`Daemon::wait_message`].
    #[track_caller]
    pub fn wait_message_after(
        &self,
        mark: usize,
        message: &str,
    ) -> impl Future<Output = Result<LogLine>> {
        let caller = Location::caller();
        async move {
            self.wait(caller, mark, &format!("log line `{message}`"), |line| {
                line.is(message)
            })
            .await
        }
    }

    /// Waits for a line that satisfies `condition`, after `mark` (0: from the beginning).
    ///
    /// # Errors
    /// As for [`Daemon::wait_message`].
    #[track_caller]
    pub fn wait_line(
        &self,
        mark: usize,
        what: &str,
        condition: impl FnMut(&LogLine) -> bool,
    ) -> impl Future<Output = Result<LogLine>> {
        let caller = Location::caller();
        async move { self.wait(caller, mark, what, condition).await }
    }

    async fn wait(
        &self,
        caller: Caller,
        mark: usize,
        what: &str,
        mut condition: impl FnMut(&LogLine) -> bool,
    ) -> Result<LogLine> {
        let mut next = mark;
        let found = self.process.until(|progress| {
            let new = progress.lines.iter().skip(next).map(LogLine::parse);
            let found = new.into_iter().find(|line| condition(line));
            next = next.max(progress.lines.len());
            match found {
                Some(line) => Some(Ok(line)),
                None => progress.exit.map(Err),
            }
        });
        match within(PATIENCE, caller, what, found)
            .await
            .with_context(|| self.tail())?
        {
            Ok(line) => Ok(line),
            Err(exit) => bail!(
                "{caller}: the daemon ended ({exit}) without {what}\n{}",
                self.tail()
            ),
        }
    }

    fn tail(&self) -> String {
        let tail = self.process.look(|Progress { lines, .. }| {
            let tail: Vec<&str> = lines[lines.len().saturating_sub(40)..]
                .iter()
                .map(|line| line.text.as_str())
                .collect();
            tail.join("\n")
        });
        format!(
            "the end of the daemon's log:\n{}",
            redact(&tail, &self.secrets)
        )
    }
}

/// The limit of a command: one over a large table takes longer than a signal may on a busy machine.
const COMMAND: Duration = PATIENCE.saturating_mul(4);

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the binary to its end (`migrate`, `status`, `doctor`, `uninstall`) with [`settings_for`] and `settings`.
///
/// # Errors
/// When the binary is missing or does not end within two minutes. An exit code is no error.
#[track_caller]
pub fn run_command(
    url: &str,
    arguments: &[&str],
    settings: &[Setting<'_>],
) -> impl Future<Output = Result<Output>> {
    let caller = Location::caller();
    async move {
        let process = Process::spawn(&mut command(url, arguments, settings)?)?;
        let what = format!("`auth-reconciler {}` to end", arguments.join(" "));
        let status = within(COMMAND, caller, &what, process.ended())
            .await
            .with_context(|| {
                let output = process.look(|progress| text(progress, Stream::Stderr));
                redact(&output, &secrets(url, settings))
            })?;
        let (stdout, stderr) = process.look(|progress| {
            (
                text(progress, Stream::Stdout),
                text(progress, Stream::Stderr),
            )
        });
        Ok(Output {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

/// The path of the binary under test: as [`BINARY`] says, else beside the running test's target folder.
///
/// # Errors
/// When it is not there; the message says what to do.
pub fn binary() -> Result<PathBuf> {
    program_beside("auth-reconciler", BINARY)
}

fn command(url: &str, arguments: &[&str], settings: &[Setting<'_>]) -> Result<Command> {
    command_within(&[], url, arguments, settings)
}

fn command_within(
    wrapper: &[&str],
    url: &str,
    arguments: &[&str],
    settings: &[Setting<'_>],
) -> Result<Command> {
    let mut command = match wrapper {
        [] => Command::new(binary()?),
        [program, before @ ..] => {
            let mut command = Command::new(program);
            command.args(before).arg(binary()?);
            command
        }
    };
    command
        .args(arguments)
        .env_clear()
        .envs(settings_for(url))
        .envs(settings.iter().copied());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    Ok(command)
}

fn text(progress: &Progress, stream: Stream) -> String {
    let lines = progress.lines.iter().filter(|line| line.stream == stream);
    lines.flat_map(|line| [line.text.as_str(), "\n"]).collect()
}
