//! Which writes are events: every committed change of a watched column is looked at, however it came about, and
//! nothing else is.

use anyhow::Result;
use auth_reconciler_tests::stub::{Authorization, Behaviour, Stub};
use uuid::Uuid;

use crate::arena::{KEY, Scene};

mod altered;

mod columns;
mod faults;
mod forms;
mod our_tables;
mod owed;
mod tables;

#[tokio::test]
async fn a_write_that_repeats_what_stands_is_no_event() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let other = scene.idle_instance().await?;
    let id = scene.instance(&stub).await?;
    let mark = scene.records.mark();
    let account = Some("Name (@username)");
    scene.table.save_account(&scene.client, id, account).await?;
    let before = scene.records.of(mark, id).await?;
    let probes = stub.counts().total();

    // The manager saves the key five times, on connections of its own; the container saves key and account again.
    for _ in 0..5 {
        let session = scene.database.client().await?;
        scene.table.save_api_key(&session, id, Some(KEY)).await?;
    }
    scene.table.save_account(&scene.client, id, account).await?;
    scene
        .table
        .write_status(&scene.client, id, Some("client_ready"))
        .await?;

    let after = scene.barrier(id, other).await?;
    assert_eq!(after.looks(), before.looks() + 1, "the barrier's alone");
    assert_eq!(stub.counts().total(), probes + 1, "the barrier's alone");
    Ok(())
}

