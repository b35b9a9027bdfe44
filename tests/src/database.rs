//! A database per test, so that no test sees another's tables, triggers or notifications.

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

use crate::connection_url;
use crate::postgres::shared_cluster;

/// Connects without TLS; the connection is driven by a task of its own and ends with the client.
///
/// # Errors
/// When the server cannot be reached or refuses; the message does not show the URL.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("cannot connect to the database")?;
    tokio::spawn(async move {
        // How a session ends is seen by whoever uses its client.
        let _ = connection.await;
    });
    Ok(client)
}

/// A database of a test's own; dropped, with every session in it, when the test ends.
pub struct TestDatabase {
    server: String,
    name: String,
    url: String,
    dropped: bool,
}

impl TestDatabase {
    /// Makes an empty database with a random name on the server that `server` (a superuser's URL) names.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn create(server: &str) -> Result<Self> {
        Self::create_with(server, "").await
    }

    /// As [`TestDatabase::create`], with these options of `create database`.
    ///
    /// # Errors
    /// As for [`TestDatabase::create`].
    pub async fn create_with(server: &str, options: &str) -> Result<Self> {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let url = connection_url::with_database(server, &name)?;
        let client = connect(server).await?;
        client
            .batch_execute(&format!(
                "create database {name} template template0 {options}"
            ))
            .await?;
        Ok(Self {
            server: server.to_owned(),
            name,
            url,
            dropped: false,
        })
    }

    /// As [`TestDatabase::create`], on the server that all tests share.
    ///
    /// # Errors
    /// When there is none, or as for [`TestDatabase::create`].
    pub async fn shared() -> Result<Self> {
        Self::create(&shared_cluster()?).await
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The superuser's URL of the server, for what is done outside this database.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.server
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new session in this database.
    ///
    /// # Errors
    /// As for [`connect`].
    pub async fn client(&self) -> Result<Client> {
        connect(&self.url).await
    }

    /// Drops the database and says if that failed; to be preferred over leaving it to `drop`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn close(mut self) -> Result<()> {
        self.dropped = true;
        drop_database(&self.server, &self.name).await
    }
}

async fn drop_database(server: &str, name: &str) -> Result<()> {
    let client = connect(server).await?;
    client
        .batch_execute(&format!("drop database if exists {name} with (force)"))
        .await?;
    Ok(())
}

impl Drop for TestDatabase {
    /// Best effort: the server may be gone, and then the database is too.
    fn drop(&mut self) {
        if self.dropped {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own on a thread of its own: the test's runtime may be the one that is unwinding.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let limit = std::time::Duration::from_secs(10);
            runtime.block_on(async {
                tokio::time::timeout(limit, drop_database(&server, &name)).await
            })?
        });
        let _ = thread.join();
    }
}
