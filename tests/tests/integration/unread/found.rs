//! What a daemon finds in the log, and what it does not stumble over.

use anyhow::Context;
use auth_reconciler_tests::daemon::{Daemon, SERVING};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use super::*;
use crate::scene::{ALL_TRUE, KEY};

const ANSWERED: &str = "select not exists (select from auth_reconciler.change)";

/// It has drawn its number before thousands of others that are answered for when it commits.
#[tokio::test]
async fn a_change_that_is_committed_long_after_its_number_was_drawn_is_found() -> Result<()> {
    let scene = Scene::shared().await?;
    // Both are ready: nothing but the log leads to a look.
    let stub = Stub::start(Behaviour::Ready).await?;
    let early = scene.instance(stub.port()).await?;
    let many = scene.instance(stub.port()).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    daemon.wait_message(SERVING).await?;
    scene.eventually(ALL_TRUE).await?;
    let late = database::connect(scene.url()).await?;
    late.batch_execute(&format!(
        "begin; update public.message_instances set account = 'late' where id = '{early}'"
    ))
    .await?;
    for round in 0..4 {
        scene
            .manager
            .batch_execute(&format!(
                "do $$ begin for i in 1..500 loop
                    update public.message_instances set account = '{round} ' || i where id = '{many}';
                 end loop; end $$"
            ))
            .await?;
        scene.eventually(ANSWERED).await?;
    }
    late.batch_execute("commit").await?;
    scene.eventually(ANSWERED).await?;
    let cause: String = scene
        .value(&format!(
            "select cause from auth_reconciler.instance where instance_id = '{early}'"
        ))
        .await?;
    ensure!(cause == "account", "{cause}");
    Ok(())
}

/// Two tables, and somebody has locked one of them.
#[tokio::test]
async fn a_table_that_is_locked_keeps_no_change_of_another_from_being_looked_at() -> Result<()> {
    let scene = Scene::shared().await?;
    let other = ManagerTable::telegram_instances();
    other.create(&scene.manager).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let one = scene.instance(stub.port()).await?;
    let daemon = Daemon::start(
        &scene.database,
        &[(
            "AUTH_RECONCILER_TABLE",
            "public.message_instances,public.telegram_instances",
        )],
    )
    .await?;
    daemon.wait_message(SERVING).await?;
    scene.eventually(ALL_TRUE).await?;
    let holder = database::connect(scene.url()).await?;
    holder
        .batch_execute(&format!(
            "begin; update public.message_instances set account = 'x' where id = '{one}'; commit;
             begin; lock table public.message_instances in access exclusive mode"
        ))
        .await?;
    let two = Uuid::new_v4();
    other
        .insert(&scene.manager, two, Some(stub.port()), Some(KEY))
        .await?;
    let ready = format!(
        "select exists (select from auth_reconciler.instance where instance_id = '{two}' and reason = 'Ready')"
    );
    scene.eventually(&ready).await?;
    holder.batch_execute("commit").await?;
    scene.eventually(ANSWERED).await
}

/// A part of a value is gone from the disk.
#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_from_being_looked_at() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    scene
        .manager
        .batch_execute("create extension pg_surgery")
        .await
        .context("the server's contributed modules are needed")?;
    let broken = Uuid::new_v4();
    scene
        .manager
        .batch_execute(&format!(
            "insert into public.message_instances (id, provider, port_api, api_key)
             select '{broken}', 'telegram', 1, string_agg(md5(random()::text), '') from generate_series(1, 200)"
        ))
        .await?;
    let toast: String = scene
        .value("select reltoastrelid::regclass::text from pg_class where oid = 'public.message_instances'::regclass")
        .await?;
    scene
        .manager
        .batch_execute(&format!(
            "select heap_force_kill('{toast}', array(select ctid from {toast}))"
        ))
        .await?;
    let whole = scene.instance(stub.port()).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    daemon.wait_message(SERVING).await?;
    let ready = |id: Uuid| {
        format!(
            "select exists (select from auth_reconciler.instance where instance_id = '{id}' and reason = 'Ready')"
        )
    };
    scene.eventually(&ready(whole)).await?;
    // Nor one that comes later, and it is not asked for again and again by the log.
    let later = scene.instance(stub.port()).await?;
    scene.eventually(&ready(later)).await?;
    scene
        .eventually(&format!(
            "select bool_and(put_off) from auth_reconciler.change where instance_id = '{broken}'"
        ))
        .await?;
    scene
        .manager
        .batch_execute(&format!(
            "delete from public.message_instances where id = '{broken}'"
        ))
        .await?;
    scene.eventually(ANSWERED).await
}

/// A process that put a change off has ended: its successor begins with it.
#[tokio::test]
async fn what_was_put_off_by_one_process_is_found_by_the_next() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(stub.port()).await?;
    let holder = database::connect(scene.url()).await?;
    holder
        .batch_execute(&format!(
            "begin; select from public.message_instances where id = '{id}' for update"
        ))
        .await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    scene
        .eventually("select coalesce(bool_and(put_off), false) from auth_reconciler.change")
        .await?;
    first.sigkill()?;
    first.ended().await?;
    holder.batch_execute("rollback").await?;
    let _second = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await
}
