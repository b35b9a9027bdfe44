//! A watched table that is no longer what it was: said at the next echo, by name, wherever an operator looks.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Output, run_command};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::arena::{KEY, Scene};
use crate::scene::eventually;

const OFTEN: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

const TABLE: &str = "public.message_instances";

async fn command(scene: &Scene, name: &str) -> Result<Output> {
    run_command(scene.database.url(), &[name], &[]).await
}

/// The log, `problems`, `status` and `doctor` tell it, and then `migrate` mends it.
async fn told_and_mended(scene: &Scene, problem: &str, words: &[&str]) -> Result<()> {
    let line = scene
        .daemon
        .wait_line(0, problem, |line| {
            line.is("a watched table is not as it was") && line.has("problem", problem)
        })
        .await?;
    let shown = format!(
        "select count(*) = 1 and bool_and(problem = '{problem}') from auth_reconciler.problem_details where id is null"
    );
    eventually(&scene.client, &shown).await?;
    let status = command(scene, "status").await?;
    let doctor = command(scene, "doctor").await?;
    ensure!(status.code == Some(1), "{status:?}");
    ensure!(doctor.code == Some(1), "{doctor:?}");
    ensure!(doctor.stdout.contains("FAIL"), "{doctor:?}");
    for word in words {
        ensure!(
            line.text.contains(word),
            "no {word:?} in the log: {}",
            line.text
        );
        ensure!(status.stdout.contains(word), "no {word:?} in {status:?}");
    }
    let migrated = command(scene, "migrate").await?;
    ensure!(migrated.code == Some(0), "{migrated:?}");
    eventually(
        &scene.client,
        "select not exists (select from auth_reconciler.problem_details where id is null)",
    )
    .await?;
    let doctor = command(scene, "doctor").await?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    Ok(())
}

/// A row of the table that stands under the name now is served.
async fn served(scene: &Scene) -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    let mark = scene.records.mark();
    let id = scene.instance(&stub).await?;
    scene.records.reason(mark, id, "Ready").await?;
    Ok(())
}

#[tokio::test]
async fn another_table_under_the_name_of_a_watched_one_is_told() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    scene
        .client
        .batch_execute(&format!(
            "alter table {TABLE} rename to message_instances_old"
        ))
        .await?;
    // Renamed alone, it is still the table that is watched.
    served_under(&scene, "public.message_instances_old").await?;
    scene.table.create(&scene.client).await?;
    let words = [
        TABLE,
        "public.message_instances_old",
        "auth-reconciler migrate",
    ];
    told_and_mended(&scene, "TableReplaced", &words).await?;
    served(&scene).await
}

async fn served_under(scene: &Scene, name: &str) -> Result<()> {
    let mark = scene.records.mark();
    let id = Uuid::new_v4();
    let insert = format!("insert into {name} (id, provider) values ($1, 'telegram')");
    scene.client.execute(&insert, &[&id]).await?;
    scene.records.reason(mark, id, "AwaitingApiKey").await?;
    Ok(())
}

#[tokio::test]
async fn a_table_that_was_dropped_and_made_again_is_told_by_its_name() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    scene.idle_instance().await?;
    scene
        .client
        .batch_execute(&format!("drop table {TABLE}"))
        .await?;
    scene
        .daemon
        .wait_line(0, "the drop", |line| line.has("problem", "TableDropped"))
        .await?;
    scene.table.create(&scene.client).await?;
    told_and_mended(
        &scene,
        "TableReplaced",
        &[TABLE, "was dropped and made again"],
    )
    .await?;
    served(&scene).await
}

