//! Installing, changing and removing (I6): never in the manager's way, never half done, and no trace at the end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;

use crate::scene::{ALL_TRUE, Scene, eventually, insert_many};

/// Far more than the 200 ms for which a statement of the manager may queue behind us, far less than our patience.
const MANAGERS_PATIENCE: &str = "set statement_timeout = '10s'";

/// Somebody of ours waits for a lock.
const WE_WAIT: &str = "select exists (
    select from pg_locks as l join pg_stat_activity as a using (pid)
    where not l.granted and a.application_name like 'auth-reconciler migrate%' and a.datname = current_database())";

/// A session that holds `table` with an open transaction.
async fn holder(scene: &Scene, statement: &str) -> Result<Client> {
    let client = scene.database.client().await?;
    client.batch_execute("begin").await?;
    client.batch_execute(statement).await?;
    Ok(client)
}

/// Five statements of the manager, each begun while the command waits for a lock; they must get through between its
/// tries though nothing is let go of.
async fn manager_gets_through(scene: &Scene, statement: &str) -> Result<()> {
    let manager = scene.database.client().await?;
    manager.batch_execute(MANAGERS_PATIENCE).await?;
    for _ in 0..5 {
        eventually(&manager, WE_WAIT).await?;
        manager
            .batch_execute(statement)
            .await
            .context("a statement of the manager, while we wait for a lock")?;
    }
    Ok(())
}

#[tokio::test]
async fn the_manager_gets_through_while_migrate_waits_for_its_table() -> Result<()> {
    let scene = Scene::shared().await?;
    let id = scene.instance(1).await?;
    let held = holder(
        &scene,
        "insert into public.message_instances (id) values (gen_random_uuid())",
    )
    .await?;
    let migrate = Daemon::spawn(scene.url(), &["migrate"], &[])?;
    manager_gets_through(
        &scene,
        &format!("update public.message_instances set token = 'x' where id = '{id}'"),
    )
    .await?;
    ensure!(
        migrate.is_running(),
        "it waits for the transaction that is open"
    );
    held.batch_execute("commit").await?;
    assert_eq!(migrate.ended().await?.code(), Some(0));
    let changes: i64 = scene
        .value("select count(*) from auth_reconciler.change")
        .await?;
    assert_eq!(changes, 2, "every row is to be looked at");
    Ok(())
}

/// A transaction on one watched table must not make uninstall keep another one locked.
#[tokio::test]
async fn the_manager_gets_through_while_uninstall_waits_for_another_table() -> Result<()> {
    let scene = Scene::shared().await?;
    let other = ManagerTable::telegram_instances();
    other.create(&scene.manager).await?;
    let tables = format!("{},{}", scene.table.name(), other.name());
    let settings = [("AUTH_RECONCILER_TABLE", tables.as_str())];
    let migrate = run_command(scene.url(), &["migrate"], &settings).await?;
    assert_eq!(migrate.code, Some(0), "{}", migrate.stderr);
    for (held, free) in [(&scene.table, &other), (&other, &scene.table)] {
        let lock = format!(
            "insert into {} (id) values (gen_random_uuid())",
            held.name()
        );
        let held = holder(&scene, &lock).await?;
        let uninstall = Daemon::spawn(scene.url(), &["uninstall", "--yes"], &settings)?;
        let write = format!(
            "insert into {} (id) values (gen_random_uuid())",
            free.name()
        );
        manager_gets_through(&scene, &write).await?;
        held.batch_execute("commit").await?;
        assert_eq!(uninstall.ended().await?.code(), Some(0));
        let migrate = run_command(scene.url(), &["migrate"], &settings).await?;
        assert_eq!(migrate.code, Some(0), "{}", migrate.stderr);
    }
    Ok(())
}

/// Dropping a trigger conflicts with readers, too: a long report must not make the writers wait behind us.
#[tokio::test]
async fn the_manager_gets_through_while_a_trigger_waits_to_be_dropped() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let watch = |assigned: bool| {
        format!(
            "set application_name = 'auth-reconciler migrate'; \
             select auth_reconciler.watch('public.message_instances', {assigned})"
        )
    };
    scene.manager.batch_execute(&watch(true)).await?;
    let report = holder(&scene, "select count(*) from public.message_instances").await?;
    let ours = scene.database.client().await?;
    let dropping = tokio::spawn({
        let statement = watch(false);
        async move { ours.batch_execute(&statement).await }
    });
    manager_gets_through(
        &scene,
        "insert into public.message_instances (id) values (gen_random_uuid())",
    )
    .await?;
    report.batch_execute("commit").await?;
    dropping.await??;
    let left: i64 = scene
        .value("select count(*) from pg_trigger where tgname = 'auth_reconciler_assigned'")
        .await?;
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test]
async fn migrate_twice_and_at_once_is_migrate_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    insert_many(&scene, &stub, 3).await?;
    let migrate = || run_command(scene.url(), &["migrate"], &[]);
    let (one, two, three) = tokio::join!(migrate(), migrate(), migrate());
    for done in [one?, two?, three?] {
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let once = catalog(&scene.manager).await?;
    let again = migrate().await?;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(
        again.stdout.contains("already") && again.stdout.contains("watched already"),
        "{}",
        again.stdout
    );
    assert_eq!(once, catalog(&scene.manager).await?);
    let changes: i64 = scene
        .value("select count(*) from auth_reconciler.change")
        .await?;
    assert_eq!(changes, 3, "each row is queued once");
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await
}

