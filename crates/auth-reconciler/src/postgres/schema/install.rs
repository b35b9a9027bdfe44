//! Bringing the schema to this version without the manager noticing.
//!
//! Its triggers write to the log (and guard reads what was recorded) in every one of its statements, so
//! what waits for a lock on those two while holding another, or holds one while it waits, is a change
//! lost or a statement failed. Hence several transactions, each repeatable, each under the lock of
//! migrations:
//!
//! 1. **Tables**, with waits of some milliseconds only: an older daemon that waits for us holds a row of
//!    the manager's. What concerns neither of the two, nor `leadership`, which a record reads while it holds that row,
//!    comes first; then these three are locked, they get their new columns, and nothing
//!    comes after them but the commit. A statement that only reads a view of
//!    ours holds the log as well: then everything is let go of, and tried again. The version is written
//!    here, and the epoch ends here: an older daemon records nothing more, and is rung for a record, so that it finds
//!    that out.
//! 2. **Indexes** on what was recorded, which take as long as there are rows. Meanwhile nobody records, the former daemon's
//!    epoch having ended, and the manager's triggers, which only read that table, do not wait.
//!    The one on the log, into which those triggers write, is made with their writes going on, which waits for every
//!    transaction that was open before and keeps nobody waiting; where the log is small, it was made with its columns.
//! 3. **Routines.** Functions and views are replaced. This waits for readers of our views, and holds
//!    nothing of the manager's meanwhile. A view that cannot be replaced is dropped and made anew.
//!
//! If it is interrupted in between, the routines' digest is missing, and the next run goes on there.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::publication::publications;
use super::{SchemaError, query, renamed, repeated, transaction};
use crate::postgres::faults::{ALTERED, ALTERED_TABLES, MADE};

mod indexes;
pub(super) mod script;

/// A numbered step; never edited once released.
struct Migration {
    name: &'static str,
    /// What it does to tables that the triggers of watched tables do not use.
    text: &'static str,
    /// What it does to `change` and `instance`, which they do, and to `leadership`, which records read meanwhile.
    log: &'static str,
}

/// Numbered from 1, in order.
const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_foundation",
        text: sql!("migrations/0001_foundation.sql"),
        log: "",
    },
    Migration {
        name: "0002_containers",
        text: sql!("migrations/0002_containers.sql"),
        log: sql!("migrations/0002_containers_log.sql"),
    },
    Migration {
        name: "0003_operator",
        text: sql!("migrations/0003_operator.sql"),
        log: sql!("migrations/0003_operator_log.sql"),
    },
    Migration {
        name: "0004_evidence_and_trust",
        text: sql!("migrations/0004_evidence_and_trust.sql"),
        log: sql!("migrations/0004_evidence_and_trust_log.sql"),
    },
    Migration {
        name: "0005_flat",
        text: sql!("migrations/0005_flat.sql"),
        log: "",
    },
    Migration {
        name: "0006_batches",
        text: sql!("migrations/0006_batches.sql"),
        log: "",
    },
    Migration {
        name: "0007_not_ready_since",
        text: "",
        log: sql!("migrations/0007_not_ready_since_log.sql"),
    },
    Migration {
        name: "0008_unread",
        text: "",
        log: sql!("migrations/0008_unread_log.sql"),
    },
    Migration {
        name: "0009_foreign_writes",
        text: sql!("migrations/0009_foreign_writes.sql"),
        log: "",
    },
    Migration {
        name: "0010_doorbell",
        text: sql!("migrations/0010_doorbell.sql"),
        log: sql!("migrations/0010_doorbell_log.sql"),
    },
];

/// Notes what was made.
const NOTE: &str = concat!(
    "with found as (\n",
    sql!("queries/routine_prints.sql"),
    ")\n",
    sql!("queries/note_routines.sql")
);

/// Begins a transaction under the lock of migrations.
const BEGIN: &str = sql!("queries/begin_migration.sql");

const KEEP_GRANTS: &str = sql!("routines/05_keep_grants.sql");

const DROP_VIEWS: &str = sql!("routines/06_drop_views.sql");

