//! `auth-reconciler doctor`: everything that `run` needs, one line each, with a remedy.
//!
//! A check that cannot be made because an earlier one failed is left out rather than reported as
//! failed: the first remedy comes first.

use std::collections::HashSet;

use deadpool_postgres::Pool;

use super::{Unwritten, say};
use crate::docker::address::LOCAL_SOCKET;
use crate::docker::{Engine, Product};
use crate::exit::Exit;
use crate::postgres::error::StoreError;
use crate::postgres::pool::with;
use crate::settings::docker::{Choice, DockerSettings};
use crate::settings::{RunSettings, Settings};
use crate::telemetry::chain;

mod instances;
mod server;
mod tables;

/// What a check found.
enum Finding {
    Fine(String),
    Warning { what: String, remedy: String },
    Wrong { what: String, remedy: String },
}

/// Runs the checks and prints a line for each. All is well if `run` would work.
///
/// # Errors
/// A line could not be written.
pub(crate) async fn examine(settings: &Settings, run: &RunSettings) -> Result<Exit, Unwritten> {
    let mut report = Report {
        healthy: true,
        written: Ok(()),
        lacking: HashSet::new(),
    };
    report.settings(settings, run);
    report.engine(&run.docker).await;
    let Some(pool) = report.connection(&settings.database).await else {
        return report.written.map(|()| Exit::Unanswered);
    };
    report.server(&pool).await;
    let mut allowed = true;
    for table in &settings.tables {
        allowed &= report.privileges(&pool, table).await;
    }
    report
        .publications(&pool, &settings.tables, run.into_publication)
        .await;
    if allowed && report.schema(&pool, &settings.tables).await {
        report.tables(&pool).await;
        for table in &settings.tables {
            report.writable(&pool, table).await;
        }
        report.leader(&pool).await;
        report.instances(&pool, run).await;
    }
    report
        .echo(
            &pool,
            run.listen.as_ref().unwrap_or(&settings.database),
            run.echo_timeout,
        )
        .await;
    report.written.map(|()| {
        if report.healthy {
            Exit::Well
        } else {
            Exit::Trouble
        }
    })
}

struct Report {
    healthy: bool,
    /// Whether every line was, as far as it goes.
    written: Result<(), Unwritten>,
    /// Privileges that were named.
    lacking: HashSet<String>,
}

impl Report {
    fn line(&mut self, name: &str, finding: Finding) {
        let written = match finding {
            Finding::Fine(what) => say(format_args!("ok    {name:<12} {what}")),
            Finding::Warning { what, remedy } => say(format_args!(
                "warn  {name:<12} {what}\n      {:<12} -> {remedy}",
                ""
            )),
            Finding::Wrong { what, remedy } => {
                self.healthy = false;
                say(format_args!(
                    "FAIL  {name:<12} {what}\n      {:<12} -> {remedy}",
                    ""
                ))
            }
        };
        if self.written.is_ok() {
            self.written = written;
        }
    }

    fn settings(&mut self, settings: &Settings, run: &RunSettings) {
        let tables: Vec<_> = settings.tables.iter().map(ToString::to_string).collect();
        self.line(
            "settings",
            Finding::Fine(format!(
                "{}; tables {}; instances at {}",
                settings.database.describe(),
                tables.join(", "),
                run.prober.url
            )),
        );
        for ignored in settings.database.ignored() {
            self.line(
                "settings",
                Finding::Fine(format!(
                    "key {} of the database URL is not used: {}",
                    ignored.key, ignored.reason
                )),
            );
        }
    }

    async fn engine(&mut self, docker: &DockerSettings) {
        let Some(address) = docker.engine.address() else {
            let why = match docker.engine {
                Choice::Off => "off".to_owned(),
                Choice::Local | Choice::At(_) => format!("none: there is no {LOCAL_SOCKET}"),
            };
            let what = format!("{why}; statuses follow rows and APIs alone");
            return self.line("engine", Finding::Fine(what));
        };
        let engine = match Engine::new(address.clone(), docker.labels.clone()) {
            Ok(engine) => engine,
            Err(error) => {
                let what = chain(&error);
                let remedy = "correct the files in the folder AUTH_RECONCILER_DOCKER_CERTS";
                let remedy = remedy.to_owned();
                return self.line("engine", Finding::Wrong { what, remedy });
            }
        };
        let finding = match engine.examine().await {
            Ok(count) => shows(&engine, count),
            // `run` serves without.
            Err(failure) => Finding::Warning {
                what: format!(
                    "{address} is not seen, so container states are unknown: {}",
                    chain(&failure)
                ),
                remedy: failure.advice().to_owned(),
            },
        };
        self.line("engine", finding);
    }

    async fn leader(&mut self, pool: &Pool) {
        let asked = with(pool, "read the view reconciler_details", async |client| {
            client
                .query_typed(
                    "select role, host, version from auth_reconciler.reconciler_details
                     where role in ('active', 'standby', 'half-dead')",
                    &[],
                )
                .await
        })
        .await;
        let Some(rows) = self.asked("running", asked) else {
            return;
        };
        let mut active = false;
        let mut processes = Vec::new();
        for row in rows {
            let (role, host, version): (String, String, String) =
                (row.get(0), row.get(1), row.get(2));
            active |= role == "active";
            processes.push((role, host, version));
        }
        if !active {
            let what = if processes.is_empty() {
                "no daemon runs on this database now, so nobody keeps auth_status true"
            } else {
                "no daemon leads now, so nobody keeps auth_status true"
            };
            let (what, remedy) = (what.to_owned(), "start one: auth-reconciler run".to_owned());
            self.line("running", Finding::Warning { what, remedy });
        }
        for (role, host, version) in processes {
            self.line(
                "running",
                Finding::Fine(format!("{role} daemon {version} on {host}")),
            );
        }
        let asked = with(pool, "read the faults of the whole", async |client| {
            let statement = "select why from auth_reconciler.faults()
                where problem in ('LeaderSilent', 'ForeignLock')";
            client.query_typed(statement, &[]).await
        })
        .await;
        for row in self.asked("running", asked).unwrap_or_default() {
            let (what, remedy) = (row.get("why"), "what it says".to_owned());
            self.line("running", Finding::Wrong { what, remedy });
        }
    }

    fn asked<T>(&mut self, name: &str, answer: Result<T, StoreError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                let remedy = error.advice().unwrap_or("see the server's log").to_owned();
                self.line(
                    name,
                    Finding::Wrong {
                        what: chain(&error),
                        remedy,
                    },
                );
                None
            }
        }
    }
}

/// An engine that answers: with how many containers of instances, and whether this version was tried with it.
fn shows(engine: &Engine, count: usize) -> Finding {
    let address = engine.address();
    let (product, supported) = match engine.product() {
        Some(product) => (
            format!("; it is {product}, {}", Product::SUPPORTED),
            product.is_supported(),
        ),
        // Something in between takes its name away.
        None => (format!("; {}", Product::SUPPORTED), true),
    };
    let what = format!("{address} shows events and containers; {count} are of instances{product}");
    if supported {
        return Finding::Fine(what);
    }
    let remedy = "see whether events arrive: stop a container and see its row";
    Finding::Warning {
        what,
        remedy: remedy.to_owned(),
    }
}
