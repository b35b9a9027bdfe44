//! `auth-reconciler doctor`: everything that `run` needs, one line each, with a remedy.
//!
//! A check that cannot be made because an earlier one failed is left out rather than reported as
//! failed: the first remedy comes first.

use std::collections::HashSet;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::say;
use crate::database::Database;
use crate::docker::address::LOCAL_SOCKET;
use crate::docker::{Engine, Product};
use crate::postgres::ear::{self, Ear};
use crate::postgres::error::StoreError;
use crate::postgres::pool::{self, Session, with};
use crate::postgres::{schema, store};
use crate::settings::docker::{Choice, DockerSettings};
use crate::settings::{RunSettings, Settings, TableName};
use crate::telemetry::chain;

mod instances;

/// What a check found.
enum Finding {
    Fine(String),
    Warning { what: String, remedy: String },
    Wrong { what: String, remedy: String },
}

/// Runs the checks and prints a line for each. Returns whether `run` would work.
pub(crate) async fn examine(settings: &Settings, run: &RunSettings) -> bool {
    let mut report = Report {
        healthy: true,
        lacking: HashSet::new(),
    };
    report.settings(settings, run);
    report.engine(&run.docker).await;
    let Some(pool) = report.connection(&settings.database).await else {
        return false;
    };
    report.server(&pool).await;
    let mut allowed = true;
    for table in &settings.tables {
        allowed &= report.privileges(&pool, table).await;
    }
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
    report.healthy
}

struct Report {
    healthy: bool,
    /// Privileges that were named.
    lacking: HashSet<String>,
}