#[tokio::test]
async fn what_was_rolled_back_is_no_event() -> Result<()> {
    let mut scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let other = scene.idle_instance().await?;
    let id = scene.instance(&stub).await?;
    let before = scene.reconcile(id).await?;
    let never = Uuid::new_v4();

    let transaction = scene.client.transaction().await?;
    scene
        .table
        .save_api_key(&transaction, id, Some("another"))
        .await?;
    scene.table.insert(&transaction, never, None, None).await?;
    scene.table.delete(&transaction, other).await?;
    transaction.rollback().await?;
    let mut transaction = scene.client.transaction().await?;
    let savepoint = transaction.transaction().await?;
    scene
        .table
        .save_account(&savepoint, id, Some("Nobody"))
        .await?;
    savepoint.rollback().await?;
    transaction.commit().await?;

    let after = scene.barrier(id, other).await?;
    assert_eq!(after.looks(), before.looks() + 1, "the barrier's alone");
    assert!(scene.records.all(0, never).is_empty());
    assert_eq!(scene.unobserved().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_deleted_row_is_forgotten_and_one_with_its_id_begins_anew() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;

    let mark = scene.records.mark();
    scene.table.delete(&scene.client, id).await?;
    scene.records.forgotten(mark, id).await?;
    assert_eq!(scene.unobserved().await?, 0);

    scene
        .table
        .insert(&scene.client, id, Some(stub.port()), Some(KEY))
        .await?;
    let again = scene.records.reason(mark, id, "Ready").await?;
    assert_eq!(again.looks(), 1, "nothing of its former life is left");
    assert_eq!(again.text("cause"), Some("insert"));
    Ok(())
}

#[tokio::test]
async fn a_truncated_table_is_forgotten_and_what_comes_after_is_seen() -> Result<()> {
    let mut scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let gone = [scene.idle_instance().await?, scene.idle_instance().await?];
    let back = scene.instance(&stub).await?;

    let mark = scene.records.mark();
    let transaction = scene.client.transaction().await?;
    let truncate = format!("truncate {}", scene.table.name());
    transaction.batch_execute(&truncate).await?;
    // The same transaction fills it again, as a restore does.
    scene
        .table
        .insert(&transaction, back, Some(stub.port()), None)
        .await?;
    transaction.commit().await?;

    for id in gone {
        scene.records.forgotten(mark, id).await?;
    }
    scene.records.reason(mark, back, "AwaitingApiKey").await?;
    scene.barrier(back, back).await?;
    assert_eq!(scene.unobserved().await?, 0);
    assert_eq!(scene.status(back).await?["auth_status"], "pending");
    Ok(())
}

#[tokio::test]
async fn a_changed_primary_key_ends_one_instance_and_begins_another() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (old, new) = (scene.instance(&stub).await?, Uuid::new_v4());

    let mark = scene.records.mark();
    scene.table.set(&scene.client, old, "id", &new).await?;
    scene.records.forgotten(mark, old).await?;
    let record = scene.records.reason(mark, new, "Ready").await?;
    assert_eq!(record.text("cause"), Some("id"));
    assert_eq!(scene.unobserved().await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_a_before_trigger_changes_is_an_event() -> Result<()> {
    let scene = Scene::start(&[("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    stub.expect_key("rotated");
    let id = scene.instance(&stub).await?;
    let mark = scene.records.mark();
    scene
        .client
        .batch_execute(&format!(
            "create function rotate() returns trigger language plpgsql as
                 $$ begin new.api_key := 'rotated'; return new; end $$;
             create trigger rotate before update of company_id on {}
                 for each row execute function rotate()",
            scene.table.name()
        ))
        .await?;
    // Our trigger takes the form in which it sees that, and every row is looked at.
    scene
        .records
        .wait(mark, "a look at every row", |record| {
            record.id == id && record.text("cause") == Some("watch")
        })
        .await?;

    let mark = scene.records.mark();
    // The statement names neither the key nor any other watched column.
    scene
        .table
        .set(&scene.client, id, "company_id", &"another company")
        .await?;
    let record = scene.records.of(mark, id).await?;
    assert_eq!(record.text("cause"), Some("api_key"));
    let last = stub
        .counts()
        .requests
        .pop()
        .map(|request| request.authorization);
    assert_eq!(last, Some(Authorization::Right), "asked with the new key");
    Ok(())
}

#[tokio::test]
async fn every_row_of_a_large_transaction_is_looked_at() -> Result<()> {
    // Only the first row is told; the others are in the change log.
    const ROWS: i64 = 300;
    let scene = Scene::start(&[]).await?;
    let fill = format!(
        "insert into {} (id, provider, type_instance)
         select gen_random_uuid(), 'telegram', array['api'] from generate_series(1, $1::bigint)",
        scene.table.name()
    );
    scene.client.execute(&fill, &[&ROWS]).await?;
    scene.all_recorded(ROWS, "AwaitingApiKey", "insert").await?;
    let change = format!("update {} set account = 'Name'", scene.table.name());
    scene.client.execute(&change, &[]).await?;
    scene
        .all_recorded(ROWS, "AwaitingApiKey", "account")
        .await?;
    assert_eq!(scene.unobserved().await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_operator_can_ask_for_a_look_and_is_told_what_happens() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (one, two) = (scene.instance(&stub).await?, scene.idle_instance().await?);
    let before = scene.reconcile(two).await?;
    let say = async |statement: &str| -> Result<String> {
        Ok(scene.client.query_one(statement, &[]).await?.try_get(0)?)
    };

    let (mark, probes) = (scene.records.mark(), stub.counts().total());
    let said = say(&format!("select auth_reconciler.reconcile('{one}')")).await?;
    assert_eq!(
        said,
        format!("{one} of public.message_instances will be looked at")
    );
    let record = scene.records.of(mark, one).await?;
    assert_eq!(record.text("cause"), Some("operator"));
    assert_eq!(stub.counts().total(), probes + 1);

    let nobody = Uuid::new_v4();
    let said = say(&format!("select auth_reconciler.reconcile('{nobody}')")).await?;
    assert_eq!(said, format!("no watched table has an instance {nobody}"));
    assert_eq!(scene.unobserved().await?, 0);

    let mark = scene.records.mark();
    let said = say("select auth_reconciler.reconcile_all()").await?;
    assert_eq!(said, "2 instances will be looked at");
    for id in [one, two] {
        let record = scene.records.of(mark, id).await?;
        assert_eq!(record.text("cause"), Some("operator"));
        if id == two {
            assert_eq!(
                record.looks(),
                before.looks() + 1,
                "the first was of one alone"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_row_that_serves_no_api_is_left_alone_until_it_does() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.idle_instance().await?;
    let mark = scene.records.mark();
    scene
        .table
        .set(&scene.client, id, "type_instance", &vec!["mcp"])
        .await?;
    let record = scene.records.reason(mark, id, "UnsupportedType").await?;
    assert_eq!(record.text("auth_status"), None);

    let port = Some(i32::from(stub.port()));
    for status in ["failed", "whatever"] {
        scene.table.set_port(&scene.client, id, port).await?;
        scene
            .table
            .save_api_key(&scene.client, id, Some(KEY))
            .await?;
        scene
            .table
            .write_status(&scene.client, id, Some(status))
            .await?;
        let before = scene.row_version(id).await?;
        scene.barrier(id, id).await?;
        assert_eq!(scene.row_version(id).await?, before, "untouched");
        assert_eq!(scene.status(id).await?["auth_status"], status);
        assert_eq!(scene.unobserved().await?, 0);
    }
    assert_eq!(stub.counts().total(), 0, "and never asked");

    let mark = scene.records.mark();
    scene
        .table
        .set(&scene.client, id, "type_instance", &vec!["mcp", "api"])
        .await?;
    scene.records.reason(mark, id, "Ready").await?;
    assert_eq!(scene.status(id).await?["auth_status"], "client_ready");
    Ok(())
}

#[tokio::test]
async fn an_unknown_provider_is_untouched_and_its_changes_do_not_stay() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    let mark = scene.records.mark();
    let port = Some(i32::from(stub.port()));
    scene
        .table
        .insert_provider(&scene.client, id, "smoke", port, Some(KEY))
        .await?;
    scene
        .table
        .write_status(&scene.client, id, Some("signalling"))
        .await?;
    let before = scene.row_version(id).await?;
    scene
        .records
        .reason(mark, id, "UnsupportedProvider")
        .await?;
    scene.barrier(id, id).await?;
    assert_eq!(scene.row_version(id).await?, before, "untouched");
    assert_eq!(stub.counts().total(), 0, "and never asked");
    assert_eq!(scene.unobserved().await?, 0);
    assert!(scene.history(id).await?.is_empty());
    Ok(())
}
