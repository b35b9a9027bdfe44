//! The operator has `psql` and needs nothing else: every question has one answer, which is true even when the daemon is
//! dead, and every action says what it did.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::types::FromSql;

mod actions;
mod attack;
mod comments;
mod counted;
pub(crate) mod earlier;
mod explain;
mod frozen;
pub(crate) mod grants;
mod guard;
mod history;
mod one_screen;
mod put_aside;
pub(crate) mod questions;
mod reconcilers;
mod snapshots;
mod upgrade;
mod widths;

/// One value of one row.
async fn value<T>(client: &Client, sql: &str) -> Result<T>
where
    T: for<'a> FromSql<'a>,
{
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}
