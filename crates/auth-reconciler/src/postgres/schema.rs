//! The schema `auth_reconciler`: bringing it to this version, checking it, removing it.
//!
//! Migrations are numbered files that only ever go forward; routines (functions, views, rights) are
//! made anew whenever their text has changed ([`mod@install`]). Each watched table is attached in a transaction of its
//! own, because that one may have to wait for the manager and nothing else should wait with it.

use std::time::Duration;

use deadpool_postgres::Pool;
use postgres_url::Database;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{Oid, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection};
use tracing::{debug, info, warn};

use super::owed::{self, Outcome};
use super::pool::{no_foreign_limits, with, within};
use super::remedy;
use crate::postgres::table_name::TableName;

pub(crate) mod dry_run;
mod error;
mod install;
pub(crate) mod publication;
pub(crate) mod removal;

pub(crate) use error::SchemaError;
pub(crate) use install::needed_version;
use install::{install, routines};
use publication::publications;

/// Oldest server that has everything the SQL uses (`create or replace trigger`).
const OLDEST_SERVER: i32 = 140_000;

/// Tries of a change of the schema that a lock or another session came in between of.
const TRIES: u32 = 400;

/// What every statement of a change of the schema begins with, where it has no transaction of its own: nothing
/// is looked up where somebody else can write, and it may take as long as a change of the schema takes. (`watch` takes
/// the locks that the manager would feel with a limit of its own.)
const PINNED: &str = concat!(
    "begin isolation level read committed, read write;",
    no_foreign_limits!(),
    "\
    set local search_path = pg_catalog, pg_temp;\
    set local statement_timeout = '5min';\
    set local lock_timeout = '2min'"
);

/// What the server does for us ends soon after this program has: else it would go on waiting for a lock for minutes, and
/// might take one that the manager then waits for. Servers too old for this setting are refused by the next statement.
const ENDS_WITH_US: &str = "\
    select pg_catalog.set_config('client_connection_check_interval', '1s', false) \
        where pg_catalog.current_setting('client_connection_check_interval', true) is not null";

/// The same for a piece of what is owed: a table that the manager has locked is waited for in short tries.
const PIECE: &str = concat!(
    "begin isolation level read committed, read write;",
    no_foreign_limits!(),
    "\
    set local search_path = pg_catalog, pg_temp;\
    set local statement_timeout = '5min';\
    set local lock_timeout = '50ms'"
);

/// By what name our schema goes if somebody has renamed it.
const RENAMED: &str = sql!("queries/renamed_schema.sql");

/// The error that names it, if that is why there is none of ours.
///
/// # Errors
/// The server could not be asked.
pub(super) async fn renamed(client: &Client) -> Result<Option<SchemaError>, tokio_postgres::Error> {
    let renamed = client.query_typed_opt(RENAMED, &[]).await?;
    Ok(renamed.map(|row| SchemaError::Renamed {
        name: row.get("name"),
    }))
}

/// Checks that there is a schema of ours, of whatever version.
pub(crate) async fn must_exist(pool: &Pool) -> Result<(), SchemaError> {
    let exists = with(pool, "look for the schema", async |client| {
        client
            .query_typed_one(sql!("queries/schema_exists.sql"), &[])
            .await
    })
    .await?;
    if exists.get(0) {
        return Ok(());
    }
    let renamed = with(pool, "look for the schema", async |client| {
        client.query_typed_opt(RENAMED, &[]).await
    })
    .await?;
    Err(
        renamed.map_or(SchemaError::Missing, |row| SchemaError::Renamed {
            name: row.get("name"),
        }),
    )
}

/// What a check is called where it fails.
const CHECK: &str = "check the schema";

/// Checks that the schema is of this version and every one of `tables` is watched with all its triggers.
pub(crate) async fn check(pool: &Pool, tables: &[TableName]) -> Result<(), SchemaError> {
    must_exist(pool).await?;
    let needed = needed_version();
    let installed = with(pool, CHECK, async |client| {
        client
            .query_typed_opt(sql!("queries/installed.sql"), &[])
            .await
    })
    .await?
    .ok_or(SchemaError::Missing)?;
    let found: i32 = installed.get("version");
    if found > needed {
        return Err(SchemaError::Newer {
            found,
            known: needed,
        });
    }
    if found < needed {
        return Err(SchemaError::Older { found, needed });
    }
    let known = with(pool, CHECK, async |client| {
        client
            .query_typed_one("select pg_catalog.md5($1)", &[(&routines(), Type::TEXT)])
            .await
    })
    .await?;
    if installed.get::<_, String>("routines") != known.get::<_, String>(0) {
        return Err(SchemaError::OtherBuild { version: found });
    }
    for table in tables {
        check_table(pool, table).await?;
    }
    Ok(())
}

