//! The spoiled link, with a real PostgreSQL session on it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use auth_reconciler_tests::database::{TestDatabase, connect};
use auth_reconciler_tests::proxy::{Link, Proxy};

#[tokio::test]
async fn a_stalled_link_keeps_the_session_and_goes_on_later() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let proxy = Proxy::to(database.url()).await?;
    let client = connect(&proxy.url(database.url())?).await?;
    client.batch_execute("select 1").await?;
    proxy.set(Link::BlackHole).await?;
    let query = client.query_one("select 42", &[]);
    tokio::pin!(query);
    let stalled = tokio::time::timeout(Duration::from_millis(300), &mut query).await;
    assert!(stalled.is_err(), "nothing comes through");
    assert_eq!(proxy.open(), 1);
    proxy.set(Link::Pass).await?;
    assert_eq!(query.await?.try_get::<_, i32>(0)?, 42);
    database.close().await
}

#[tokio::test]
async fn a_cut_link_ends_sessions_and_a_refusing_one_takes_no_new() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let proxy = Proxy::to(database.url()).await?;
    let url = proxy.url(database.url())?;
    let client = connect(&url).await?;
    proxy.set(Link::Refuse).await?;
    client
        .batch_execute("select 1")
        .await
        .context("an existing session goes on")?;
    assert!(connect(&url).await.is_err());
    proxy.set(Link::Pass).await?;
    let other = connect(&url).await?;
    proxy.cut_all().await?;
    assert_eq!(proxy.open(), 0);
    assert!(client.batch_execute("select 1").await.is_err());
    assert!(other.batch_execute("select 1").await.is_err());
    connect(&url).await?.batch_execute("select 1").await?;
    database.close().await
}

#[tokio::test]
async fn a_slow_link_is_slow_both_ways() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let proxy = Proxy::to(database.url()).await?;
    let client = connect(&proxy.url(database.url())?).await?;
    proxy.delay(Duration::from_millis(60), Duration::from_millis(40));
    let begin = Instant::now();
    client.batch_execute("select 1").await?;
    assert!(begin.elapsed() >= Duration::from_millis(100));
    database.close().await
}
