//! `migrate` and `uninstall`: what they say, and that they do it without being asked twice.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use tokio_postgres::Client;
use uuid::Uuid;

use super::expect;

/// Everything in the database that is not the server's: schemas, tables, functions, triggers.
async fn inventory(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
             union all select 'relation ' || oid::regclass from pg_class where relnamespace = 'public'::regnamespace
             union all select 'function ' || oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
             union all select 'trigger ' || tgname from pg_trigger
             union all select 'setting ' || setdatabase from pg_db_role_setting
                 where setdatabase = (select oid from pg_database where datname = current_database())
             union all select 'event trigger ' || evtname from pg_event_trigger
             union all select 'extension ' || extname from pg_extension
             order by 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn migrate_says_what_it_did_and_uninstall_leaves_no_trace() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let url = database.url();
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    for _ in 0..3 {
        table.insert(&client, Uuid::new_v4(), None, None).await?;
    }
    let before = inventory(&client).await?;
    let nothing = run_command(url, &["uninstall"], &[]).await?;
    expect(&nothing, 0, &["nothing to remove"])?;

    let first = run_command(url, &["migrate"], &[]).await?;
    expect(
        &first,
        0,
        &[
            "from version 0 to",
            "public.message_instances is watched, its rows will be looked at",
            "looks queued: 3",
        ],
    )?;
    ensure!(inventory(&client).await? != before);
    let second = run_command(url, &["migrate"], &[]).await?;
    expect(
        &second,
        0,
        &["already", "public.message_instances is watched already"],
    )?;

    let removed = run_command(url, &["uninstall", "--yes"], &[]).await?;
    expect(&removed, 0, &["are removed"])?;
    let after = inventory(&client).await?;
    ensure!(after == before, "{before:?} became {after:?}");
    let kept: i64 = client
        .query_one("select count(*) from public.message_instances", &[])
        .await?
        .try_get(0)?;
    ensure!(kept == 3);
    drop(client);
    database.close().await
}

#[tokio::test]
async fn migrate_names_what_is_missing_and_changes_nothing() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let url = database.url();
    let client = database.client().await?;
    let before = inventory(&client).await?;
    let output = run_command(url, &["migrate"], &[]).await?;
    expect(
        &output,
        1,
        &[
            "table public.message_instances does not exist",
            "AUTH_RECONCILER_TABLE",
        ],
    )?;
    ensure!(
        inventory(&client).await? == before,
        "it changed something all the same"
    );
    client
        .batch_execute(
            "create table public.half (id uuid primary key, provider text, port_api text)",
        )
        .await?;
    let half = [("AUTH_RECONCILER_TABLE", "half")];
    let output = run_command(url, &["migrate"], &half).await?;
    let missing = [
        "api_key is missing",
        "account is missing",
        "updated_at is missing",
    ];
    expect(&output, 1, &missing)?;
    expect(&output, 1, &["column port_api is text, not an integer"])?;
    drop(client);
    database.close().await
}

#[tokio::test]
async fn run_without_a_schema_says_what_to_run() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let output = run_command(database.url(), &["run"], &[]).await?;
    expect(
        &output,
        1,
        &["schema auth_reconciler is missing", "run --migrate"],
    )?;
    database.close().await
}
