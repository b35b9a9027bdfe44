//! `migrate --dry-run`: the SQL that `migrate` would run, made of the same texts, as a script for psql. Nothing is changed:
//! what is there is read in one transaction that cannot write.

use postgres_url::Database;
use tokio_postgres::Client;
use tokio_postgres::types::{Oid, ToSql, Type};

use super::publication::publications;
use super::{PINNED, SchemaError, connect, install, query, relation, supported};
use crate::postgres::table_name::TableName;

/// Everything is read as it is at one moment. A server that takes no writes will do.
const READING: &str = "\
    begin isolation level repeatable read, read only;\
    set local search_path = pg_catalog, pg_temp;\
    set local statement_timeout = '8s';\
    set local lock_timeout = '1s'";

const HEAD: &str = r"-- Brings the schema auth_reconciler to this version and attaches the triggers. For psql, as the owner of the tables.
-- Locks are waited for briefly. If one cannot be had, psql stops: print this anew, without what is done by then.
-- An upgrade drops our views and makes them anew: it refuses where somebody built on one. Looks at the rows are queued by
-- the daemon.
\set ON_ERROR_STOP on
";

/// What is watched beside the tables that the settings name.
const OTHERS: &str = "
    select pg_catalog.format('%I.%I', n.nspname, c.relname) as name
    from auth_reconciler.watched_table as w
    join pg_catalog.pg_class as c on c.oid = w.relation
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where w.relation <> all ($1::oid[])
    order by w.id";

/// The script.
///
/// # Errors
/// `migrate` would refuse before it changes anything, or what is there could not be read.
pub(crate) async fn script(
    database: &Database,
    tables: &[TableName],
    into_publication: bool,
) -> Result<String, SchemaError> {
    let client = connect(&database.for_reading()).await?;
    client.batch_execute(READING).await.map_err(failed)?;
    supported(&client).await.map_err(failed)??;
    let mut relations = Vec::new();
    let mut names = Vec::new();
    for table in tables {
        relations.push(relation(&client, table).await?);
        names.push(table.to_sql());
    }
    let (version, installed) = install::script::to_print(&client, into_publication).await?;
    if version > 0 {
        names.extend(others(&client, &relations).await?);
    }
    let mut script = format!("{HEAD}{installed}");
    for name in &names {
        let table = format!("'{}'::pg_catalog.regclass", name.replace('\'', "''"));
        let watch = sql!("queries/watch.sql").replace("$1", &table);
        script.push_str(&format!("\n{PINNED};\n{watch};\ncommit;\n"));
    }
    for publication in publications(&client).await.map_err(failed)? {
        script.push_str(&format!(
            "\n-- {publication} takes in tables of schema auth_reconciler.\n"
        ));
    }
    Ok(script)
}

async fn others(client: &Client, named: &[Oid]) -> Result<Vec<String>, SchemaError> {
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&named, Type::OID_ARRAY)];
    let rows = client.query_typed(OTHERS, &parameters).await;
    let rows = rows.map_err(|source| query("list the watched tables", source))?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

fn failed(source: tokio_postgres::Error) -> SchemaError {
    query("read what is there", source)
}
