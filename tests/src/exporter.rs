//! A real postgres_exporter with the project's query file, read by hand; and promtool, which knows the rules of
//! metrics and alerts.
//!
//! Both are Debian's. `tests/run.sh` unpacks the packages without installing them, so no service of theirs starts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::panic::Location;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience::{PATIENCE, within};
use crate::port::free_port;
use crate::process::Process;

/// The variable with the folder that the packages were unpacked to; without it they must be installed.
pub const TOOLS: &str = "AUTH_RECONCILER_TEST_TOOLS";

/// The folder of what Prometheus and its exporter are told.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/metrics"))
}

/// The path of a program of these packages.
///
/// # Errors
/// When it is not there; the message says what to do.
pub fn program(name: &str) -> Result<PathBuf> {
    let tools = std::env::var_os(TOOLS).map(PathBuf::from);
    let places = [tools.unwrap_or_default(), PathBuf::from("/")];
    let found = places
        .into_iter()
        .map(|place| place.join("usr/bin").join(name))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "there is no {name}: run tests/run.sh, or set {TOOLS} to the folder that Debian's packages prometheus and \
             prometheus-postgres-exporter were unpacked to"
        )
    })
}

/// Runs promtool to its end on this input; what it says is the error if it is not content.
///
/// # Errors
/// When it is missing or not content.
pub fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    use std::io::Write as _;
    let mut child = Command::new(program("promtool")?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("promtool has no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        output.status.success() && !said.contains("lint"),
        "promtool {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}

/// What an exporter serves.
#[derive(Debug)]
pub struct Scrape {
    /// The lines as they came.
    pub text: String,
    /// Each series, its labels sorted as the exporter sorts them and without the server's, with its value.
    pub series: BTreeMap<String, f64>,
}

impl Scrape {
    fn parse(text: String) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((without_server(name), value.parse().ok()?))
        });
        Self {
            series: series.collect(),
            text,
        }
    }

    /// The value of one series.
    #[must_use]
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// Whether any series has this name.
    #[must_use]
    pub fn serves(&self, name: &str) -> bool {
        let mut names = self.series.keys().filter_map(|key| key.split('{').next());
        names.any(|served| served == name)
    }
}

/// `name{a="b",server="…"}` without what tells the server.
fn without_server(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    // No value of ours holds a comma.
    let kept: Vec<&str> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.starts_with("server="))
        .collect();
    if kept.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", kept.join(","))
    }
}

/// A running exporter; dropping it ends it.
pub struct Exporter {
    process: Process,
    port: u16,
}

impl Exporter {
    /// Starts one that asks `url` the questions of the project's query file and no other.
    ///
    /// # Errors
    /// When it is not installed or does not listen in time.
    #[track_caller]
    pub fn start(url: &str) -> impl Future<Output = Result<Self>> + use<> {
        let caller = Location::caller();
        let url = format!("{url}?sslmode=disable");
        async move {
            let port = free_port()?;
            let queries = folder().join("queries.yaml");
            let mut command = Command::new(program("prometheus-postgres-exporter")?);
            command
                .env_clear()
                .env("DATA_SOURCE_NAME", url)
                .arg(format!("--extend.query-path={}", queries.display()))
                .arg(format!(
                    "--web.listen-address={}:{port}",
                    Ipv4Addr::LOCALHOST
                ))
                .args([
                    "--disable-default-metrics",
                    "--disable-settings-metrics",
                    "--no-collector.database",
                    "--no-collector.bgwriter",
                ]);
            let exporter = Self {
                process: Process::spawn(&mut command)?,
                port,
            };
            let listens = exporter.process.until(|progress| {
                let mut lines = progress.lines.iter();
                let listens = lines.any(|line| line.text.contains("Listening on"));
                (listens || progress.exit.is_some()).then_some(listens)
            });
            let listens = within(PATIENCE, caller, "the exporter to listen", listens).await?;
            ensure!(listens, "the exporter ended: {}", exporter.log());
            Ok(exporter)
        }
    }

    /// What it serves now.
    ///
    /// # Errors
    /// When it does not answer in time, or could not ask everything.
    #[track_caller]
    pub fn scrape(&self) -> impl Future<Output = Result<Scrape>> {
        let caller = Location::caller();
        async move {
            let answered = async {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
                stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                anyhow::Ok(answer)
            };
            let answer = within(PATIENCE, caller, "the exporter's metrics", answered).await??;
            let (_, text) = answer.split_once("\r\n\r\n").context("no body")?;
            let scrape = Scrape::parse(text.to_owned());
            let failed = scrape.value("pg_exporter_last_scrape_error");
            ensure!(failed == Some(0.0), "a query failed: {}", self.log());
            Ok(scrape)
        }
    }

    fn log(&self) -> String {
        self.process.text()
    }
}
