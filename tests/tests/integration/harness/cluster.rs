//! The private server and the databases: start, crash, settings; and the witness of a table.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::database::{TestDatabase, connect};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, Stop, program};
use auth_reconciler_tests::watcher::{Operation, Watcher};
use uuid::Uuid;

#[tokio::test]
async fn a_server_keeps_what_was_committed_through_every_kind_of_stop() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let url = cluster.url("postgres");
    connect(&url)
        .await?
        .batch_execute("create table kept (n int)")
        .await?;
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        let client = connect(&url).await?;
        client.execute("insert into kept values (1)", &[]).await?;
        cluster.stop(how).await?;
        assert!(connect(&url).await.is_err(), "a stopped server refuses");
        assert!(
            client.execute("select 1", &[]).await.is_err(),
            "its sessions have ended"
        );
        cluster.start_again().await?;
    }
    let kept: i64 = connect(&url)
        .await?
        .query_one("select count(*) from kept", &[])
        .await?
        .try_get(0)?;
    assert_eq!(kept, 3);
    Ok(())
}

#[tokio::test]
async fn an_immediate_stop_may_lose_an_asynchronous_commit() -> Result<()> {
    let options = ClusterOptions::default()
        .set("synchronous_commit", "off")
        .set("wal_writer_delay", "10s");
    let mut cluster = Cluster::start(options).await?;
    let client = connect(&cluster.url("postgres")).await?;
    // The table itself is made durable; only the row is not.
    client
        .batch_execute("set synchronous_commit = on; create table lost (n int)")
        .await?;
    client
        .batch_execute("set synchronous_commit = off; insert into lost values (1)")
        .await?;
    cluster.stop(Stop::Immediate).await?;
    cluster.start_again().await?;
    let client = connect(&cluster.url("postgres")).await?;
    let left: i64 = client
        .query_one("select count(*) from lost", &[])
        .await?
        .try_get(0)?;
    assert_eq!(left, 0, "else no test of asynchronous commits can fail");
    Ok(())
}

#[tokio::test]
async fn other_roles_may_have_to_prove_themselves() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().scram_for_others()).await?;
    let url = cluster.url("postgres");
    connect(&url)
        .await?
        .batch_execute("create role other login password 'right'")
        .await?;
    let as_other =
        |password| auth_reconciler_tests::connection_url::with_user(&url, "other", Some(password));
    connect(&as_other("right")?).await?;
    let refused = connect(&as_other("wrong")?)
        .await
        .err()
        .context("a wrong password is refused")?;
    assert!(
        !format!("{refused:#}").contains("wrong"),
        "the password is not shown: {refused:#}"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_server_even_after_a_panic() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let (url, pid) = (cluster.url("postgres"), cluster.pid().context("it runs")?);
    let panicked = std::thread::spawn(move || {
        let _cluster = cluster;
        panic!("as a failing test does");
    });
    assert!(panicked.join().is_err());
    assert!(connect(&url).await.is_err());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[tokio::test]
async fn a_database_is_private_and_goes_with_its_test() -> Result<()> {
    let one = TestDatabase::shared().await?;
    let two = TestDatabase::shared().await?;
    ensure!(one.name() != two.name());
    let names = [one.name().to_owned(), two.name().to_owned()];
    let session = one.client().await?;
    session.batch_execute("create table mine ()").await?;
    assert!(
        two.client()
            .await?
            .batch_execute("select from mine")
            .await
            .is_err()
    );
    let server = connect(one.server_url()).await?;
    one.close().await?;
    drop(two);
    let left = "select count(*) from pg_database where datname = any($1)";
    let left: i64 = server
        .query_one(left, &[&names.as_slice()])
        .await?
        .try_get(0)?;
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test]
async fn the_watcher_hears_every_status_in_order() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let table = ManagerTable::message_instances();
    table.create(&client).await?;
    let (old, new) = (Uuid::new_v4(), Uuid::new_v4());
    table.insert(&client, old, None, None).await?;
    let watcher = Watcher::start(database.url(), &table).await?;
    watcher.wait_status(old, "pending").await?;

    let mark = watcher.mark();
    table.insert(&client, new, Some(4000), Some("key")).await?;
    for status in ["client_ready", "pending", "client_ready"] {
        table.write_status(&client, new, Some(status)).await?;
    }
    table.delete(&client, new).await?;
    let limit = auth_reconciler_tests::patience::PATIENCE;
    let gone = watcher
        .wait_for(mark, limit, "the deletion", |seen| {
            seen.operation == Operation::Delete
        })
        .await?;
    assert_eq!(gone.id, new);
    assert_eq!(
        watcher.statuses(new).await?,
        ["pending", "client_ready", "pending", "client_ready"]
    );
    assert_eq!(watcher.history(new).len(), 5);
    let first = watcher.wait_status_after(mark, new, "client_ready").await?;
    assert!(first.written_at <= first.heard_at);
    watcher.ensure_alive()?;
    watcher.remove().await?;
    let triggers: i64 = client
        .query_one(
            "select count(*) from pg_trigger where tgname = 'zz_test_watch'",
            &[],
        )
        .await?
        .try_get(0)?;
    assert_eq!(triggers, 0);
    database.close().await
}

#[tokio::test]
async fn the_watcher_tells_tables_with_the_same_id_apart() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let (one, two) = (
        ManagerTable::message_instances(),
        ManagerTable::telegram_instances(),
    );
    one.create(&client).await?;
    two.create(&client).await?;
    let watch_one = Watcher::start(database.url(), &one).await?;
    let watch_two = Watcher::start(database.url(), &two).await?;
    let id = Uuid::new_v4();
    one.insert(&client, id, None, None).await?;
    two.insert(&client, id, None, None).await?;
    watch_two.wait_status(id, "ready").await?;
    watch_one.wait_status(id, "pending").await?;
    assert_eq!(watch_one.statuses(id).await?, ["pending"]);
    assert_eq!(watch_two.statuses(id).await?, ["ready"]);
    database.close().await
}

#[tokio::test]
async fn a_wait_in_vain_names_its_line_and_ends_with_the_session() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let url = cluster.url("postgres");
    let client = connect(&url).await?;
    let table = ManagerTable::telegram_instances();
    table.create(&client).await?;
    let watcher = Watcher::start(&url, &table).await?;
    let short = std::time::Duration::from_millis(1);
    let error = watcher
        .wait_for(0, short, "a miracle", |_| true)
        .await
        .err()
        .context("nothing came")?;
    assert!(
        error.to_string().contains("harness/cluster.rs:"),
        "{error:#}"
    );
    assert!(error.to_string().contains("a miracle"), "{error:#}");

    cluster.stop(Stop::Immediate).await?;
    assert!(watcher.wait_status(Uuid::nil(), "ready").await.is_err());
    Ok(())
}

#[test]
fn the_programs_are_found() -> Result<()> {
    assert!(program("psql")?.is_file());
    assert!(program("no-such-program").is_err());
    Ok(())
}