/// Two of two partitions are served, with the triggers of one disabled.
#[tokio::test]
async fn triggers_disabled_on_a_partition_are_told() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    scene
        .client
        .batch_execute(
            "create table public.parted (like public.telegram_instances including defaults) partition by hash (id);
             alter table public.parted add primary key (id);
             create table public.part_0 partition of public.parted for values with (modulus 2, remainder 0);
             create table public.part_1 partition of public.parted for values with (modulus 2, remainder 1);
             select auth_reconciler.watch('public.parted');
             alter table public.part_1 disable trigger auth_reconciler_update",
        )
        .await?;
    let settings = [(
        "AUTH_RECONCILER_TABLE",
        "public.parted,public.message_instances",
    )];
    scene
        .daemon
        .wait_line(0, "the disabled trigger", |line| {
            line.has("problem", "TriggersMissing") && line.text.contains("part_1")
        })
        .await?;
    let doctor = run_command(scene.database.url(), &["doctor"], &settings).await?;
    ensure!(
        doctor.code == Some(1) && doctor.stdout.contains("part_1"),
        "{doctor:?}"
    );
    let migrated = run_command(scene.database.url(), &["migrate"], &settings).await?;
    ensure!(migrated.code == Some(0), "{migrated:?}");
    let well = "select not exists (select from auth_reconciler.problem_details where id is null)";
    eventually(&scene.client, well).await?;

    for (table, remedy) in [("public.part_0", "unwatch('public.parted')")] {
        let watch = format!("select auth_reconciler.watch('{table}')");
        let Err(refused) = scene.client.batch_execute(&watch).await else {
            anyhow::bail!("{table} was watched beside the other");
        };
        let refused = refused
            .as_db_error()
            .map(|error| format!("{error} {:?}", error.hint()));
        let refused = refused.unwrap_or_default();
        ensure!(
            refused.contains("is watched already") && refused.contains(remedy),
            "{refused}"
        );
    }
    // And the other way round.
    scene
        .client
        .batch_execute("select auth_reconciler.unwatch('public.parted'); select auth_reconciler.watch('public.part_0')")
        .await?;
    let watch = "select auth_reconciler.watch('public.parted')";
    let refused = scene.client.batch_execute(watch).await.err();
    let refused = refused.as_ref().and_then(|error| error.as_db_error());
    ensure!(
        refused.is_some_and(|error| error.message().contains("public.part_0 is watched already")),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_child_beside_its_parent_is_refused() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let table = ManagerTable::telegram_instances();
    table.create(&scene.client).await?;
    let client = &scene.client;
    client
        .batch_execute("create table public.heir () inherits (public.telegram_instances)")
        .await?;
    client
        .batch_execute(
            "alter table public.heir add primary key (id);
             select auth_reconciler.watch('public.telegram_instances')",
        )
        .await?;
    let watch = "select auth_reconciler.watch('public.heir')";
    let refused = client.batch_execute(watch).await.err();
    let refused = refused.as_ref().and_then(|error| error.as_db_error());
    ensure!(
        refused.is_some_and(|error| error
            .message()
            .contains("public.telegram_instances is watched already")),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_type_column_that_comes_later_is_told_and_read_at_once() -> Result<()> {
    let scene = Scene::start(&[OFTEN]).await?;
    let (client, name) = (&scene.client, scene.table.name());
    let drop = format!(
        "select auth_reconciler.unwatch('{name}'); alter table {name} drop column type_instance;
         select auth_reconciler.watch('{name}')"
    );
    client.batch_execute(&drop).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    let mark = scene.records.mark();
    let insert = format!(
        "insert into {name} (id, provider, port_api, api_key) values ($1, 'telegram', $2, $3)"
    );
    let port = i32::from(stub.port());
    client.execute(&insert, &[&id, &port, &KEY]).await?;
    scene.records.reason(mark, id, "Ready").await?;

    let mark = scene.records.mark();
    let add = format!("alter table {name} add column type_instance varchar[] default '{{mcp}}'");
    client.batch_execute(&add).await?;
    // All rows are looked at again, and this one is none of ours.
    scene
        .records
        .wait(mark, "hands off", |record| {
            record.reason() != "Ready" && record.text("auth_status").is_none()
        })
        .await?;
    told_and_mended(&scene, "ColumnAdded", &[name, "type_instance"]).await
}
