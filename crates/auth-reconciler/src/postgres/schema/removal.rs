//! Removing triggers and schema, and finding out before what goes with them.
//!
//! Everything happens in one transaction or not at all. What was granted on the manager's tables by `deploy/grants.sql` is
//! taken back with it: a login that is left behind must not go on reading keys. Roles themselves are the server's, so they
//! stay and are named.

use postgres_url::Database;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::install::own_names;
use super::{PINNED, SchemaError, connect, query, renamed, repeated, transaction};
use crate::postgres::pool::{no_foreign_limits, within};

/// What a try to remove it begins with. No lock is waited for long: the manager queues behind it, and of two who wait for
/// each other ours gives way before the server ends one.
const BEGIN: &str = concat!(
    "begin isolation level read committed, read write;",
    no_foreign_limits!(),
    "\
    set local row_security = off;\
    set local search_path = pg_catalog, pg_temp;\
    set local client_min_messages = error;\
    set local statement_timeout = '8s';\
    select set_config('lock_timeout', greatest(1, least(50, (250 * extract(\
        epoch from current_setting('deadlock_timeout')::interval))::integer))::text, true);"
);

/// A session in a database from which our schema may be removed.
pub(crate) struct Removal {
    client: Client,
}

/// What is there.
pub(crate) struct Found {
    /// The daemon that leads, in words.
    pub(crate) leader: Option<String>,
    /// What somebody built on our schema, each in words.
    pub(crate) dependents: Vec<String>,
    /// The roles that were granted something.
    pub(crate) roles: Vec<Role>,
}

/// A role that outlives the schema.
pub(crate) struct Role {
    pub(crate) name: String,
    /// Whether somebody can connect as it.
    pub(crate) login: bool,
}

impl Removal {
    pub(crate) async fn connect(database: &Database) -> Result<Self, SchemaError> {
        let client = connect(database).await?;
        Ok(Self { client })
    }

    /// What is there; nothing if the schema is not.
    ///
    /// # Errors
    /// Also where it goes by another name.
    pub(crate) async fn look(&self) -> Result<Option<Found>, SchemaError> {
        let looked = async {
            self.client.batch_execute(PINNED).await?;
            let found = self.found().await?;
            let renamed = match &found {
                None => renamed(&self.client).await?,
                Some(_) => None,
            };
            self.client.batch_execute("commit").await?;
            Ok((found, renamed))
        };
        let (found, renamed) = looked
            .await
            .map_err(|source| query("look at what would be removed", source))?;
        renamed.map_or(Ok(found), Err)
    }

    async fn found(&self) -> Result<Option<Found>, tokio_postgres::Error> {
        let client = &self.client;
        let exists = client
            .query_typed_one(sql!("queries/schema_exists.sql"), &[])
            .await?;
        if !exists.get::<_, bool>(0) {
            return Ok(None);
        }
        let leader = client
            .query_typed_opt(sql!("queries/leading_session.sql"), &[])
            .await?;
        let roles = client
            .query_typed(sql!("queries/granted_roles.sql"), &[])
            .await?;
        let role = |row: &Row| Role {
            name: row.get("name"),
            login: row.get("login"),
        };
        Ok(Some(Found {
            leader: leader.map(|row| row.get("holder")),
            dependents: dependents(client).await?,
            roles: roles.iter().map(role).collect(),
        }))
    }

    /// Removes all of it. Unless `with_dependents`, nothing goes on which somebody has built meanwhile.
    pub(crate) async fn remove(&self, with_dependents: bool) -> Result<(), SchemaError> {
        let failed = |source| query("remove triggers and schema", source);
        repeated(async || {
            transaction(&self.client, BEGIN, failed, async || {
                if !with_dependents {
                    none(dependents(&self.client).await.map_err(failed)?)?;
                }
                let script = sql!("queries/uninstall.sql");
                self.client.batch_execute(script).await.map_err(failed)
            })
            .await
        })
        .await
    }

    /// Which of these roles can still read keys of instances, in words.
    pub(crate) async fn key_readers(&self, roles: &[Role]) -> Result<Vec<String>, SchemaError> {
        let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&names, Type::TEXT_ARRAY)];
        let statement = sql!("queries/key_readers.sql");
        let asked = self.client.query_typed(statement, &parameters);
        let rows = within(&self.client, PINNED, asked)
            .await
            .map_err(|source| query("see who can read keys", source))?;
        Ok(rows.iter().map(|row| row.get("reader")).collect())
    }
}

/// The error that names what somebody built on our schema, if there is any.
pub(crate) fn none(dependents: Vec<String>) -> Result<(), SchemaError> {
    if dependents.is_empty() {
        return Ok(());
    }
    Err(SchemaError::BuiltOn {
        names: dependents.join("; "),
    })
}

async fn dependents(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&own_names(), Type::TEXT_ARRAY)];
    let rows = client
        .query_typed(sql!("queries/dependents.sql"), &parameters)
        .await?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

#[cfg(test)]
mod tests {
    /// The query that asks who leads must do without the functions of the schema, which names the lock.
    #[test]
    fn who_leads_is_asked_by_the_lock_that_the_schema_names() {
        let named = sql!("routines/40_leadership.sql");
        let (_, named) = named
            .split_once("function auth_reconciler.leadership_lock()")
            .unwrap();
        let (_, named) = named.split_once("return ").unwrap();
        let (number, _) = named.split_once(';').unwrap();
        let asked = sql!("queries/leading_session.sql");
        assert!(asked.contains(&format!("= {number}\n")), "{number}");
    }
}
