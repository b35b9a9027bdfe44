//! Any role may take any advisory lock: whoever holds one of ours and is none of ours is named.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use crate::scene::{ALL_TRUE, Scene};

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
        format!("select count(*) = 1 from auth_reconciler.reconcilers where role = 'foreign' and pid = {pid} and remark like '%a thief%no daemon can lead%'"),
        "select array_agg(problem order by problem) = '{ForeignLock,NobodyLeads}' from auth_reconciler.problems".to_owned(),
        "select count(*) = 0 from auth_reconciler.reconcilers where role = 'active'".to_owned(),
    ] {
        ensure!(scene.value::<bool>(&named).await?, "{named}");
    }
    thief
        .batch_execute("select pg_advisory_unlock_all()")
        .await?;
    daemon.wait_message("serving").await?;
    scene
        .eventually("select not exists (select from auth_reconciler.problems)")
        .await
}

#[tokio::test]
async fn whoever_holds_the_lock_of_an_instance_is_named_and_its_look_is_made_up_for() -> Result<()>
{
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
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
            "select count(*) = 1 from auth_reconciler.problems
             where problem = 'ForeignLock' and replace(why, e'\\n', ' ') like '%a thief%the lock of an instance%'",
        )
        .await?;
    thief
        .batch_execute("select pg_advisory_unlock_all()")
        .await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .eventually("select not exists (select from auth_reconciler.problems)")
        .await
}
