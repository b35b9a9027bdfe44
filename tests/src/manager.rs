//! The existing manager and its containers, as far as they touch the database: the tables and the writes.
//!
//! The columns, types and defaults are those of the real tables. As in reality every write moves `updated_at`, and a
//! write may repeat a value that already stands.

mod rounds;

pub use self::rounds::{Habits, Rounds};

use anyhow::Result;
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Which of the manager's two layouts a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One table for all providers.
    MessageInstances,
    /// One table a provider, with fewer columns and `ready` as the default of `auth_status`.
    PerProvider,
}

/// A table of the manager, and what the manager and the containers do to its rows.
#[derive(Clone, Debug)]
pub struct ManagerTable {
    name: String,
    layout: Layout,
}

impl ManagerTable {
    /// `public.message_instances`.
    #[must_use]
    pub fn message_instances() -> Self {
        Self::message_instances_named("public.message_instances")
    }

    /// A table of the same layout under another (schema-qualified, trusted) name.
    #[must_use]
    pub fn message_instances_named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            layout: Layout::MessageInstances,
        }
    }

    /// `public.telegram_instances` of the layout with one table a provider.
    #[must_use]
    pub fn telegram_instances() -> Self {
        Self {
            name: "public.telegram_instances".to_owned(),
            layout: Layout::PerProvider,
        }
    }

    /// The schema-qualified name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the table if it is missing.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn create(&self, client: &impl GenericClient) -> Result<()> {
        let name = &self.name;
        let columns = match self.layout {
            Layout::MessageInstances => {
                "id uuid primary key,
                 company_id varchar(255),
                 provider varchar default 'whatsappweb',
                 type_instance varchar[],
                 port_api int,
                 port_mcp int,
                 api_key varchar,
                 api_key_generated_at timestamp default now(),
                 last_qr_generated_at timestamp default now(),
                 created_at timestamp default now(),
                 updated_at timestamp default now(),
                 api_webhook_schema jsonb,
                 mcp_schema jsonb,
                 agno_config jsonb,
                 auth_status varchar(50) default 'pending',
                 account text,
                 whatsapp_state text,
                 token text"
            }
            Layout::PerProvider => {
                "id uuid primary key,
                 provider varchar default 'telegram',
                 port_api int,
                 api_key varchar,
                 account text,
                 auth_status varchar(50) default 'ready',
                 updated_at timestamp default now()"
            }
        };
        client
            .batch_execute(&format!("create table if not exists {name} ({columns})"))
            .await?;
        Ok(())
    }

    /// The manager's INSERT of a Telegram instance: status by the table's default, no account; `message_instances` rows
    /// get a bot token, as in reality.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        port: Option<u16>,
        api_key: Option<&str>,
    ) -> Result<()> {
        self.insert_provider(client, id, "telegram", port.map(i32::from), api_key)
            .await
    }

    /// The same for any provider and any port, sensible or not.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_provider(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        provider: &str,
        port: Option<i32>,
        api_key: Option<&str>,
    ) -> Result<()> {
        let (columns, values) = match self.layout {
            Layout::MessageInstances => (
                ", company_id, type_instance, token",
                ", 'a company', array['api'], '123456789:a-secret-bot-token'",
            ),
            Layout::PerProvider => ("", ""),
        };
        let name = &self.name;
        let statement = format!(
            "insert into {name} (id, provider, port_api, api_key{columns}) values ($1, $2, $3, $4{values})"
        );
        client
            .execute(&statement, &[&id, &provider, &port, &api_key])
            .await?;
        Ok(())
    }

    /// The manager assigns a port (or takes it away).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_port(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        port: Option<i32>,
    ) -> Result<()> {
        self.set(client, id, "port_api", &port).await
    }

    /// Manager or container saves the API key; both do so with the same value several times.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_api_key(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        api_key: Option<&str>,
    ) -> Result<()> {
        self.set(client, id, "api_key", &api_key).await
    }

    /// The container saves who it is (`Name (@username)`), just *before* it is ready.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_account(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        account: Option<&str>,
    ) -> Result<()> {
        self.set(client, id, "account", &account).await
    }

    /// The manager writes a status, from whatever copy of the row it decided by.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write_status(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        status: Option<&str>,
    ) -> Result<()> {
        self.set(client, id, "auth_status", &status).await
    }

    /// The manager's write of `client_ready`, which replaces the account by its own spelling.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write_status_and_account(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        status: &str,
        account: &str,
    ) -> Result<()> {
        let name = &self.name;
        let statement = format!(
            "update {name} set auth_status = $2, account = $3, updated_at = localtimestamp where id = $1"
        );
        client
            .execute(&statement, &[&id, &status, &account])
            .await?;
        Ok(())
    }

    /// The manager deletes an instance.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete(&self, client: &impl GenericClient, id: Uuid) -> Result<()> {
        client
            .execute(&format!("delete from {} where id = $1", self.name), &[&id])
            .await?;
        Ok(())
    }

    /// The status that stands now; `None` when there is no row or no status.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn status(&self, client: &impl GenericClient, id: Uuid) -> Result<Option<String>> {
        let statement = format!("select auth_status from {} where id = $1", self.name);
        let row = client.query_opt(&statement, &[&id]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Sets one column and moves `updated_at`, as every statement of the manager does.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set(
        &self,
        client: &impl GenericClient,
        id: Uuid,
        column: &str,
        value: &(dyn ToSql + Sync),
    ) -> Result<()> {
        let statement = format!(
            "update {} set {column} = $2, updated_at = localtimestamp where id = $1",
            self.name
        );
        client.execute(&statement, &[&id, value]).await?;
        Ok(())
    }
}
