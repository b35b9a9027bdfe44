//! guard in REPEATABLE READ and SERIALIZABLE: an old snapshot keeps nothing that is outdated, and nobody fails.

use anyhow::Result;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::{Client, IsolationLevel, Transaction};
use uuid::Uuid;

use super::guard::GUARD;
use super::value;
use crate::arena::{KEY, Scene};

/// A transaction whose snapshot is of now.
async fn since_now(client: &mut Client, level: IsolationLevel) -> Result<Transaction<'_>> {
    let transaction = client.build_transaction().isolation_level(level);
    let transaction = transaction.start().await?;
    transaction
        .query_one("select count(*) from pg_class", &[])
        .await?;
    Ok(transaction)
}

async fn write(transaction: &Transaction<'_>, id: Uuid, status: &str) -> Result<String> {
    let statement =
        "update public.message_instances set auth_status = $2 where id = $1 returning auth_status";
    Ok(transaction
        .query_one(statement, &[&id, &status])
        .await?
        .try_get(0)?)
}

#[tokio::test]
async fn in_repeatable_read_a_current_verdict_is_kept_and_an_outdated_one_is_not() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_BACKOFF_MIN", "60s")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (kept, doubted, paused) = (
        scene.instance(&stub).await?,
        scene.instance(&stub).await?,
        scene.instance(&stub).await?,
    );
    value::<String>(&scene.client, GUARD).await?;
    let mut manager = scene.database.client().await?;
    let transaction = since_now(&mut manager, IsolationLevel::RepeatableRead).await?;

    // The row of the watched table does not move: only our own knowledge does, after that snapshot.
    stub.set(Behaviour::Status(500)).await?;
    let doubt = scene.reconcile(doubted).await?;
    assert_eq!(
        (doubt.text("auth_status"), doubt.reason()),
        (Some("client_ready"), "ApiServerError")
    );
    // The pause alone, before a look has answered for it.
    scene.daemon.signal("STOP")?;
    let pause = format!("select auth_reconciler.pause('{paused}', 'by hand')");
    value::<String>(&scene.client, &pause).await?;

    assert_eq!(write(&transaction, doubted, "failed").await?, "failed");
    assert_eq!(write(&transaction, paused, "failed").await?, "failed");
    assert_eq!(write(&transaction, kept, "failed").await?, "client_ready");
    // The verdict that it has looked at is locked for nobody.
    let free = format!(
        "select count(*) from (select from auth_reconciler.instance where instance_id = '{kept}'
         for update skip locked) as free"
    );
    assert_eq!(value::<i64>(&scene.client, &free).await?, 1);
    transaction.commit().await?;
    Ok(())
}

/// Each on a table of its own, so that they could meet in nothing but what is ours.
#[tokio::test]
async fn no_writer_fails_to_serialise_because_of_guard() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mut tables = vec![ManagerTable::message_instances()];
    for number in 1..4 {
        let name = format!("public.message_instances_{number}");
        tables.push(ManagerTable::message_instances_named(&name));
    }
    let mut ids = Vec::new();
    for table in &tables {
        table.create(&client).await?;
        let id = Uuid::new_v4();
        table
            .insert(&client, id, Some(stub.port()), Some(KEY))
            .await?;
        ids.push(id);
    }
    let names: Vec<_> = tables.iter().map(ManagerTable::name).collect();
    let names = names.join(",");
    let settings = [("AUTH_RECONCILER_TABLE", names.as_str())];
    let scene = Scene::serve(database, client, tables[0].clone(), &settings).await?;
    let all_seen =
        "select count(*) = 4 and every(final) and not exists (select from auth_reconciler.change)
        from auth_reconciler.instance where auth_status = 'client_ready'";
    crate::scene::eventually(&scene.client, all_seen).await?;
    for table in &tables {
        let guard = format!("select auth_reconciler.guard('{}', true)", table.name());
        value::<String>(&scene.client, &guard).await?;
    }
    scene.daemon.signal("STOP")?;
    let levels = [
        (IsolationLevel::RepeatableRead, "client_ready"),
        // Never guarded: what guard reads is what others write.
        (IsolationLevel::Serializable, "failed"),
    ];
    for (level, expected) in levels {
        let mut clients = Vec::new();
        for _ in &tables {
            clients.push(scene.database.client().await?);
        }
        let mut open = Vec::new();
        for client in &mut clients {
            open.push(since_now(client, level).await?);
        }
        let places = tables.iter().zip(&ids);
        // Twice, so that each reads before the others write.
        for _ in 0..2 {
            for (transaction, (table, id)) in open.iter().zip(places.clone()) {
                table.write_status(transaction, *id, Some("failed")).await?;
            }
        }
        for transaction in open {
            transaction.commit().await?;
        }
        for (table, id) in places {
            let status = table.status(&scene.client, *id).await?;
            assert_eq!(status.as_deref(), Some(expected), "{level:?}");
        }
    }
    Ok(())
}
