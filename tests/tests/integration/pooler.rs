//! Behind a real transaction pooler: refused with the remedy, served once the ear is direct, and
//! nothing of ours is left behind in the sessions that the pooler hands to others.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::database::{TestDatabase, connect};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::pooler::Pooler;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use auth_reconciler_tests::watcher::Watcher;
use uuid::Uuid;

#[tokio::test]
async fn an_ear_behind_a_pooler_is_refused_with_the_setting_to_use() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let table = ManagerTable::message_instances();
    table.create(&database.client().await?).await?;
    let migrated = run_command(database.url(), &["migrate"], &[]).await?;
    ensure!(migrated.code == Some(0), "{}", migrated.stderr);
    let pooler = Pooler::start(database.url(), 2).await?;
    let pooled = pooler.url(database.url())?;
    let limit = [("AUTH_RECONCILER_ECHO_TIMEOUT", "1s")];
    let refused = run_command(&pooled, &["run"], &limit).await?;
    assert_eq!(refused.code, Some(1));
    for word in ["transaction pooler", "AUTH_RECONCILER_LISTEN_URL"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    let examined = run_command(&pooled, &["doctor"], &limit).await?;
    assert_eq!(examined.code, Some(1));
    assert!(
        examined.stdout.contains("AUTH_RECONCILER_LISTEN_URL"),
        "{}",
        examined.stdout
    );
    drop(pooler);
    database.close().await
}

#[tokio::test]
async fn with_a_direct_ear_a_pooler_serves_and_its_sessions_stay_as_they_were() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    let pooler = Pooler::start(database.url(), 2).await?;
    let pooled = pooler.url(database.url())?;
    let settings = [("AUTH_RECONCILER_LISTEN_URL", database.url())];
    let daemon = Daemon::spawn(&pooled, &["run", "--migrate"], &settings)?;
    daemon.wait_message("serving").await?;
    let watcher = Watcher::start(database.url(), &table).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    // More at once than the pooler has connections, so that every one of them is used.
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for id in &ids {
        table
            .insert(&client, *id, Some(stub.port()), Some("a-key"))
            .await?;
    }
    for id in &ids {
        watcher.wait_status(*id, "client_ready").await?;
    }
    daemon.sigterm()?;
    assert_eq!(daemon.ended().await?.code(), Some(0));
    // Two sessions at once are the two that the daemon has used.
    let mut managers = Vec::new();
    for _ in 0..2 {
        let manager = connect(&pooled).await?;
        manager.batch_execute("begin").await?;
        managers.push(manager);
    }
    let left = "select current_setting('search_path') || current_setting('statement_timeout') \
                || current_setting('lock_timeout') || current_setting('row_security') \
                || current_setting('synchronous_commit') || current_setting('transaction_isolation') \
                || coalesce(current_setting('auth_reconciler.writing', true), '') \
                || (select count(*) from pg_prepared_statements)";
    let untouched = client.simple_query(left).await?;
    for manager in &managers {
        let shown = manager.simple_query(left).await?;
        assert_eq!(
            text(&shown),
            text(&untouched),
            "settings were left behind in a pooled session"
        );
    }
    drop(managers);
    watcher.remove().await?;
    drop(pooler);
    database.close().await
}

fn text(messages: &[tokio_postgres::SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        // Not a row, whatever else the enum may come to hold.
        tokio_postgres::SimpleQueryMessage::CommandComplete(_)
        | tokio_postgres::SimpleQueryMessage::RowDescription(_)
        | _ => None,
    })
}
