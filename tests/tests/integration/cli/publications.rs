//! Publications that would take in our tables: a subscriber without them stops for good, so nobody makes them unasked.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::database::TestDatabase;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, program};
use tokio_postgres::Client;
use uuid::Uuid;

use super::expect;
use crate::scene::eventually;

/// A table that is replicated from one database to another of the same server.
/// The server, a private one, ends with it.
struct Replicated {
    publisher: TestDatabase,
    subscriber: TestDatabase,
    table: ManagerTable,
    /// The manager's session at the publisher.
    manager: Client,
    /// A session at the subscriber.
    copy: Client,
}

impl Replicated {
    async fn start(cluster: &Cluster, publication: &str) -> Result<Self> {
        let server = cluster.url("postgres");
        let publisher = TestDatabase::create(&server).await?;
        let subscriber = TestDatabase::create(&server).await?;
        let (manager, copy) = (publisher.client().await?, subscriber.client().await?);
        let table = ManagerTable::message_instances();
        table.create(&manager).await?;
        table.create(&copy).await?;
        let publication = format!("create publication everything {publication}");
        manager.batch_execute(&publication).await?;
        // Within one server a subscription cannot make its own slot, and the copy of what is there may wait for itself.
        let slot = publisher.name();
        manager
            .execute(
                "select pg_create_logical_replication_slot($1, 'pgoutput')",
                &[&slot],
            )
            .await?;
        copy.batch_execute(&format!(
            "create subscription copy connection '{}' publication everything
             with (create_slot = false, copy_data = false, slot_name = {slot})",
            publisher.url()
        ))
        .await?;
        Ok(Self {
            publisher,
            subscriber,
            table,
            manager,
            copy,
        })
    }

    /// A row that is written now arrives.
    async fn goes_on(&self) -> Result<()> {
        let id = Uuid::new_v4();
        self.table.insert(&self.manager, id, None, None).await?;
        let arrived =
            format!("select exists (select from public.message_instances where id = '{id}')");
        eventually(&self.copy, &arrived)
            .await
            .context("replication stands still")
    }
}

async fn publishing_server() -> Result<Cluster> {
    Cluster::start(ClusterOptions::default().set("wal_level", "logical")).await
}

#[tokio::test]
async fn a_publication_of_all_tables_takes_ours_in_only_when_it_may() -> Result<()> {
    let cluster = publishing_server().await?;
    let replicated = Replicated::start(&cluster, "for all tables").await?;
    let url = replicated.publisher.url();
    replicated.goes_on().await?;
    for command in [&["migrate"][..], &["run", "--migrate"]] {
        let refused = run_command(url, command, &[]).await?;
        expect(
            &refused,
            1,
            &[
                "publication everything (for all tables)",
                "nothing was changed",
                "--into-publication",
            ],
        )?;
        let made: bool = replicated
            .manager
            .query_one("select to_regnamespace('auth_reconciler') is not null", &[])
            .await?
            .try_get(0)?;
        ensure!(!made, "{command:?} made the schema all the same");
        replicated.goes_on().await?;
    }
    let told = [
        "publication everything (for all tables)",
        "pg_dump -s -n auth_reconciler",
    ];
    let migrated = run_command(url, &["migrate", "--into-publication"], &[]).await?;
    expect(&migrated, 0, &told)?;
    // Nothing is made any more, so there is nothing to refuse; it is still told.
    expect(&run_command(url, &["migrate"], &[]).await?, 0, &told)?;
    let doctor = run_command(url, &["doctor"], &[]).await?;
    expect(&doctor, 0, &["warn  publication", told[0], told[1]])?;

    // What it says to do at the subscriber helps.
    let dump = Command::new(program("pg_dump")?)
        .args(["-s", "-n", "auth_reconciler", url])
        .output()?;
    // Lines that are psql's own are not SQL.
    let dump: String = String::from_utf8(dump.stdout)?
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .flat_map(|line| [line, "\n"])
        .collect();
    replicated.copy.batch_execute(&dump).await?;
    let refresh =
        "reset search_path; alter subscription copy refresh publication with (copy_data = false)";
    for statement in refresh.split("; ") {
        replicated.copy.batch_execute(statement).await?;
    }
    replicated.goes_on().await
}

#[tokio::test]
async fn a_publication_without_our_tables_is_no_matter() -> Result<()> {
    let cluster = publishing_server().await?;
    for publication in [
        "for table public.message_instances",
        "for tables in schema public",
    ] {
        let replicated = Replicated::start(&cluster, publication).await?;
        let url = replicated.publisher.url();
        expect(&run_command(url, &["migrate"], &[]).await?, 0, &[])?;
        replicated.goes_on().await?;
        let doctor = run_command(url, &["doctor"], &[]).await?;
        expect(&doctor, 0, &[])?;
        ensure!(!doctor.stdout.contains("publication"), "{}", doctor.stdout);
        // The table of the subscriber, whose triggers do not fire for what is replicated.
        let url = replicated.subscriber.url();
        expect(&run_command(url, &["migrate"], &[]).await?, 0, &[])?;
        let doctor = run_command(url, &["doctor"], &[]).await?;
        let told = [
            "warn  publication",
            "public.message_instances",
            "no trigger",
        ];
        expect(&doctor, 0, &told)?;
        replicated.goes_on().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_publication_that_comes_later_is_told_by_doctor() -> Result<()> {
    let database = TestDatabase::shared().await?;
    let client = database.client().await?;
    let url = database.url();
    ManagerTable::message_instances().create(&client).await?;
    expect(&run_command(url, &["migrate"], &[]).await?, 0, &[])?;
    for (publication, told) in [
        ("for all tables", "(for all tables)"),
        (
            "for tables in schema auth_reconciler",
            "(for tables in schema auth_reconciler)",
        ),
        (
            "for table auth_reconciler.change, public.message_instances",
            "(for single tables of schema auth_reconciler)",
        ),
    ] {
        let create = format!("create publication \"Later\" {publication}");
        client.batch_execute(&create).await?;
        let doctor = run_command(url, &["doctor"], &[]).await?;
        expect(&doctor, 0, &["warn  publication", "Later", told, "-> "])?;
        client.batch_execute("drop publication \"Later\"").await?;
    }
    drop(client);
    database.close().await
}