/// Checks that a table is watched, with all its triggers, and read whole.
async fn check_table(pool: &Pool, table: &TableName) -> Result<(), SchemaError> {
    let row = with(pool, CHECK, async |client| {
        client
            .query_typed_one(
                sql!("queries/table_state.sql"),
                &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
            )
            .await
    })
    .await?;
    let shown = table.to_string();
    if !row.get::<_, bool>("present") {
        return Err(SchemaError::NoTable { table: shown });
    }
    if !row.get::<_, bool>("watched") {
        return Err(SchemaError::NotWatched { table: shown });
    }
    let missing: Vec<String> = row.get("missing_triggers");
    // Dropped with its column; only the column brings it back. A column that was renamed stops this table alone.
    if !missing.is_empty()
        && let Some(why) = row.get("column_changed")
    {
        return Err(SchemaError::ColumnChanged { why });
    }
    if !missing.is_empty() {
        return Err(SchemaError::TriggersMissing {
            table: shown,
            triggers: missing.join(", "),
        });
    }
    match row.get("rows_hidden") {
        Some(why) => Err(SchemaError::RowsHidden { why }),
        None => Ok(()),
    }
}

/// Brings the schema to this version and watches `tables`. Safe to repeat, and to run twice at once. Unless
/// `into_publication`, no table is made that a publication would take in.
/// Returns what it did, a line for each thing.
pub(crate) async fn migrate(
    database: &Database,
    tables: &[TableName],
    into_publication: bool,
) -> Result<Vec<String>, SchemaError> {
    let client = connect(database).await?;
    within(&client, PINNED, supported(&client))
        .await
        .map_err(|source| query("ask for the server's version", source))??;
    // Named before anything is changed.
    let named = |source| query("look for the table", source);
    let mut relations = Vec::new();
    for table in tables {
        let found = transaction(&client, PINNED, named, async || {
            relation(&client, table).await
        });
        relations.push(found.await?);
    }
    let mut done = vec![install(&client, into_publication).await?];
    for (table, oid) in tables.iter().zip(&relations) {
        done.push(watch(&client, &table.to_string(), *oid).await?);
    }
    done.extend(watch_others(&client, &relations).await?);
    match work_off(&client).await {
        Ok(queued) => done.extend(queued),
        Err(failure) if failure.may_pass() => return Err(failure),
        // It is owed all the same, and no reason to keep a daemon from starting.
        Err(failure) => warn!(
            error = crate::telemetry::chain(&failure),
            "looks at all rows could not be queued: the daemon tries again"
        ),
    }
    let published = within(&client, PINNED, publications(&client)).await;
    for publication in published.map_err(|source| query("look for publications", source))? {
        done.push(format!(
            "{publication} takes in tables of schema auth_reconciler: {}",
            publication::REMEDY
        ));
    }
    Ok(done)
}

/// Attaches anew what an earlier version attached to tables that no setting names. One that cannot be watched any more
/// stops nobody: the daemon says what is wrong with it.
async fn watch_others(client: &Client, named: &[Oid]) -> Result<Vec<String>, SchemaError> {
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&named, Type::OID_ARRAY)];
    let asked = client.query_typed(sql!("queries/outdated_tables.sql"), &parameters);
    let others = within(client, PINNED, asked)
        .await
        .map_err(|source| query("list the watched tables", source))?;
    let mut done = Vec::new();
    for other in others {
        let table: String = other.get("name");
        match watch(client, &table, other.get("oid")).await {
            Ok(line) => done.push(line),
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(failure) => warn!(
                error = crate::telemetry::chain(&failure),
                "triggers of a table are not as they must be and cannot be attached: changes of it are not seen"
            ),
        }
    }
    Ok(done)
}

