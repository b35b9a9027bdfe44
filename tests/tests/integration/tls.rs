//! What the crate `postgres-url` promises of TLS, against real servers: what each `sslmode` lets through, what it
//! refuses, and what the program then advises its operator to do.
//!
//! The server's certificate is for `elsewhere.example` alone, so `127.0.0.1` is the same server under a wrong name
//! (it is the certificate's common name, which does not count).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::certificates::{Certificates, Identity};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::hang_up::HangUp;
use auth_reconciler_tests::port::free_port;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use postgres_url::{Database, Defaults, TlsError};
use tokio_postgres::Client;

const RIGHT_NAME: &str = "host=elsewhere.example hostaddr=127.0.0.1";
const WRONG_NAME: &str = "host=127.0.0.1";
const PASSWORD: &str = "hunter2-secret";

const RULES: &str = "\
host all anyone 127.0.0.1/32 scram-sha-256
hostssl all tls_only 127.0.0.1/32 scram-sha-256
hostnossl all plain_only 127.0.0.1/32 scram-sha-256
hostssl all a-client 127.0.0.1/32 cert
";

/// A server with these roles.
struct Server {
    cluster: Cluster,
    certificates: Certificates,
}

impl Server {
    async fn with_tls() -> Result<Self> {
        let certificates = Certificates::create()?;
        let options = ClusterOptions::default()
            .tls(&certificates.wrong_host)
            .set("ssl_ca_file", &certificates.authority.to_string_lossy());
        Self::start(certificates, options).await
    }

    async fn without_tls() -> Result<Self> {
        Self::start(Certificates::create()?, ClusterOptions::default()).await
    }

    async fn start(certificates: Certificates, options: ClusterOptions) -> Result<Self> {
        let cluster = Cluster::start(options.rules(RULES)).await?;
        let server = connect(&cluster.socket_url("postgres")).await?;
        for role in ["anyone", "tls_only", "plain_only", "a-client"] {
            let create = format!("create role \"{role}\" login password '{PASSWORD}'");
            server.batch_execute(&create).await?;
        }
        server.batch_execute("create database closed").await?;
        server
            .batch_execute("revoke connect on database closed from public")
            .await?;
        Ok(Self {
            cluster,
            certificates,
        })
    }

    /// libpq's form, in which the last of two values of a key counts.
    fn told(&self, more: &str) -> String {
        let port = self.cluster.port();
        format!("port={port} password={PASSWORD} dbname=postgres {more}")
    }

    fn database(&self, more: &str) -> Result<Database> {
        Database::from_url(&self.told(more), &Defaults::default()).context(more.to_owned())
    }

    /// Whether the session is encrypted, as the server sees it.
    async fn encrypts(&self, more: &str) -> Result<bool> {
        let client = session(&self.database(more)?)
            .await
            .with_context(|| more.to_owned())?;
        encrypted(&client).await
    }

    /// The program's error and its advice; neither may hold the password.
    #[track_caller]
    fn refuses(&self, more: &str, parts: &[&str]) -> impl Future<Output = Result<()>> {
        refused(self.told(more), parts)
    }

    fn ca(&self) -> String {
        trusting(&self.certificates.authority)
    }

    fn other_ca(&self) -> String {
        trusting(&self.certificates.other_authority)
    }
}

fn trusting(authority: &Path) -> String {
    format!("sslrootcert='{}'", authority.display())
}

