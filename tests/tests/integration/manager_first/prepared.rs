//! A manager that commits in two phases.

use anyhow::Result;
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use tokio_postgres::error::SqlState;

use crate::scene::Scene;

#[tokio::test]
async fn prepared_transactions_are_warned_of() -> Result<()> {
    let options = ClusterOptions::default().set("max_prepared_transactions", "10");
    let cluster = Cluster::start(options).await?;
    let scene = Scene::on(&cluster.url("postgres")).await?;
    let migrate = run_command(scene.url(), &["migrate"], &[]).await?;
    assert_eq!(migrate.code, Some(0));
    assert!(
        migrate.stderr.contains("max_prepared_transactions"),
        "{}",
        migrate.stderr
    );
    let doctor = run_command(scene.url(), &["doctor"], &[]).await?;
    assert_eq!(doctor.code, Some(0), "{}", doctor.stdout);
    let warned = doctor
        .stdout
        .lines()
        .any(|line| line.starts_with("warn") && line.contains("max_prepared_transactions"));
    assert!(warned, "{}", doctor.stdout);

    // And what it warns of is so.
    scene.instance(1).await?;
    let prepared = scene
        .manager
        .batch_execute(
            "begin; update public.message_instances set api_key = 'new'; prepare transaction 'in two phases'",
        )
        .await;
    let code = prepared.err().and_then(|error| error.code().cloned());
    assert_eq!(code, Some(SqlState::FEATURE_NOT_SUPPORTED));
    Ok(())
}