/// Functions, views and rights, in the order in which they build on each other.
const ROUTINES: &[&str] = &[
    sql!("routines/08_legible.sql"),
    sql!("routines/10_triggers.sql"),
    sql!("routines/12_doorbell.sql"),
    sql!("routines/15_lock_briefly.sql"),
    sql!("routines/18_columns.sql"),
    sql!("routines/19_attach.sql"),
    sql!("routines/20_watch.sql"),
    sql!("routines/21_altered_routines.sql"),
    ALTERED,
    "$body$;\n",
    sql!("routines/21_altered_tables.sql"),
    ALTERED_TABLES,
    "$body$;\n",
    sql!("routines/22_guard.sql"),
    sql!("routines/23_missing_rights.sql"),
    // The body of that function, and its end.
    sql!("queries/missing_privileges.sql"),
    "$body$;\n",
    sql!("routines/24_faults.sql"),
    sql!("routines/25_history.sql"),
    sql!("routines/26_owed.sql"),
    sql!("routines/27_put_off.sql"),
    sql!("routines/28_watchers.sql"),
    sql!("routines/29_unwritable.sql"),
    sql!("routines/30_fence.sql"),
    sql!("routines/31_write.sql"),
    sql!("routines/32_note.sql"),
    sql!("routines/33_record.sql"),
    sql!("routines/40_leadership.sql"),
    sql!("routines/45_engine.sql"),
    sql!("routines/46_own_trouble.sql"),
    sql!("routines/47_unlogged.sql"),
    sql!("routines/50_operator.sql"),
    sql!("routines/55_words.sql"),
    sql!("routines/56_foreign_locks.sql"),
    sql!("routines/58_reconcilers.sql"),
    sql!("routines/60_views.sql"),
    sql!("routines/62_questions.sql"),
    sql!("routines/63_drift.sql"),
    sql!("routines/64_days.sql"),
    sql!("routines/70_explain.sql"),
    sql!("routines/75_help.sql"),
    sql!("routines/90_rights.sql"),
    sql!("routines/95_give_back_grants.sql"),
];

/// The version that this program needs.
pub(crate) fn needed_version() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// The text of all routines; its digest tells builds of one version apart.
pub(super) fn routines() -> String {
    [KEEP_GRANTS, DROP_VIEWS, &ROUTINES.concat()].concat()
}