async fn session(database: &Database) -> Result<Client> {
    let config = database.config();
    let (client, connection) = config.connect(database.connector()?).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn encrypted(client: &Client) -> Result<bool> {
    let ssl = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(client.query_one(ssl, &[]).await?.try_get(0)?)
}

/// Fails unless the program is refused, and says all of `parts` about it, advice among it.
#[track_caller]
fn refused(url: String, parts: &[&str]) -> impl Future<Output = Result<()>> {
    let caller = std::panic::Location::caller();
    async move {
        let output = run_command(&url, &["status"], &[]).await?;
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(!said.contains(PASSWORD), "{caller}: the password is shown");
        ensure!(
            output.code == Some(3),
            "{caller}: {:?}\n{said}",
            output.code
        );
        ensure!(said.contains("\n  -> "), "{caller}: no advice for\n{said}");
        for part in parts {
            ensure!(said.contains(part), "{caller}: no {part:?} in\n{said}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn modes_that_check_nobody_encrypt_as_they_promise() -> Result<()> {
    let (tls, plain) = (Server::with_tls().await?, Server::without_tls().await?);
    let disabled = |user| format!("{RIGHT_NAME} user={user} sslmode=disable");
    ensure!(!tls.encrypts(&disabled("anyone")).await?);
    let advice = "if it wants encryption set sslmode=require";
    tls.refuses(&disabled("tls_only"), &[advice]).await?;

    let preferred = format!("{WRONG_NAME} user=anyone");
    ensure!(tls.encrypts(&preferred).await?);
    ensure!(!plain.encrypts(&preferred).await?);
    let allowed = format!("{WRONG_NAME} user=tls_only sslmode=allow");
    ensure!(tls.encrypts(&allowed).await?);
    let only_plain = format!("{RIGHT_NAME} user=plain_only");
    let advice = "if it wants none sslmode=disable";
    tls.refuses(&only_plain, &[advice]).await?;

    for mode in ["require", "no-verify"] {
        let required = format!("{WRONG_NAME} user=tls_only sslmode={mode}");
        ensure!(tls.encrypts(&required).await?);
        let required = format!("{RIGHT_NAME} user=anyone sslmode={mode}");
        let parts = ["server does not support TLS", "the server has no TLS"];
        plain.refuses(&required, &parts).await?;
    }

    let folder = tls.cluster.socket_url("postgres");
    for mode in ["prefer", "require", "verify-full"] {
        let url = connection_url::with_user(&folder, "anyone", None)?;
        let url = connection_url::with_option(&url, &format!("sslmode={mode}"))?;
        let ca = tls.certificates.authority.display();
        let url = connection_url::with_option(&url, &format!("sslrootcert={ca}"))?;
        let socket = Database::from_url(&url, &Defaults::default())?;
        ensure!(!encrypted(&session(&socket).await?).await?, "{mode}");
    }
    Ok(())
}

#[tokio::test]
async fn modes_that_check_refuse_a_wrong_authority_and_a_wrong_name() -> Result<()> {
    let (tls, plain) = (Server::with_tls().await?, Server::without_tls().await?);
    let (right, wrong) = (tls.ca(), tls.other_ca());
    let not_signed = "not signed by the authority";
    let mode = |name: &str, mode: &str, ca: &str| format!("{name} user=anyone sslmode={mode} {ca}");

    // An authority that is named makes `require` check it, and not `no-verify`.
    ensure!(tls.encrypts(&mode(WRONG_NAME, "require", &right)).await?);
    ensure!(tls.encrypts(&mode(WRONG_NAME, "no-verify", &wrong)).await?);
    let checked = mode(WRONG_NAME, "require", &wrong);
    tls.refuses(&checked, &[not_signed]).await?;

    for name in [RIGHT_NAME, WRONG_NAME] {
        ensure!(tls.encrypts(&mode(name, "verify-ca", &right)).await?);
        let unknown = mode(name, "verify-ca", &wrong);
        tls.refuses(&unknown, &["UnknownIssuer", not_signed])
            .await?;
    }
    let to_plain = mode(RIGHT_NAME, "verify-ca", &right);
    plain.refuses(&to_plain, &["the server has no TLS"]).await?;

    ensure!(
        tls.encrypts(&mode(RIGHT_NAME, "verify-full", &right))
            .await?
    );
    let other_name = mode(WRONG_NAME, "verify-full", &right);
    let parts = ["not valid for name", "for another name"];
    tls.refuses(&other_name, &parts).await?;
    let other_ca = mode(RIGHT_NAME, "verify-full", &wrong);
    tls.refuses(&other_ca, &[not_signed]).await?;

    // A bundle may hold the authorities of others, too.
    let bundle = tls.certificates.authority.with_file_name("bundle.pem");
    let both = [
        std::fs::read(&tls.certificates.other_authority)?,
        std::fs::read(&tls.certificates.authority)?,
    ];
    std::fs::write(&bundle, both.concat())?;
    let bundled = mode(RIGHT_NAME, "verify-full", &trusting(&bundle));
    ensure!(tls.encrypts(&bundled).await?);
    Ok(())
}

#[tokio::test]
async fn a_renewed_file_counts_from_the_next_connect_on() -> Result<()> {
    let server = Server::with_tls().await?;
    let certificates = &server.certificates;
    let path = certificates.authority.with_file_name("renewed.pem");
    let full = format!(
        "{RIGHT_NAME} user=anyone sslmode=verify-full {}",
        trusting(&path)
    );
    let database = server.database(&full)?;
    ensure!(matches!(database.connector(), Err(TlsError::Read { .. })));
    std::fs::copy(&certificates.other_authority, &path)?;
    ensure!(session(&database).await.is_err());
    std::fs::copy(&certificates.authority, &path)?;
    session(&database).await?;
    Ok(())
}

#[tokio::test]
async fn a_client_proves_itself_by_certificate_channel_or_password() -> Result<()> {
    let server = Server::with_tls().await?;
    let bound = format!("{RIGHT_NAME} user=anyone channel_binding=require");
    ensure!(server.encrypts(&format!("{bound} sslmode=require")).await?);
    let unbound = format!("{bound} sslmode=disable");
    server.refuses(&unbound, &["channel binding"]).await?;

    let ca = server.ca();
    let client = |own: &Identity| {
        let (certificate, key) = (own.certificate.display(), own.key.display());
        format!(
            "{RIGHT_NAME} user=a-client sslmode=verify-full {ca} sslcert='{certificate}' sslkey='{key}'"
        )
    };
    ensure!(
        server
            .encrypts(&client(&server.certificates.client))
            .await?
    );
    let stranger = client(&server.certificates.stranger);
    let advice = "refuses this client's certificate";
    server.refuses(&stranger, &[advice]).await?;
    // In TLS 1.3 the refusal may be lost with the connection, as it is here for certain.
    let server_address = ([127, 0, 0, 1], server.cluster.port()).into();
    let cut = HangUp::after_turns(server_address, 2).await?;
    server
        .refuses(&format!("{stranger} port={}", cut.port()), &[advice])
        .await?;
    let none = format!("{RIGHT_NAME} user=a-client sslmode=require");
    let advice = "if it wants a client certificate";
    server.refuses(&none, &[advice]).await?;

    // A pool takes the connector as well.
    let database = server.database(&format!("{RIGHT_NAME} user=tls_only sslmode=require"))?;
    let manager = deadpool_postgres::Manager::new(database.config(), database.connector()?);
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(1)
        .build()?;
    let one: i32 = pool.get().await?.query_one("select 1", &[]).await?.get(0);
    ensure!(one == 1);
    Ok(())
}

#[tokio::test]
async fn other_failures_have_advice_too() -> Result<()> {
    let server = Server::with_tls().await?;
    let anyone = format!("{RIGHT_NAME} user=anyone");
    for (more, words) in [
        (
            format!("{anyone} password=wrong"),
            "the user or the password is wrong",
        ),
        (
            format!("{anyone} dbname=nowhere"),
            "the database does not exist",
        ),
        (format!("{anyone} dbname=closed"), "grant connect"),
        (
            format!("{RIGHT_NAME} user=nobody_here"),
            "pg_hba.conf has no line",
        ),
        (
            format!("{anyone} port={}", free_port()?),
            "nothing listens there",
        ),
        (
            "host=/nowhere user=anyone".to_owned(),
            "there is no such socket",
        ),
    ] {
        server.refuses(&more, &[words]).await?;
    }
    let without_password = format!(
        "postgres://anyone@127.0.0.1:{}/postgres",
        server.cluster.port()
    );
    refused(without_password, &["DATABASE_PASSWORD"]).await
}