/// `migrate` does not touch a table, and says so in these words.
async fn refuses(scene: &Scene, table: &str, words: &[&str]) -> Result<()> {
    let settings = [("AUTH_RECONCILER_TABLE", table)];
    let done = run_command(scene.url(), &["migrate"], &settings).await?;
    ensure!(done.code == Some(1), "{table}: exit {:?}", done.code);
    for word in words {
        ensure!(
            done.stderr.contains(word),
            "{table}: {word} is missing in {}",
            done.stderr
        );
    }
    Ok(())
}

#[tokio::test]
async fn migrate_names_what_is_in_its_way() -> Result<()> {
    let scene = Scene::shared().await?;
    let before = catalog(&scene.manager).await?;
    refuses(
        &scene,
        "public.no_such_table",
        &["public.no_such_table", "AUTH_RECONCILER_TABLE"],
    )
    .await?;
    assert_eq!(
        before,
        catalog(&scene.manager).await?,
        "nothing was installed"
    );
    scene
        .manager
        .batch_execute(
            "create table public.half (id uuid primary key, provider text, api_key text, port_api text);
             create table public.no_key (like public.message_instances);
             create view public.seen as select * from public.message_instances",
        )
        .await?;
    refuses(
        &scene,
        "public.half",
        &[
            "public.half",
            "column port_api is text",
            "column account is missing",
            "column auth_status is missing",
            "column updated_at is missing",
        ],
    )
    .await?;
    refuses(&scene, "public.no_key", &["no unique index", "primary key"]).await?;
    refuses(&scene, "public.seen", &["is not a table"]).await?;

    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "insert into auth_reconciler.migration (version, name) values (999, 'of the future')",
        )
        .await?;
    let newer = catalog(&scene.manager).await?;
    refuses(
        &scene,
        "public.message_instances",
        &["version 999", "newer program"],
    )
    .await?;
    assert_eq!(newer, catalog(&scene.manager).await?, "nothing was changed");
    Ok(())
}

#[tokio::test]
async fn uninstall_leaves_no_trace() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    insert_many(&scene, &stub, 2).await?;
    let before = catalog(&scene.manager).await?;
    let none = run_command(scene.url(), &["uninstall"], &[]).await?;
    assert_eq!(none.code, Some(0), "{}", none.stderr);

    let daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    scene
        .manager
        .batch_execute("select auth_reconciler.watch('public.message_instances', true)")
        .await?;
    assert_ne!(before, catalog(&scene.manager).await?);
    let done = run_command(scene.url(), &["uninstall", "--yes", "--force"], &[]).await?;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(before, catalog(&scene.manager).await?);

    let exit = daemon.ended().await?;
    assert_eq!(exit.code(), Some(1), "the daemon has nothing left to serve");
    let output = daemon.output();
    assert!(output.contains("auth-reconciler migrate"), "{output}");
    scene.instance(stub.port()).await?;
    Ok(())
}

/// Catalogs of which the rows are counted.
const COUNTED: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_attrdef",
    "pg_attribute",
    "pg_cast",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject_metadata",
    "pg_namespace",
    "pg_operator",
    "pg_policy",
    "pg_publication",
    "pg_range",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_trigger",
];

/// Catalogs of which the rows are named, with the columns that name them. relhastriggers is none of these: it stays until
/// the next vacuum, for PostgreSQL itself keeps it.
const LISTED: &[(&str, &str)] = &[
    (
        "pg_class",
        "oid, relname, relnamespace, relkind, relowner, relacl, relnatts, relrowsecurity",
    ),
    ("pg_proc", "oid, proname, pronamespace, proacl"),
    ("pg_type", "oid, typname, typnamespace"),
];

/// Catalogs that all databases share, with the columns that name their rows and the one that says whose a row is.
const SHARED: &[(&str, &str, &str)] = &[
    ("pg_shdepend", "classid, objid, refobjid, deptype", "dbid"),
    (
        "pg_db_role_setting",
        "setdatabase, setrole, setconfig",
        "setdatabase",
    ),
];

/// What every catalog of the database holds, by name: how many rows, and which of them can be named.
async fn catalog(client: &Client) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for name in COUNTED {
        let rows: i64 = client
            .query_one(&format!("select count(*) from pg_catalog.{name}"), &[])
            .await?
            .get(0);
        found.insert((*name).to_owned(), rows.to_string());
    }
    let rows = |columns: &str, name: &str| {
        format!("select concat_ws(' ', {columns}) as row from pg_catalog.{name}")
    };
    let listed = LISTED
        .iter()
        .map(|(name, columns)| (*name, rows(columns, name)));
    let shared = SHARED.iter().map(|(name, columns, database)| {
        let ours = "(select oid from pg_database where datname = current_database())";
        let rows = rows(columns, name);
        (*name, format!("{rows} where {database} = {ours}"))
    });
    for (name, rows) in listed.chain(shared) {
        let all = format!(
            "select coalesce(string_agg(row, e'\\n' order by row), '') from ({rows}) as rows"
        );
        let rows: String = client.query_one(&all, &[]).await?.get(0);
        found.insert(name.to_owned(), rows);
    }
    Ok(found)
}
