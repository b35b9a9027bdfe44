//! Any role may take any advisory lock: whoever holds one of ours and is none of ours is named.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use crate::scene::{ALL_TRUE, Scene};

const HELD: &str = "somebody else holds a lock of ours";

#[tokio::test]
async fn whoever_holds_the_lock_of_the_leader_is_named_everywhere() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let thief = scene.database.client().await?;
    thief
        .batch_execute(
            "set application_name = 'a thief'; select pg_advisory_lock(auth_reconciler.leadership_lock());
             select pg_advisory_lock(1, 2)",
        )
        .await?;
    let daemon = Daemon::spawn(scene.url(), &["run"], &[])?;
    let told = daemon
        .wait_message("somebody else holds the lock of whoever leads")
        .await?;
    let pid: i32 = thief
        .query_one("select pg_backend_pid()", &[])
        .await?
        .get(0);
    ensure!(
        told.text.contains("a thief") && told.text.contains(&pid.to_string()),
        "{}",
        told.text
    );
    for named in [
        format!("select count(*) = 1 from auth_reconciler.reconciler_details where role = 'foreign' and pid = {pid} and remark like '%a thief%no daemon can lead%'"),
        "select array_agg(problem order by problem) = '{ForeignLock,NobodyLeads}' from auth_reconciler.problem_details".to_owned(),
        "select count(*) = 0 from auth_reconciler.reconciler_details where role = 'active'".to_owned(),
    ] {
        ensure!(scene.value::<bool>(&named).await?, "{named}");
    }
    thief
        .batch_execute("select pg_advisory_unlock_all()")
        .await?;
    daemon.wait_message("serving").await?;
    scene
        .eventually("select not exists (select from auth_reconciler.problem_details)")
        .await
}

#[tokio::test]
async fn whoever_holds_the_lock_of_an_instance_is_named_and_its_look_is_made_up_for() -> Result<()>
{
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let settings = [("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    let thief = scene.database.client().await?;
    thief
        .batch_execute(&format!(
            "set application_name = 'a thief';
             select pg_advisory_lock(auth_reconciler.key_class(), auth_reconciler.key_hash(1, '{id}'));
             -- The same number in the form of one key, and another class, are nobody's business.
             select pg_advisory_lock(auth_reconciler.key_class()::bigint << 32), pg_advisory_lock(7, 8)"
        ))
        .await?;
    scene
        .table
        .write_status(&scene.manager, id, Some("pending"))
        .await?;
    scene
        .eventually(
            "select count(*) = 1 from auth_reconciler.problem_details
             where problem = 'ForeignLock' and replace(why, e'\\n', ' ') like '%a thief%the lock of an instance%'",
        )
        .await?;
    let held = daemon.wait_message(HELD).await?;
    ensure!(held.text.contains("a thief"), "{}", held.text);
    // Two more echoes, at least: what stands is not said again with each.
    for (change, told) in [
        ("disable", "a watched table is not as it was"),
        ("enable", "no longer so of a watched table"),
    ] {
        let alter = format!("alter table {} {change} trigger user", scene.table.name());
        scene.manager.batch_execute(&alter).await?;
        daemon.wait_message(told).await?;
    }
    thief
        .batch_execute("select pg_advisory_unlock_all()")
        .await?;
    daemon
        .wait_message("that lock of ours is free again")
        .await?;
    let told = daemon.count(|line| line.is(HELD));
    ensure!(told == 1, "said {told} times");
    scene.eventually(ALL_TRUE).await?;
    scene
        .eventually("select not exists (select from auth_reconciler.problem_details)")
        .await
}

/// Whoever may not write our tables is none of ours, however it calls itself.
#[tokio::test]
async fn whoever_bears_only_the_name_is_named_and_leads_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    scene
        .manager
        .batch_execute(&format!("create role {role} login"))
        .await?;
    let named = under_our_name(&scene, &role).await;
    scene
        .manager
        .batch_execute(&format!("drop role {role}"))
        .await?;
    named
}

async fn under_our_name(scene: &Scene, role: &str) -> Result<()> {
    let thief = connect(&connection_url::with_user(scene.url(), role, None)?).await?;
    // A role without rights cannot ask our functions for the numbers, but may know them.
    let leadership: i64 = scene
        .value("select auth_reconciler.leadership_lock()")
        .await?;
    let keys: i32 = scene.value("select auth_reconciler.key_class()").await?;
    thief
        .batch_execute(&format!(
            "set application_name = 'auth-reconciler ear 0.1.0 somewhere 1';
             select pg_advisory_lock({leadership}), pg_advisory_lock({keys}, 5)"
        ))
        .await?;
    let told = format!("%of role {role}%auth-reconciler ear 0.1.0 somewhere 1%");
    for wanted in [
        format!(
            "select count(*) = 2 from auth_reconciler.reconciler_details where role = 'foreign' and remark like '{told}'"
        ),
        "select auth_reconciler.nobody_leads()".to_owned(),
        "select count(*) = 0 from auth_reconciler.reconciler_details where role in ('active', 'standby')"
            .to_owned(),
    ] {
        scene.eventually(&wanted).await.context(wanted)?;
    }
    Ok(())
}

/// What the other locks are good for fails more quietly: history is pruned by nobody, a daemon that has ended seems to
/// live, the command `watch` waits.
#[tokio::test]
async fn whoever_holds_another_lock_of_ours_is_named() -> Result<()> {
    let scene = Scene::shared().await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let epoch: i64 = scene
        .value("select auth_reconciler.epoch_lock(epoch) from auth_reconciler.leadership")
        .await?;
    let watcher = scene.database.client().await?;
    watcher
        .batch_execute("set application_name = 'psql'; select auth_reconciler.begin_watching()")
        .await?;
    let thief = scene.database.client().await?;
    thief
        .batch_execute(
            "set application_name = 'a thief';
             select pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.prune_lock()),
                pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.silent_record_lock())",
        )
        .await?;
    // It waits until the daemon has ended.
    let heir = scene.database.client().await?;
    heir.batch_execute("set application_name = 'an heir'")
        .await?;
    let inherits = format!("select pg_advisory_lock({epoch})");
    daemon.sigterm()?;
    heir.batch_execute(&inherits).await?;
    daemon.exit().await;
    scene
        .eventually(
            "select coalesce(array_agg(concat_ws(' ', application, lock) order by lock), '{}')
                = '{an heir epoch,a thief prune,a thief watch}' from auth_reconciler.foreign_locks()",
        )
        .await?;
    scene
        .eventually(
            "select count(*) = 3 from auth_reconciler.problem_details where problem = 'ForeignLock'",
        )
        .await
}