/// Every name that stands in our texts behind that of our schema: whatever else the schema holds is somebody else's.
pub(super) fn own_names() -> Vec<String> {
    let mut texts = routines();
    for migration in MIGRATIONS {
        texts.push_str(migration.text);
        texts.push_str(migration.log);
    }
    let mut names: Vec<String> = texts
        .split("auth_reconciler.")
        .skip(1)
        .map(|rest| {
            let part = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
            rest.chars().take_while(part).collect()
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Brings the schema to this version. Returns what it did.
pub(super) async fn install(
    client: &Client,
    into_publication: bool,
) -> Result<String, SchemaError> {
    let known = needed_version();
    let before = repeated(async || tables(client, into_publication).await).await?;
    indexes::make(client).await?;
    let replaced = repeated(async || {
        let replaced = replace_routines(client, false).await;
        match replaced {
            Err(SchemaError::Query { source, .. }) if cannot_be_replaced(source.code()) => {
                replace_routines(client, true).await
            }
            ended => ended,
        }
    })
    .await
    .map_err(name_dependents)?;
    Ok(match replaced {
        None if before == known => format!("schema auth_reconciler has version {known} already"),
        Some(Why::Altered(names)) => format!(
            "schema auth_reconciler has version {known} already, and what was not as it was made is made anew: {names}"
        ),
        None | Some(Why::OtherBuild) => {
            format!("schema auth_reconciler brought from version {before} to {known}")
        }
    })
}

/// One try at the tables; returns the version that was found.
async fn tables(client: &Client, into_publication: bool) -> Result<i32, SchemaError> {
    transaction(client, BEGIN, failed, async || {
        let found = fitting(client, into_publication).await?;
        if found < needed_version() {
            let script = script::tables(found);
            client.batch_execute(&script).await.map_err(failed)?;
        }
        Ok(found)
    })
    .await
}

/// The version that is there, if it may be brought to ours; 0 if there is none.
async fn fitting(client: &Client, into_publication: bool) -> Result<i32, SchemaError> {
    let known = needed_version();
    let found = installed(client).await?.map_or(0, |(version, _)| version);
    if found == 0 {
        not_renamed(client).await?;
    }
    if found > known {
        return Err(SchemaError::Newer { found, known });
    }
    if found < known && !into_publication {
        unpublished(client).await?;
    }
    Ok(found)
}

/// Checks that ours does not go by another name: a second one beside it would see nothing of what that one knows.
async fn not_renamed(client: &Client) -> Result<(), SchemaError> {
    let renamed = renamed(client).await.map_err(failed)?;
    renamed.map_or(Ok(()), Err)
}

/// Checks that no publication takes in what is about to be made.
async fn unpublished(client: &Client) -> Result<(), SchemaError> {
    let mut published = publications(client).await.map_err(failed)?;
    published.retain(|publication| publication.new_ones);
    if published.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = published.iter().map(ToString::to_string).collect();
    Err(SchemaError::Published {
        publications: names.join(", "),
    })
}

/// Why functions and views are made anew.
enum Why {
    /// Another build made them, or none.
    OtherBuild,
    /// This build made them, and these, in words, are no longer what it made.
    Altered(String),
}

/// One try at functions and views; returns why there was anything to replace.
async fn replace_routines(client: &Client, drop_views: bool) -> Result<Option<Why>, SchemaError> {
    transaction(client, BEGIN, failed, async || {
        let digest = digest(client).await?;
        let Some(why) = why(client, &digest).await? else {
            return Ok(None);
        };
        let script = script::routines(drop_views, &digest);
        client.batch_execute(&script).await.map_err(failed)?;
        client
            .query_typed(NOTE, &[(&own_names(), Type::TEXT_ARRAY)])
            .await
            .map_err(failed)?;
        Ok(Some(why))
    })
    .await
}

/// Why functions and views are to be made anew, if they are. The tables are of this version.
async fn why(client: &Client, digest: &str) -> Result<Option<Why>, SchemaError> {
    let known = needed_version();
    let (version, found) = installed(client).await?.ok_or(SchemaError::Missing)?;
    if version > known {
        return Err(SchemaError::Newer {
            found: version,
            known,
        });
    }
    if found == digest {
        return Ok(altered(client).await?.map(Why::Altered));
    }
    Ok(Some(Why::OtherBuild))
}

/// That of this build's routines, by the server.
async fn digest(client: &Client) -> Result<String, SchemaError> {
    let asked = "select pg_catalog.md5($1)";
    let digest = client
        .query_typed_one(asked, &[(&routines(), Type::TEXT)])
        .await;
    Ok(digest.map_err(failed)?.get(0))
}

/// The names of what is no longer what was made, each with what is the matter. What is none of ours is not among them:
/// that is told, and nobody but its owner drops it.
async fn altered(client: &Client) -> Result<Option<String>, SchemaError> {
    let noted = client.query_typed_one(MADE, &[]).await.map_err(failed)?;
    let made: Option<String> = noted.get("made");
    let altered = client
        .query_typed_opt(ALTERED, &[(&made, Type::TEXT)])
        .await
        .map_err(failed)?;
    Ok(altered.and_then(|row| row.get("names")))
}

/// Version and digest, if there is a schema.
async fn installed(client: &Client) -> Result<Option<(i32, String)>, SchemaError> {
    let exists = client
        .query_typed_one(sql!("queries/schema_exists.sql"), &[])
        .await
        .map_err(failed)?;
    if !exists.get::<_, bool>(0) {
        return Ok(None);
    }
    let installed = client
        .query_typed_opt(sql!("queries/installed.sql"), &[])
        .await
        .map_err(failed)?;
    Ok(installed.map(|row| (row.get("version"), row.get("routines"))))
}

/// Whether a view or function of an older version cannot become the newer one as it stands: a column is
/// gone or another, or something depends on what must go.
fn cannot_be_replaced(code: Option<&SqlState>) -> bool {
    code.is_some_and(|code| {
        [
            SqlState::INVALID_TABLE_DEFINITION,
            SqlState::INVALID_FUNCTION_DEFINITION,
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        ]
        .contains(code)
    })
}

/// Somebody built on a view that must be dropped.
fn name_dependents(error: SchemaError) -> SchemaError {
    let SchemaError::Query { source, .. } = &error else {
        return error;
    };
    if source.code() != Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) {
        return error;
    }
    let detail = source.as_db_error().and_then(|error| error.detail());
    SchemaError::Dependents {
        names: detail.unwrap_or_default().replace('\n', "; "),
    }
}

fn failed(source: tokio_postgres::Error) -> SchemaError {
    query("install the schema", source)
}

#[cfg(test)]
mod tests;
