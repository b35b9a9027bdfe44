//! A statement of the manager's over many rows takes no transaction id for each of them, and is still never failed by us.

use anyhow::Result;
use tokio_postgres::Client;

use crate::scene::{Eavesdropper, Scene};

const ROWS: i64 = 20_000;

/// Transaction ids in the log: one for each (sub)transaction that wrote to it.
const IDS: &str = "select count(*), count(distinct xmin::text) from auth_reconciler.change";

async fn logged(client: &Client) -> Result<(i64, i64)> {
    let row = client.query_one(IDS, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A watched table without a daemon, so that what is logged stays.
async fn watched(rows: i64) -> Result<Scene> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let fill = format!(
        "insert into public.message_instances (id, provider, auth_status)
         select gen_random_uuid(), 'telegram', 'pending' from generate_series(1, {rows})"
    );
    scene.manager.batch_execute(&fill).await?;
    Ok(scene)
}

#[tokio::test]
async fn a_bulk_statement_takes_one_id_for_the_log() -> Result<()> {
    let scene = watched(ROWS).await?;
    let statements = [
        ("insert", "", ROWS),
        (
            "api_key",
            "update public.message_instances set api_key = 'k' || id",
            ROWS,
        ),
        (
            "a fact and the status",
            "update public.message_instances set account = 'a', auth_status = 'failed'",
            2 * ROWS,
        ),
        (
            "id",
            "update public.message_instances set id = gen_random_uuid()",
            2 * ROWS,
        ),
        (
            "two statements with savepoints",
            "begin; savepoint a; update public.message_instances set port_api = 1; release a;
             savepoint b; update public.message_instances set port_api = 2; commit",
            2 * ROWS,
        ),
        ("delete", "delete from public.message_instances", ROWS),
    ];
    for (name, statement, lines) in statements {
        scene.manager.batch_execute(statement).await?;
        let (found, ids) = logged(&scene.manager).await?;
        assert_eq!(found, lines, "{name}");
        // The statement's, that of the block around the first change; and each savepoint has one of its own.
        let most = if statement.contains("savepoint") {
            3
        } else {
            2
        };
        assert!(ids <= most, "{name} took {ids} ids");
        scene
            .manager
            .batch_execute("truncate auth_reconciler.change")
            .await?;
    }
    Ok(())
}

/// The block that protects the first change of a transaction is gone with a savepoint, and so is what it left.
#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_the_protection_with_it() -> Result<()> {
    let scene = watched(3).await?;
    scene
        .manager
        .batch_execute("truncate auth_reconciler.change")
        .await?;
    let ear = Eavesdropper::start(&scene).await?;
    let write = "update public.message_instances set account =";
    scene
        .manager
        .batch_execute(&format!("begin; savepoint a; {write} 'x'; rollback to a"))
        .await?;
    // Nothing of ours holds the log now, so somebody may change it, and the next write meets that.
    let other = scene.database.client().await?;
    other
        .batch_execute(
            "alter table auth_reconciler.change add constraint full_disk check (false) not valid",
        )
        .await?;
    scene
        .manager
        .batch_execute(&format!("{write} 'y'; savepoint b; {write} 'z'; commit"))
        .await?;
    ear.hears("resync").await?;
    assert_eq!(logged(&scene.manager).await?, (0, 0));
    Ok(())
}

/// Whatever happens between two statements of one transaction.
#[tokio::test]
async fn nothing_that_happens_within_a_transaction_fails_its_next_statement() -> Result<()> {
    let write = "update public.message_instances set account = coalesce(account, '') || 'x', auth_status = 'failed'";
    let own = [
        (
            "the column renamed",
            "alter table public.message_instances rename column api_key to gone",
        ),
        (
            "the log renamed",
            "alter table auth_reconciler.change rename to gone",
        ),
        (
            "the schema renamed",
            "alter schema auth_reconciler rename to gone",
        ),
        (
            "the marker set",
            "select set_config(auth_reconciler.noted_in(), 'can', false)",
        ),
    ];
    for (name, act) in own {
        let scene = watched(3).await?;
        let own = format!("begin; {write}; {act}; {write}; {write}; commit");
        let done = scene.manager.batch_execute(&own).await;
        assert!(done.is_ok(), "{name}: {done:?}");
    }
    {
        let (name, act) = own[2];
        let scene = watched(3).await?;
        scene
            .manager
            .batch_execute(&format!("begin; {write}"))
            .await?;
        let other = scene.database.client().await?;
        other.batch_execute(act).await?;
        let done = scene
            .manager
            .batch_execute(&format!("{write}; commit"))
            .await;
        assert!(done.is_ok(), "{name} by somebody else: {done:?}");
    }
    Ok(())
}

/// The lock that the first change takes on the log keeps out what could make a later one fail.
#[tokio::test]
async fn the_log_cannot_be_altered_between_two_changes_of_a_transaction() -> Result<()> {
    let scene = watched(3).await?;
    let write = "update public.message_instances set account = coalesce(account, '') || 'x'";
    scene
        .manager
        .batch_execute(&format!("begin; {write}"))
        .await?;
    let other = scene.database.client().await?;
    let refused = other
        .batch_execute(
            "set lock_timeout = '10ms';
             alter table auth_reconciler.change add constraint full_disk check (false) not valid",
        )
        .await;
    let code = refused.err().and_then(|error| error.code().cloned());
    assert_eq!(
        code,
        Some(tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE)
    );
    scene
        .manager
        .batch_execute(&format!("{write}; commit"))
        .await?;
    Ok(())
}
