//! Row level security: a role that sees a part of the rows would take the others for deleted.

use anyhow::{Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};

use super::expect;
use crate::operator::grants::Granted;
use crate::scene::{Scene, eventually};

const ON: &str = "alter table public.message_instances enable row level security";
const OFF: &str = "alter table public.message_instances disable row level security";
const REMEDY: &str = "alter role auth_reconciler bypassrls";

#[tokio::test]
async fn a_role_that_rows_are_hidden_from_is_told_the_remedy_before_it_starts() -> Result<()> {
    let granted = Granted::start().await?;
    let (url, manager) = (&granted.daemon_url, &granted.scene.manager);
    manager.batch_execute(ON).await?;
    let doctor = run_command(url, &["doctor"], &[]).await?;
    expect(&doctor, 1, &["FAIL", "row level security", REMEDY])?;
    let run = run_command(url, &["run"], &[]).await?;
    ensure!(
        run.code == Some(1) && run.stderr.contains(REMEDY),
        "{run:?}"
    );
    // The remedy that it names is one.
    manager.batch_execute(REMEDY).await?;
    expect(&run_command(url, &["doctor"], &[]).await?, 0, &[])?;
    manager
        .batch_execute(&format!("alter role auth_reconciler nobypassrls; {OFF}"))
        .await?;

    // While it runs: with the next echo, in the log and for everybody who asks.
    let daemon = Daemon::spawn(url, &["run"], &[("AUTH_RECONCILER_ECHO_INTERVAL", "100ms")])?;
    daemon.wait_message("serving").await?;
    manager.batch_execute(ON).await?;
    daemon
        .wait_line(0, "hidden rows", |line| {
            line.has("problem", "RowsHidden") && line.text.contains(REMEDY)
        })
        .await?;
    let told = "select count(*) = 1 from auth_reconciler.problem_details where id is null and problem = 'RowsHidden'";
    eventually(manager, told).await?;
    let status = run_command(url, &["status"], &[]).await?;
    ensure!(status.code == Some(1), "{status:?}");
    Ok(())
}

/// Whoever attaches the triggers queues a look at every row: what is hidden from it would never be looked at.
#[tokio::test]
async fn an_owner_whom_the_policy_binds_is_refused_and_one_whom_it_does_not_is_warned() -> Result<()>
{
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let scene = Scene::on(&cluster.url("postgres")).await?;
    scene
        .manager
        .batch_execute(&format!(
            "create role keeper login; grant create on database {} to keeper;
             grant create on schema public to keeper;
             alter table public.message_instances owner to keeper; {ON}",
            scene.database.name()
        ))
        .await?;
    let url = connection_url::with_user(scene.url(), "keeper", None)?;
    let migrate = run_command(&url, &["migrate"], &[]).await?;
    ensure!(migrate.code == Some(0), "{migrate:?}");
    let said = format!("{}{}", migrate.stdout, migrate.stderr);
    ensure!(
        said.contains("row level security of table") && said.contains("bypassrls"),
        "{said}"
    );
    scene
        .manager
        .batch_execute("alter table public.message_instances force row level security")
        .await?;
    let doctor = run_command(&url, &["doctor"], &[]).await?;
    expect(
        &doctor,
        1,
        &["FAIL", "alter role keeper bypassrls", "no force row level"],
    )?;
    scene
        .manager
        .batch_execute("select auth_reconciler.unwatch('public.message_instances')")
        .await?;
    let migrate = run_command(&url, &["migrate"], &[]).await?;
    ensure!(
        migrate.code == Some(1) && migrate.stderr.contains("alter role keeper bypassrls"),
        "{migrate:?}"
    );
    Ok(())
}
