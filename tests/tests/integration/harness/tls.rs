//! The certificates, judged by libpq against a real server.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use auth_reconciler_tests::certificates::Certificates;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, program};
use auth_reconciler_tests::process::Process;

/// Whether libpq connects to `localhost` in this mode with this authority, over TLS.
async fn accepts(cluster: &Cluster, mode: &str, authority: Option<&Path>) -> Result<bool> {
    let port = cluster.port();
    let mut url = format!("postgres://postgres@localhost:{port}/postgres?sslmode={mode}");
    if let Some(authority) = authority {
        url.push_str(&format!("&sslrootcert={}", authority.display()));
    }
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let mut psql = Command::new(program("psql")?);
    psql.args(["--no-psqlrc", "-At", &url, "-c", query])
        .env_clear();
    let process = Process::spawn(&mut psql)?;
    let status = process.ended().await;
    Ok(status.success()
        && process.look(|progress| progress.lines.iter().any(|line| line.text == "t")))
}

#[tokio::test]
async fn the_right_certificate_is_accepted_and_only_by_its_authority() -> Result<()> {
    let certificates = Certificates::create()?;
    let cluster = Cluster::start(
        ClusterOptions::default()
            .tls(&certificates.server)
            .tls_only(),
    )
    .await?;
    assert!(accepts(&cluster, "verify-full", Some(&certificates.authority)).await?);
    assert!(accepts(&cluster, "require", None).await?);
    assert!(!accepts(&cluster, "verify-full", Some(&certificates.other_authority)).await?);
    assert!(!accepts(&cluster, "verify-ca", Some(&certificates.other_authority)).await?);
    assert!(!accepts(&cluster, "disable", None).await?);
    assert!(
        connect(&cluster.url("postgres")).await.is_err(),
        "TCP without TLS is refused"
    );
    connect(&cluster.socket_url("postgres"))
        .await?
        .batch_execute("select 1")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_host_is_right_only_for_its_authority() -> Result<()> {
    let certificates = Certificates::create()?;
    let cluster = Cluster::start(ClusterOptions::default().tls(&certificates.wrong_host)).await?;
    assert!(accepts(&cluster, "verify-ca", Some(&certificates.authority)).await?);
    assert!(!accepts(&cluster, "verify-full", Some(&certificates.authority)).await?);
    Ok(())
}
