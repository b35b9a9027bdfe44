//! A status moves only on evidence: what the daemon itself lacks, or whom it cannot reach, is no fact about an instance.

use anyhow::Result;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::arena::{KEY, Scene};

mod address;
mod answers;
mod doubt;
mod gone;
mod manager;
mod names;
mod shortage;

/// A database with the manager's table in it, and nobody serving it.
async fn prepared() -> Result<(TestDatabase, Client, ManagerTable)> {
    let table = ManagerTable::message_instances();
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    table.create(&client).await?;
    Ok((database, client, table))
}

/// Inserts a Telegram instance that somebody has already called `client_ready`.
async fn insert_ready(client: &Client, table: &ManagerTable, id: Uuid, port: u16) -> Result<()> {
    table.insert(client, id, Some(port), Some(KEY)).await?;
    table.write_status(client, id, Some("client_ready")).await
}

/// What `problems` says under this name, of whatever instance or of the daemon itself.
async fn problem(scene: &Scene, name: &str) -> Result<Option<String>> {
    let words = "select replace(why, E'\\n', ' ') from auth_reconciler.problem_details where problem = $1 limit 1";
    let row = scene.client.query_opt(words, &[&name]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
