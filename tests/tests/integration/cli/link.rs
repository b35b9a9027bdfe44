//! Ways to the database: TLS that is verified, a Unix socket, and the manager's separate names; all of them end to end.

use anyhow::{Result, ensure};
use auth_reconciler_tests::certificates::Certificates;
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, SERVING, Setting, run_command};
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use super::expect;

/// A database `prod` of a role `manager` with a password, and a superuser's session in it.
async fn prod(cluster: &Cluster) -> Result<Client> {
    let server = connect(&cluster.socket_url("postgres")).await?;
    server
        .batch_execute("create role manager login password 'se-cret'")
        .await?;
    server
        .batch_execute("create database prod owner manager")
        .await?;
    let client = connect(&cluster.socket_url("prod")).await?;
    // As in reality the tables are the manager's own.
    client
        .batch_execute("grant all on schema public to manager; set role manager")
        .await?;
    ManagerTable::message_instances().create(&client).await?;
    client.batch_execute("reset role").await?;
    Ok(client)
}

/// The daemon, once it has made one instance ready: its ear has heard and its pool has written.
async fn serving(url: &str, settings: &[Setting<'_>], client: &Client) -> Result<Daemon> {
    let mut daemon = Daemon::spawn(url, &["run", "--migrate"], settings)?;
    daemon.hide("se-cret");
    daemon.wait_message(SERVING).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    ManagerTable::message_instances()
        .insert(client, id, Some(stub.port()), Some("a-key"))
        .await?;
    let id = id.to_string();
    daemon
        .wait_line(0, "the instance to be ready", |line| {
            line.is("status written") && line.has("instance", &id) && line.has("to", "client_ready")
        })
        .await?;
    Ok(daemon)
}

#[tokio::test]
async fn verified_tls_end_to_end() -> Result<()> {
    let certificates = Certificates::create()?;
    let options = ClusterOptions::default().tls(&certificates.server);
    let cluster = Cluster::start(options.tls_only().scram_for_others()).await?;
    let client = prod(&cluster).await?;
    let plain = connection_url::with_user(&cluster.url("prod"), "manager", Some("se-cret"))?;
    let plain = connection_url::with_address(&plain, "localhost", cluster.port())?;
    let trusting = |authority: &std::path::Path| -> Result<String> {
        let url = connection_url::with_option(&plain, "sslmode=verify-full")?;
        connection_url::with_option(&url, &format!("sslrootcert={}", authority.display()))
    };
    let url = trusting(&certificates.authority)?;
    let daemon = serving(&url, &[], &client).await?;
    let rows = client
        .query(
            "select a.application_name, s.ssl from pg_stat_activity as a join pg_stat_ssl as s using (pid)
             where a.application_name like 'auth-reconciler %'",
            &[],
        )
        .await?;
    for kind in ["auth-reconciler ear", "auth-reconciler pool"] {
        let encrypted = |row: &&tokio_postgres::Row| {
            row.get::<_, &str>(0).starts_with(kind) && row.get::<_, bool>(1)
        };
        ensure!(rows.iter().any(|row| encrypted(&row)), "{kind} has no TLS");
    }
    ensure!(rows.iter().all(|row| row.get::<_, bool>(1)));
    let output = run_command(&url, &["doctor"], &[]).await?;
    expect(&output, 0, &["with TLS", "active daemon"])?;

    let untrusted = trusting(&certificates.other_authority)?;
    let output = run_command(&untrusted, &["doctor"], &[]).await?;
    expect(
        &output,
        3,
        &["FAIL  connection", "not signed by the authority"],
    )?;
    let output = run_command(&untrusted, &["run"], &[]).await?;
    expect(&output, 1, &[])?;
    let disabled = connection_url::with_option(&plain, "sslmode=disable")?;
    expect(&run_command(&disabled, &["status"], &[]).await?, 3, &[])?;
    ensure!(
        !daemon.output().contains("se-cret"),
        "the password is in the log"
    );
    Ok(())
}

#[tokio::test]
async fn the_managers_separate_names_and_a_socket() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().scram_for_others()).await?;
    let client = prod(&cluster).await?;
    // Empty counts as not given, as compose files write it.
    let port = cluster.port().to_string();
    let names = [
        ("DATABASE_URL", ""),
        ("DATABASE_HOST", "127.0.0.1"),
        ("DATABASE_PORT", &port),
        ("DATABASE_NAME", "prod"),
        ("DATABASE_USER", "manager"),
        ("DATABASE_PASSWORD", "se-cret"),
        ("DATABASE_SSL", "false"),
    ];
    let daemon = serving("", &names, &client).await?;
    daemon.sigterm()?;
    ensure!(daemon.ended().await?.success());
    ensure!(
        !daemon.output().contains("se-cret"),
        "the password is in the log"
    );
    let output = run_command("", &["doctor"], &names).await?;
    expect(&output, 0, &["role manager", "database prod"])?;
    ensure!(!output.stdout.contains("se-cret"));

    let daemon = serving(&cluster.socket_url("prod"), &[], &client).await?;
    let tcp: i64 = client
        .query_one(
            "select count(*) from pg_stat_activity
             where application_name like 'auth-reconciler %' and client_addr is not null",
            &[],
        )
        .await?
        .try_get(0)?;
    ensure!(tcp == 0, "{tcp} sessions came over TCP");
    daemon.sigterm()?;
    ensure!(daemon.ended().await?.success());
    Ok(())
}