impl Report {
    fn line(&mut self, name: &str, finding: Finding) {
        match finding {
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
                ));
            }
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
                run.probe.url
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

    async fn connection(&mut self, database: &Database) -> Option<Pool> {
        let failed = |what: String, remedy: &str| Finding::Wrong {
            what,
            remedy: remedy.to_owned(),
        };
        let general = "see whether DATABASE_URL names the manager's database and the server is up";
        let pool = match pool::open(database, 2, Session::Command) {
            Ok(pool) => pool,
            Err(error) => {
                self.line(
                    "connection",
                    failed(chain(&error), "correct the file that the message names"),
                );
                return None;
            }
        };
        let asked = with(&pool, "ask who we are", async |client| {
            client
                .query_typed_one(include_str!("../../../../sql/queries/connection.sql"), &[])
                .await
        })
        .await;
        match asked {
            Ok(row) => {
                self.line(
                    "connection",
                    Finding::Fine(format!(
                        "PostgreSQL {}, database {}, role {}, {}",
                        row.get::<_, String>("server_version"),
                        row.get::<_, String>("database"),
                        row.get::<_, String>("role"),
                        if row.get("tls") {
                            "with TLS"
                        } else {
                            "without TLS"
                        },
                    )),
                );
                Some(pool)
            }
            Err(error) => {
                self.line(
                    "connection",
                    failed(chain(&error), error.advice().unwrap_or(general)),
                );
                None
            }
        }
    }

    async fn server(&mut self, pool: &Pool) {
        let act = "read the server's settings";
        let Some(row) = self.asked(
            "server",
            with(pool, act, async |client| {
                client
                    .query_typed_one(include_str!("../../../../sql/queries/server.sql"), &[])
                    .await
            })
            .await,
        ) else {
            return;
        };
        if row.get("in_recovery") {
            self.line(
                "server",
                Finding::Wrong {
                    what: "this server is a standby: it can neither be written to nor listened on"
                        .to_owned(),
                    remedy: "name the primary in DATABASE_URL".to_owned(),
                },
            );
        }
        let prepared: i32 = row.get("max_prepared_transactions");
        if prepared > 0 {
            self.line("server", Finding::Warning {
                what: format!("max_prepared_transactions is {prepared}: a manager that prepares transactions would fail on watched tables, because NOTIFY cannot be part of them"),
                remedy: "set it to 0 unless somebody else needs it".to_owned(),
            });
        }
        let standbys: String = row.get("synchronous_standby_names");
        if !standbys.is_empty() {
            self.line("server", Finding::Warning {
                what: "synchronous standbys are configured: while one hangs, commits that notify wait for each other".to_owned(),
                remedy: "see that a hanging standby is dropped from synchronous_standby_names".to_owned(),
            });
        }
        let free: i64 = row.get("free_connections");
        if free < 10 {
            self.line(
                "server",
                Finding::Warning {
                    what: format!("{free} connections are free"),
                    remedy: "raise max_connections, or lower AUTH_RECONCILER_POOL_SIZE".to_owned(),
                },
            );
        } else {
            self.line(
                "server",
                Finding::Fine(format!("{free} connections are free")),
            );
        }
    }

    async fn schema(&mut self, pool: &Pool, tables: &[TableName]) -> bool {
        match schema::check(pool, tables).await {
            Ok(()) => {
                self.line(
                    "schema",
                    Finding::Fine(format!("version {}", schema::needed_version())),
                );
                for table in tables {
                    self.line(
                        "triggers",
                        Finding::Fine(format!("attached to {table} and enabled")),
                    );
                }
                true
            }
            Err(error) => {
                let remedy = error.advice().unwrap_or("see the server's log");
                self.line(
                    "schema",
                    Finding::Wrong {
                        what: chain(&error),
                        remedy: remedy.to_owned(),
                    },
                );
                false
            }
        }
    }

    /// Those that are watched and not named in the settings among them.
    async fn tables(&mut self, pool: &Pool) {
        let asked = with(pool, "check the watched tables", async |client| {
            let statement = include_str!("../../../../sql/queries/all_table_faults.sql");
            client.query_typed(statement, &[]).await
        })
        .await;
        for fault in store::faults_from(&self.asked("tables", asked).unwrap_or_default()) {
            let what = format!("{}: {}", fault.problem, fault.why);
            let remedy = "what it says; until then changes are missed".to_owned();
            self.line("tables", Finding::Wrong { what, remedy });
        }
    }

    async fn privileges(&mut self, pool: &Pool, table: &TableName) -> bool {
        let asked = with(pool, "read the role's privileges", async |client| {
            client
                .query_typed(
                    include_str!("../../../../sql/queries/missing_privileges.sql"),
                    &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
                )
                .await
        })
        .await;
        let Some(rows) = self.asked("privileges", asked) else {
            return false;
        };
        if rows.is_empty() {
            self.line(
                "privileges",
                Finding::Fine(format!("the role lacks no right on {table} and our schema")),
            );
        }
        let allowed = rows.is_empty();
        for row in rows {
            let privilege: String = row.get("privilege");
            // Those on our own schema are wanted for every table, and named once.
            if !self.lacking.insert(privilege.clone()) {
                continue;
            }
            self.line(
                "privileges",
                Finding::Wrong {
                    what: format!("the role lacks {privilege}"),
                    remedy: format!("as the owner: {}", row.get::<_, String>("remedy")),
                },
            );
        }
        allowed
    }

    /// What of the table would refuse a status.
    async fn writable(&mut self, pool: &Pool, table: &TableName) {
        let asked = with(
            pool,
            "see whether statuses can be written",
            async |client| {
                client
                    .query_typed(
                        "select auth_reconciler.unwritable(pg_catalog.to_regclass($1))",
                        &[(&table.to_sql(), Type::TEXT)],
                    )
                    .await
            },
        )
        .await;
        for row in self.asked("writable", asked).unwrap_or_default() {
            self.line(
                "writable",
                Finding::Wrong {
                    what: format!("table {table}: {}", row.get::<_, String>(0)),
                    remedy: "correct the table, so that every status can be written".to_owned(),
                },
            );
        }
    }

    async fn leader(&mut self, pool: &Pool) {
        let asked = with(pool, "read the view reconcilers", async |client| {
            client
                .query_typed(
                    "select role, host, version from auth_reconciler.reconcilers
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
    }

    async fn echo(&mut self, pool: &Pool, database: &Database, limit: Duration) {
        let heard = async {
            let ear = Ear::connect(database).await?;
            ear.listen().await?;
            ear::echo(pool, &ear.inbox(), limit).await
        };
        let finding = match heard.await {
            Ok(time) => Finding::Fine(format!(
                "the ear heard an echo after {:.1} ms",
                time.as_secs_f64() * 1_000.0
            )),
            Err(error) => Finding::Wrong {
                what: chain(&error),
                remedy: "give the ear a direct connection in AUTH_RECONCILER_LISTEN_URL".to_owned(),
            },
        };
        self.line("echo", finding);
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
