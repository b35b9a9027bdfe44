//! The watched tables and our schema: rights, triggers, what would refuse a status, and who else reads along.

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{Finding, Report};
use crate::postgres::pool::with;
use crate::postgres::schema::publication::{self, Publication};
use crate::postgres::table_name::TableName;
use crate::postgres::{
    faults,
    schema::{self, SchemaError},
};
use crate::telemetry::chain;

impl Report {
    pub(super) async fn schema(&mut self, pool: &Pool, tables: &[TableName]) -> bool {
        let checked = schema::check(pool, tables).await;
        let mut altered = Vec::new();
        if let Ok(made) = faults::made(pool).await {
            let asked = faults::altered(pool, made.as_deref()).await;
            altered = self.asked("schema", asked).unwrap_or_default();
        }
        for fault in &altered {
            let what = format!("{}: {}", fault.problem, fault.why);
            let remedy = "auth-reconciler migrate".to_owned();
            self.line("schema", Finding::Wrong { what, remedy });
        }
        let tables_altered = self.our_tables(pool, &checked).await;
        match checked {
            Ok(()) if !altered.is_empty() || tables_altered => false,
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

    /// Whether our own tables are not as they were made. Those of another version are not compared.
    async fn our_tables(&mut self, pool: &Pool, checked: &Result<(), SchemaError>) -> bool {
        if matches!(
            checked,
            Err(SchemaError::Missing | SchemaError::Older { .. } | SchemaError::Newer { .. })
        ) {
            return false;
        }
        let asked = faults::altered_tables(pool).await;
        let altered = self.asked("schema", asked).unwrap_or_default();
        for fault in &altered {
            let what = format!("{}: {}", fault.problem, fault.why);
            let remedy = "what it says".to_owned();
            self.line("schema", Finding::Wrong { what, remedy });
        }
        !altered.is_empty()
    }

    /// Those that are watched and not named in the settings among them.
    pub(super) async fn tables(&mut self, pool: &Pool) {
        let asked = with(pool, "check the watched tables", async |client| {
            let statement = include_str!("../../../../../sql/queries/all_table_faults.sql");
            client.query_typed(statement, &[]).await
        })
        .await;
        for fault in faults::from_rows(&self.asked("tables", asked).unwrap_or_default()) {
            let what = format!("{}: {}", fault.problem, fault.why);
            let remedy = "what it says; until then changes are missed".to_owned();
            self.line("tables", Finding::Wrong { what, remedy });
        }
    }

    pub(super) async fn privileges(&mut self, pool: &Pool, table: &TableName) -> bool {
        let asked = with(pool, "read the role's privileges", async |client| {
            client
                .query_typed(
                    include_str!("../../../../../sql/queries/missing_privileges.sql"),
                    &[
                        (&table.schema, Type::TEXT),
                        (&table.name, Type::TEXT),
                        // Of whoever asks.
                        (&None::<&str>, Type::TEXT),
                    ],
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
    pub(super) async fn writable(&mut self, pool: &Pool, table: &TableName) {
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

    /// Ours in a publication, or a watched table that a subscription writes to.
    pub(super) async fn publications(&mut self, pool: &Pool, tables: &[TableName], wanted: bool) {
        let name = "publication";
        let asked = with(pool, "look for publications", async |client| {
            client.query_typed(publication::STATEMENT, &[]).await
        })
        .await;
        for row in self.asked(name, asked).unwrap_or_default() {
            let published = Publication::from_row(&row);
            let what = format!("{published} takes in tables of schema auth_reconciler");
            let finding = if wanted {
                Finding::Fine(what + ", as AUTH_RECONCILER_INTO_PUBLICATION says")
            } else {
                let remedy = publication::REMEDY.to_owned();
                Finding::Warning { what, remedy }
            };
            self.line(name, finding);
        }
        for table in tables {
            let asked = with(pool, "look for subscriptions", async |client| {
                let statement = "select exists (select from pg_catalog.pg_subscription_rel as s
                    where s.srrelid = pg_catalog.to_regclass($1))";
                let table = table.to_sql();
                client
                    .query_typed_one(statement, &[(&table, Type::TEXT)])
                    .await
            })
            .await;
            if self.asked(name, asked).is_some_and(|row| row.get(0)) {
                self.line(name, Finding::Warning {
                    what: format!("a subscription writes to table {table}, and what it writes fires no trigger: such changes are not heard"),
                    remedy: "run the daemon on the server that publishes it".to_owned(),
                });
            }
        }
    }
}
