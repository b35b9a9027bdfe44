//! `doctor`: a line for each thing that `run` needs, and for each fault the words that mend it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, Output, SERVING, Setting, run_command};
use auth_reconciler_tests::database::{TestDatabase, connect};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use super::expect;
use crate::stage::Stage;

async fn doctor(url: &str, settings: &[Setting<'_>]) -> Result<Output> {
    run_command(url, &["doctor"], settings).await
}

/// A database with the manager's table, migrated, and nobody serving it.
async fn migrated() -> Result<TestDatabase> {
    let database = TestDatabase::shared().await?;
    let table = ManagerTable::message_instances();
    table.create(&database.client().await?).await?;
    expect(
        &run_command(database.url(), &["migrate"], &[]).await?,
        0,
        &[],
    )?;
    Ok(database)
}

#[tokio::test]
async fn a_healthy_set_up_has_only_good_lines() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let output = doctor(stage.database.url(), &[]).await?;
    let names = [
        "settings",
        "engine",
        "connection",
        "server",
        "schema",
        "triggers",
        "privileges",
        "running",
        "echo",
    ];
    expect(
        &output,
        0,
        &["active daemon", "heard an echo", "without TLS"],
    )?;
    for name in names {
        let good =
            |line: &str| line.starts_with("ok ") && line.split_whitespace().nth(1) == Some(name);
        ensure!(output.stdout.lines().any(good), "no good line of {name}");
    }
    ensure!(!output.stdout.contains("FAIL") && !output.stdout.contains("warn"));
    stage.close().await
}

#[tokio::test]
async fn each_fault_of_the_schema_has_its_remedy() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let url = database.url();
    let client = database.client().await?;
    expect(
        &doctor(url, &[]).await?,
        1,
        &[
            "FAIL  schema",
            "schema auth_reconciler is missing",
            "run `auth-reconciler migrate`",
        ],
    )?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    expect(&run_command(url, &["migrate"], &[]).await?, 0, &[])?;
    let nobody = ["warn  running", "no daemon runs", "auth-reconciler run"];
    expect(&doctor(url, &[]).await?, 0, &nobody)?;
    let other = [(
        "AUTH_RECONCILER_TABLE",
        "message_instances,elsewhere.things",
    )];
    expect(
        &doctor(url, &other).await?,
        1,
        &[
            "table elsewhere.things does not exist",
            "AUTH_RECONCILER_TABLE",
        ],
    )?;
    client
        .batch_execute("create table public.other (like public.message_instances)")
        .await?;
    let other = [("AUTH_RECONCILER_TABLE", "other")];
    expect(
        &doctor(url, &other).await?,
        1,
        &[
            "table public.other is not watched",
            "auth-reconciler migrate",
        ],
    )?;
    drop(client);
    database.close().await
}

#[tokio::test]
async fn a_trigger_that_somebody_disabled_has_its_remedy() -> Result<()> {
    let database = migrated().await?;
    let url = database.url();
    let client = database.client().await?;
    for (fault, trigger) in [
        (
            "disable trigger auth_reconciler_update",
            "auth_reconciler_update",
        ),
        ("disable trigger user", "auth_reconciler_truncate"),
    ] {
        let fault = format!("alter table public.message_instances {fault}");
        client.batch_execute(&fault).await?;
        let said = [
            "FAIL  schema",
            "missing or disabled",
            trigger,
            "auth-reconciler migrate",
        ];
        expect(&doctor(url, &[]).await?, 1, &said)?;
        // The remedy that it names is one.
        expect(&run_command(url, &["migrate"], &[]).await?, 0, &[])?;
        expect(&doctor(url, &[]).await?, 0, &[])?;
    }
    drop(client);
    database.close().await
}

#[tokio::test]
async fn each_missing_right_is_named_with_its_grant() -> Result<()> {
    let database = migrated().await?;
    let client = database.client().await?;
    let role = format!("role_of_{}", database.name());
    client
        .batch_execute(&format!("create role {role} login"))
        .await?;
    let url = connection_url::with_user(database.url(), &role, None)?;
    let granted = async {
        let mut rounds = 0;
        loop {
            let output = doctor(&url, &[]).await?;
            let grants: Vec<_> = output
                .stdout
                .lines()
                .filter_map(|line| line.split_once("as the owner: "))
                .map(|(_, grant)| grant.to_owned())
                .collect();
            if output.code == Some(0) {
                break anyhow::Ok(rounds);
            }
            ensure!(!grants.is_empty(), "no remedy is left:\n{}", output.stdout);
            ensure!(rounds < 3, "the remedies do not help:\n{}", output.stdout);
            rounds += 1;
            client.batch_execute(&grants.join(";")).await?;
        }
    };
    let rounds = granted.await;
    // With what it named, and nothing else, the daemon runs.
    let served = async {
        ensure!(rounds? > 0, "a role without any right was healthy");
        let stub = Stub::start(Behaviour::Ready).await?;
        let daemon = Daemon::spawn(&url, &["run"], &[])?;
        daemon.wait_message(SERVING).await?;
        let table = ManagerTable::message_instances();
        let id = Uuid::new_v4();
        table
            .insert(&client, id, Some(stub.port()), Some("a-key"))
            .await?;
        daemon
            .wait_line(0, "client_ready by a role with few rights", |line| {
                line.is("status written") && line.has("to", "client_ready")
            })
            .await?;
        // Deletions take another way to the database.
        table.delete(&client, id).await?;
        daemon.wait_message("row is gone, forgotten").await?;
        anyhow::Ok(())
    };
    let served = served.await;
    client
        .batch_execute(&format!("drop owned by {role}; drop role {role}"))
        .await?;
    served?;
    drop(client);
    database.close().await
}

#[tokio::test]
async fn a_connection_that_fails_says_why() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().scram_for_others()).await?;
    let client = connect(&cluster.url("postgres")).await?;
    client
        .batch_execute("create role manager login password 'se-cret'")
        .await?;
    let url = cluster.url("postgres");
    let wrong = connection_url::with_user(&url, "manager", Some("wr-ong"))?;
    let output = doctor(&wrong, &[]).await?;
    expect(&output, 3, &["FAIL  connection", "password", "check both"])?;
    ensure!(
        !format!("{output:?}").contains("wr-ong"),
        "the password is shown"
    );
    let nobody = connection_url::with_user(&url, "manager", None)?;
    expect(
        &doctor(&nobody, &[]).await?,
        3,
        &["FAIL  connection", "DATABASE_PASSWORD"],
    )?;
    let absent = cluster.url("absent");
    expect(
        &doctor(&absent, &[]).await?,
        3,
        &["FAIL  connection", "absent"],
    )?;
    // Port 1 is nobody's.
    let refused = connection_url::with_address(&url, "127.0.0.1", 1)?;
    expect(
        &doctor(&refused, &[]).await?,
        3,
        &["FAIL  connection", "nothing listens there"],
    )?;
    let ear = [("AUTH_RECONCILER_LISTEN_URL", refused.as_str())];
    expect(
        &doctor(&url, &ear).await?,
        1,
        &["ok    connection", "FAIL  echo"],
    )?;
    Ok(())
}
