//! The server: whether it can be reached, what of its settings matters, and whether the ear hears.

use std::time::Duration;

use deadpool_postgres::Pool;
use postgres_url::Database;

use super::{Finding, Report};
use crate::postgres::ear::{self, Ear};
use crate::postgres::pool::{self, Session, with};
use crate::telemetry::chain;

impl Report {
    pub(super) async fn connection(&mut self, database: &Database) -> Option<Pool> {
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
                .query_typed_one(
                    include_str!("../../../../../sql/queries/connection.sql"),
                    &[],
                )
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

    pub(super) async fn server(&mut self, pool: &Pool) {
        let act = "read the server's settings";
        let Some(row) = self.asked(
            "server",
            with(pool, act, async |client| {
                client
                    .query_typed_one(include_str!("../../../../../sql/queries/server.sql"), &[])
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

    pub(super) async fn echo(&mut self, pool: &Pool, database: &Database, limit: Duration) {
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
}