/// Does what watching leaves to do. Where a daemon leads it is the daemon's, which knows then what to look at.
async fn work_off(client: &Client) -> Result<Vec<String>, SchemaError> {
    let failed = |source| query("queue a look at every row", source);
    let idle = client.query_typed_one("select auth_reconciler.nobody_leads()", &[]);
    let idle = within(client, PINNED, idle).await.map_err(failed)?;
    if !idle.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let mut queued = 0;
    let works = within(client, PINNED, owed::list(client))
        .await
        .map_err(failed)?;
    for work in &works {
        loop {
            let piece = repeated(async || {
                let piece = owed::piece(client, *work, None);
                within(client, PIECE, piece).await.map_err(failed)
            })
            .await?;
            queued += piece.queued;
            if piece.outcome != Outcome::More {
                break;
            }
        }
    }
    Ok(if queued == 0 {
        Vec::new()
    } else {
        vec![format!("looks queued: {queued}")]
    })
}

async fn watch(client: &Client, table: &str, oid: Oid) -> Result<String, SchemaError> {
    let act = format!("watch table {table}");
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&oid, Type::OID)];
    let watched = client.query_typed_one(sql!("queries/watch.sql"), &parameters);
    within(client, PINNED, watched)
        .await
        .map(|row| row.get(0))
        .map_err(|source| query(&act, source))
}

/// Checks that the server has everything that the SQL uses.
async fn supported(client: &Client) -> Result<Result<(), SchemaError>, tokio_postgres::Error> {
    let asked = client.query_typed_one(sql!("queries/server_version.sql"), &[]);
    let server = asked.await?;
    if server.get::<_, i32>(1) < OLDEST_SERVER {
        let found = server.get(0);
        return Ok(Err(SchemaError::OldServer { found }));
    }
    Ok(Ok(()))
}

/// The table of this name, in whatever transaction the session is.
async fn relation(client: &Client, table: &TableName) -> Result<Oid, SchemaError> {
    let name = table.to_sql();
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&name, Type::TEXT)];
    let asked = client.query_typed_one("select pg_catalog.to_regclass($1)::oid", &parameters);
    asked
        .await
        .map_err(|source| query("look for the table", source))?
        .get::<_, Option<Oid>>(0)
        .ok_or_else(|| SchemaError::NoTable {
            table: table.to_string(),
        })
}

/// Repeats what a lock or a deadlock stopped. Each try lets go of everything, so the manager gets
/// through in between.
async fn repeated<T>(attempt: impl AsyncFn() -> Result<T, SchemaError>) -> Result<T, SchemaError> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(SchemaError::Query { source, .. })
                if tries < TRIES && source.code().is_some_and(remedy::is_busy) =>
            {
                debug!(tries, "a lock is held, trying again");
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50 + fastrand::u64(0..100))).await;
            }
            ended => return ended,
        }
    }
}

/// Runs `work` in a transaction that begins so; it lets go of everything when it fails.
async fn transaction<T>(
    client: &Client,
    begin: &str,
    failed: impl Fn(tokio_postgres::Error) -> SchemaError,
    work: impl AsyncFnOnce() -> Result<T, SchemaError>,
) -> Result<T, SchemaError> {
    let done = match client.batch_execute(begin).await {
        Ok(()) => work().await,
        Err(error) => Err(failed(error)),
    };
    let end = if done.is_ok() { "commit" } else { "rollback" };
    let ended = client.batch_execute(end).await;
    let done = done?;
    ended.map_err(failed)?;
    Ok(done)
}

/// One session for changes of the schema. Its notices are logged: `watch` may warn in one.
async fn connect(database: &Database) -> Result<Client, SchemaError> {
    let mut config = database.config();
    config.application_name("auth-reconciler migrate");
    let failed = |source| SchemaError::Connect {
        server: database.describe(),
        source,
    };
    let (client, connection) = config
        .connect(database.connector()?)
        .await
        .map_err(failed)?;
    tokio::spawn(log_notices(connection));
    client
        .batch_execute(ENDS_WITH_US)
        .await
        .map_err(|source| query("set up the session", source))?;
    Ok(client)
}

async fn log_notices<S, T>(mut connection: Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) =
        futures_util::future::poll_fn(|context| connection.poll_message(context)).await
    {
        if let AsyncMessage::Notice(notice) = message {
            if notice.parsed_severity() == Some(Severity::Warning) {
                warn!(hint = notice.hint(), "{}", notice.message());
            } else {
                info!("{}", notice.message());
            }
        }
    }
}

fn query(act: &str, source: tokio_postgres::Error) -> SchemaError {
    SchemaError::Query {
        act: act.to_owned(),
        source,
    }
}
