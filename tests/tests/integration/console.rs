//! What a person meets on a terminal or in a pipe when something is not as it should be.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{binary, run_command, settings_for};
use auth_reconciler_tests::stub::{Behaviour, Stub};

use crate::scene::{ALL_TRUE, Scene, eventually, insert_many};

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_does_not_end_the_daemon() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mut daemon = tokio::process::Command::new(binary()?)
        .arg("run")
        .env_clear()
        .envs(settings_for(scene.url()))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    drop(daemon.stderr.take().context("standard error")?);

    insert_many(&scene, &stub, 1).await?;

    eventually(&scene.manager, ALL_TRUE).await?;
    ensure!(daemon.try_wait()?.is_none(), "the daemon has ended");
    Ok(())
}

#[tokio::test]
async fn status_without_a_schema_or_a_way_in_names_the_remedy() -> Result<()> {
    let scene = Scene::shared().await?;
    let missing = run_command(scene.url(), &["status"], &[]).await?;
    ensure!(missing.code == Some(3) && missing.stdout.is_empty());
    for word in [
        "the schema auth_reconciler is missing",
        "auth-reconciler migrate",
    ] {
        ensure!(
            missing.stderr.contains(word),
            "{word} is missing in {}",
            missing.stderr
        );
    }

    let nobody = "postgres://nobody@127.0.0.1:1/nowhere";
    let refused = run_command(nobody, &["status"], &[]).await?;
    ensure!(refused.code == Some(3) && refused.stdout.is_empty());
    for word in [nobody, "nothing listens there"] {
        ensure!(
            refused.stderr.contains(word),
            "{word} is missing in {}",
            refused.stderr
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_may_not_migrate_is_told_who_may() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    let (create, drop) = (
        format!("create role {role} login password 'its own'"),
        format!("drop role {role}"),
    );
    let url = connection_url::with_user(scene.url(), &role, Some("its own"))?;
    scene.manager.batch_execute(&create).await?;
    let refused = run_command(&url, &["migrate"], &[]).await;
    scene.manager.batch_execute(&drop).await?;
    let refused = refused?;
    ensure!(refused.code == Some(1));
    ensure!(
        refused.stderr.contains("owner of the watched tables"),
        "the remedy is missing in {}",
        refused.stderr
    );
    Ok(())
}
