//! Each mode against a real server: what it lets through and what it refuses.
//!
//! The server's certificate is for `localhost` alone, so `127.0.0.1` is the same server under a wrong name.

use std::error::Error;
use std::net::TcpListener;
use std::path::Path;

use tokio_postgres::Client;

use super::super::{Database, Defaults, advice};
use super::TlsError;
use cluster::{Cluster, PASSWORD};

mod cluster;
mod files;
mod trust;

const RIGHT_NAME: &str = "host=localhost hostaddr=127.0.0.1";
const WRONG_NAME: &str = "host=127.0.0.1";

fn database(server: &Cluster, more: &str) -> Database {
    let text = format!(
        "port={} password={PASSWORD} dbname=postgres {more}",
        server.port
    );
    Database::from_url(&text, &Defaults::default())
        .unwrap_or_else(|error| panic!("{more}: {error}"))
}

async fn connected(database: &Database) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = database
        .config()
        .connect(database.connector().unwrap())
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Whether the session is encrypted, as the server sees it.
async fn encrypted(server: &Cluster, more: &str) -> bool {
    let client = connected(&database(server, more))
        .await
        .unwrap_or_else(|error| panic!("{more}: {}", told(&error)));
    let row = client
        .query_one(
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    row.get(0)
}

/// The whole error and the advice for it; neither may hold the password.
async fn refused(server: &Cluster, more: &str) -> (String, String) {
    let error = match connected(&database(server, more)).await {
        Ok(_) => panic!("{more} was let through"),
        Err(error) => error,
    };
    let advice = advice(&error).unwrap_or_else(|| panic!("no advice for: {}", told(&error)));
    let text = told(&error);
    assert!(!format!("{text} {error:?} {advice}").contains(PASSWORD));
    (text, advice.to_owned())
}

fn told(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

fn ca(path: &Path) -> String {
    format!("sslrootcert='{}'", path.display())
}

#[tokio::test]
async fn disable_never_encrypts() {
    let server = Cluster::with_tls();
    assert!(!encrypted(server, &format!("{RIGHT_NAME} user=anyone sslmode=disable")).await);
    let (_, advice) = refused(
        server,
        &format!("{RIGHT_NAME} user=tls_only sslmode=disable"),
    )
    .await;
    assert!(
        advice.contains("if it wants encryption set sslmode=require"),
        "{advice}"
    );
}

#[tokio::test]
async fn prefer_encrypts_where_the_server_can() {
    assert!(encrypted(Cluster::with_tls(), &format!("{WRONG_NAME} user=anyone")).await);
    assert!(
        encrypted(
            Cluster::with_tls(),
            &format!("{WRONG_NAME} user=tls_only sslmode=allow")
        )
        .await
    );
    assert!(!encrypted(Cluster::without_tls(), &format!("{WRONG_NAME} user=anyone")).await);
    let (_, advice) = refused(
        Cluster::with_tls(),
        &format!("{RIGHT_NAME} user=plain_only"),
    )
    .await;
    assert!(
        advice.contains("if it wants none sslmode=disable"),
        "{advice}"
    );
}

#[tokio::test]
async fn require_encrypts_or_refuses() {
    for mode in ["require", "no-verify"] {
        assert!(
            encrypted(
                Cluster::with_tls(),
                &format!("{WRONG_NAME} user=tls_only sslmode={mode}")
            )
            .await
        );
        let (text, advice) = refused(
            Cluster::without_tls(),
            &format!("{RIGHT_NAME} user=anyone sslmode={mode}"),
        )
        .await;
        assert!(text.contains("server does not support TLS"), "{text}");
        assert!(advice.contains("the server has no TLS"), "{advice}");
    }
}

#[tokio::test]
async fn require_with_an_authority_checks_it_and_no_verify_does_not() {
    let server = Cluster::with_tls();
    let right = ca(&server.ca);
    let wrong = ca(&server.other_ca);
    assert!(
        encrypted(
            server,
            &format!("{WRONG_NAME} user=anyone sslmode=require {right}")
        )
        .await
    );
    assert!(
        encrypted(
            server,
            &format!("{WRONG_NAME} user=anyone sslmode=no-verify {wrong}")
        )
        .await
    );
    let (_, advice) = refused(
        server,
        &format!("{WRONG_NAME} user=anyone sslmode=require {wrong}"),
    )
    .await;
    assert!(advice.contains("not signed by the authority"), "{advice}");
}

#[tokio::test]
async fn verify_ca_asks_for_the_authority_and_not_for_the_name() {
    let server = Cluster::with_tls();
    for name in [RIGHT_NAME, WRONG_NAME] {
        let right = format!("{name} user=anyone sslmode=verify-ca {}", ca(&server.ca));
        assert!(encrypted(server, &right).await);
        let wrong = format!(
            "{name} user=anyone sslmode=verify-ca {}",
            ca(&server.other_ca)
        );
        let (text, advice) = refused(server, &wrong).await;
        assert!(text.contains("UnknownIssuer"), "{text}");
        assert!(advice.contains("not signed by the authority"), "{advice}");
    }
    let plain = format!(
        "{RIGHT_NAME} user=anyone sslmode=verify-ca {}",
        ca(&server.ca)
    );
    assert!(
        refused(Cluster::without_tls(), &plain)
            .await
            .1
            .contains("the server has no TLS")
    );
}

#[tokio::test]
async fn verify_full_asks_for_both() {
    let server = Cluster::with_tls();
    assert!(
        encrypted(
            server,
            &format!(
                "{RIGHT_NAME} user=anyone sslmode=verify-full {}",
                ca(&server.ca)
            )
        )
        .await
    );
    let wrong_name = format!(
        "{WRONG_NAME} user=anyone sslmode=verify-full {}",
        ca(&server.ca)
    );
    let (text, advice) = refused(server, &wrong_name).await;
    assert!(text.contains("not valid for name"), "{text}");
    assert!(advice.contains("for another name"), "{advice}");
    let wrong_ca = format!(
        "{RIGHT_NAME} user=anyone sslmode=verify-full {}",
        ca(&server.other_ca)
    );
    assert!(
        refused(server, &wrong_ca)
            .await
            .1
            .contains("not signed by the authority")
    );
}

#[tokio::test]
async fn a_bundle_of_authorities_may_hold_others_too() {
    let server = Cluster::with_tls();
    let bundle = format!(
        "{RIGHT_NAME} user=anyone sslmode=verify-full {}",
        ca(&server.bundle)
    );
    assert!(encrypted(server, &bundle).await);
}

#[tokio::test]
async fn channel_binding_works_and_can_be_insisted_on() {
    let server = Cluster::with_tls();
    let bound = format!("{RIGHT_NAME} user=anyone channel_binding=require");
    assert!(encrypted(server, &format!("{bound} sslmode=require")).await);
    let (_, advice) = refused(server, &format!("{bound} sslmode=disable")).await;
    assert!(advice.contains("channel binding"), "{advice}");
}

#[tokio::test]
async fn a_client_certificate_stands_for_a_password() {
    let server = Cluster::with_tls();
    let client = |files: &(std::path::PathBuf, std::path::PathBuf)| {
        format!(
            "{RIGHT_NAME} user=with_certificate sslmode=verify-full {} sslcert='{}' sslkey='{}'",
            ca(&server.ca),
            files.0.display(),
            files.1.display()
        )
    };
    assert!(encrypted(server, &client(&server.client)).await);
    let (text, advice) = refused(server, &client(&server.other_client)).await;
    assert!(
        advice.contains("refuses this client's certificate"),
        "{text}: {advice}"
    );
    let none = format!("{RIGHT_NAME} user=with_certificate sslmode=require");
    assert!(
        refused(server, &none)
            .await
            .1
            .contains("if it wants a client certificate")
    );
}

#[tokio::test]
async fn a_socket_has_no_tls_whatever_is_asked_for() {
    let server = Cluster::with_tls();
    for mode in ["prefer", "require", "verify-full"] {
        let socket = format!(
            "host='{}' user=anyone sslmode={mode} {}",
            server.socket.display(),
            ca(&server.ca)
        );
        assert!(!encrypted(server, &socket).await);
    }
}

#[tokio::test]
async fn a_pool_takes_the_connector() {
    let database = database(
        Cluster::with_tls(),
        &format!("{RIGHT_NAME} user=tls_only sslmode=require"),
    );
    let manager = deadpool_postgres::Manager::new(database.config(), database.connector().unwrap());
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(1)
        .build()
        .unwrap();
    let client = pool.get().await.unwrap();
    assert_eq!(
        client
            .query_one("select 1", &[])
            .await
            .unwrap()
            .get::<_, i32>(0),
        1
    );
}

#[tokio::test]
async fn other_failures_have_advice_too() {
    let server = Cluster::with_tls();
    let later_wins = format!("{RIGHT_NAME} user=anyone");
    for (more, words) in [
        (
            format!("{later_wins} password=wrong"),
            "the user or the password is wrong",
        ),
        (
            format!("{later_wins} dbname=nowhere"),
            "the database does not exist",
        ),
        (format!("{later_wins} dbname=closed"), "grant connect"),
        (
            format!("{RIGHT_NAME} user=nobody_here"),
            "pg_hba.conf has no line",
        ),
        (
            format!("{later_wins} port={}", unused_port()),
            "nothing listens there",
        ),
        (
            "host=/nowhere user=anyone".to_owned(),
            "there is no such socket",
        ),
    ] {
        let (text, advice) = refused(server, &more).await;
        assert!(advice.contains(words), "{more}: {text}: {advice}");
    }
}

#[tokio::test]
async fn a_missing_password_is_asked_for() {
    let url = format!(
        "postgres://anyone@127.0.0.1:{}/postgres",
        Cluster::with_tls().port
    );
    let error = connected(&Database::from_url(&url, &Defaults::default()).unwrap())
        .await
        .err()
        .unwrap();
    assert!(
        advice(&error).unwrap().contains("DATABASE_PASSWORD"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn a_renewed_file_counts_from_the_next_connector_on() {
    let server = Cluster::with_tls();
    let path = server.socket.join("renewed.pem");
    let database = database(
        server,
        &format!("{RIGHT_NAME} user=anyone sslmode=verify-full {}", ca(&path)),
    );
    assert!(matches!(database.connector(), Err(TlsError::Read { .. })));
    std::fs::copy(&server.other_ca, &path).unwrap();
    assert!(connected(&database).await.is_err());
    std::fs::copy(&server.ca, &path).unwrap();
    assert!(connected(&database).await.is_ok());
}

fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
