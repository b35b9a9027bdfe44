//! What the manager's own schema does, and a server in trouble, meet us (I6, I8): renamed columns, its triggers in our
//! write, locked tables, rings that are lost on the way.

use anyhow::Result;
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::{ALL_TRUE, EARS, Eavesdropper, Scene};
use crate::unwritable::REFUSED;

/// The condition of a trigger follows a renamed column, its function does not.
#[tokio::test]
async fn a_renamed_column_fails_nobody() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = scene.instance(1).await?;
    for column in ["account", "provider", "id"] {
        scene
            .manager
            .batch_execute(&format!(
                "alter table message_instances rename column {column} to {column}_of_old"
            ))
            .await?;
        scene
            .manager
            .batch_execute("update message_instances set api_key = api_key || 'x'")
            .await?;
    }
    let renamed = "select count(*) from message_instances where id_of_old = $1";
    let count: i64 = scene.manager.query_one(renamed, &[&id]).await?.get(0);
    assert_eq!(count, 1);
    Ok(())
}

/// What a session has prepared is gone after each write: it begins anew, and no look fails for it.
#[tokio::test]
async fn a_trigger_that_drops_what_our_session_has_prepared_fails_no_look() -> Result<()> {
    let scene = Scene::shared().await?;
    scene
        .manager
        .batch_execute(
            "create function public.reset_it() returns trigger language plpgsql as
                'begin deallocate all; return null; end';
             create trigger reset_it after update of auth_status on public.message_instances
                for each row execute function public.reset_it()",
        )
        .await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    let written = "update public.message_instances set auth_status = 'failed' where id = $1";
    for _ in 0..3 {
        scene.manager.execute(written, &[&id]).await?;
        scene.eventually(ALL_TRUE).await?;
    }
    let complaints = daemon.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// A trigger of the manager's finds what it names without a schema when we write, as when the manager writes.
#[tokio::test]
async fn triggers_of_the_table_work_in_our_write_as_in_any_other() -> Result<()> {
    for kind in ["trigger audit after", "constraint trigger audit after"] {
        let scene = Scene::shared().await?;
        let deferred = if kind.starts_with("constraint") {
            "deferrable initially deferred"
        } else {
            ""
        };
        scene
            .manager
            .batch_execute(&format!(
                "create table audit_log (of uuid);
                create function audited(uuid) returns uuid language sql as 'select $1';
                create function audit() returns trigger language plpgsql as
                    'begin insert into audit_log values (audited(new.id)); return new; end';
                create {kind} update on message_instances {deferred}
                    for each row execute function audit()"
            ))
            .await?;
        let stub = Stub::start(Behaviour::Ready).await?;
        let _daemon = Daemon::start(&scene.database, &[]).await?;
        scene.instance(stub.port()).await?;
        scene.eventually(ALL_TRUE).await?;
        assert_eq!(
            scene.value::<i64>("select count(*) from audit_log").await?,
            1
        );
    }
    Ok(())
}

/// What a trigger of the manager's lacks is not ours: neither a reason to end nor one to look without a pause.
#[tokio::test]
async fn a_broken_trigger_of_the_table_ends_nothing_and_is_met_with_backoff() -> Result<()> {
    for (does, code) in [
        ("insert into nowhere values (1)", "nowhere"),
        ("perform nothing()", "nothing"),
    ] {
        let scene = Scene::shared().await?;
        scene
            .manager
            .batch_execute(&format!(
                "create function broken() returns trigger language plpgsql as
                    'begin {does}; return new; end';
                create trigger broken before update on message_instances
                    for each row execute function broken()"
            ))
            .await?;
        let stub = Stub::start(Behaviour::Ready).await?;
        let daemon = Daemon::start(&scene.database, &[]).await?;
        scene.instance(stub.port()).await?;
        daemon.wait_message(REFUSED).await?;
        assert!(daemon.is_running(), "{code}");
        scene
            .manager
            .batch_execute(
                "drop trigger broken on message_instances; select auth_reconciler.reconcile_all()",
            )
            .await?;
        scene.eventually(ALL_TRUE).await?;
    }
    Ok(())
}

/// What the daemon's sessions have prepared outlives a change of the table: a type, a column more, a column less.
#[tokio::test]
async fn a_table_that_changes_is_read_and_written_by_the_sessions_that_there_are() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await?;
    for change in [
        "alter column updated_at type timestamptz",
        "add column more int default 1",
        "drop column token",
    ] {
        scene
            .manager
            .batch_execute(&format!("alter table message_instances {change}"))
            .await?;
        scene
            .table
            .write_status(&scene.manager, id, Some("pending"))
            .await?;
        scene.eventually(ALL_TRUE).await?;
    }
    let failed = daemon.count(|line| line.is("look failed, will be repeated"));
    assert_eq!(failed, 0);
    Ok(())
}

/// A read that is given up at our end must end at the server's, too: else sessions pile up there until the manager
/// cannot connect.
#[tokio::test]
async fn a_locked_table_piles_up_no_sessions() -> Result<()> {
    let scene = Scene::shared().await?;
    let few = [
        ("AUTH_RECONCILER_POOL_SIZE", "2"),
        ("RUST_LOG", "auth_reconciler=debug"),
    ];
    let daemon = Daemon::start(&scene.database, &few).await?;
    for _ in 0..4 {
        scene.instance(1).await?;
    }
    let mut manager = scene.database.client().await?;
    let migration = manager.transaction().await?;
    migration
        .batch_execute("lock table message_instances in access exclusive mode")
        .await?;
    let mark = daemon.mark();
    let mut gave_way = 0;
    daemon
        .wait_line(mark, "looks that gave way", |line| {
            gave_way += usize::from(line.is("somebody holds what this look needs"));
            gave_way >= 4
        })
        .await?;
    let sessions: i64 = scene
        .value(
            "select count(*) from pg_stat_activity
            where datname = current_database() and application_name like 'auth-reconciler pool %'",
        )
        .await?;
    assert!(sessions <= 2, "{sessions} sessions of a pool of 2");
    migration.commit().await?;
    Ok(())
}

/// What could not be logged is found by no resync: the ring for it must outlive the ear that heard it.
#[tokio::test]
async fn a_ring_for_everything_survives_the_end_of_the_ear_that_heard_it() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let id = Uuid::new_v4();
    scene
        .table
        .insert(&scene.manager, id, Some(stub.port()), None)
        .await?;
    scene.eventually(ALL_TRUE).await?;
    let ear: i32 = scene.value(EARS).await?;
    let witness = Eavesdropper::start(&scene).await?;
    daemon.signal("STOP")?;
    scene
        .manager
        .batch_execute(
            "begin;
            set local session_replication_role = replica;
            update message_instances set api_key = 'a-key-that-was-not-logged';
            notify auth_reconciler, 'resync';
            commit",
        )
        .await?;
    // Sessions are told of notifications in one go: once another one has heard twenty later ones, each sent
    // when the one before had been heard, this ring has left for the ear, too.
    for _ in 0..20 {
        let heard = witness.echoes(1);
        let ring = format!("notify auth_reconciler, 'echo/{}'", Uuid::new_v4());
        scene.manager.batch_execute(&ring).await?;
        heard.await?;
    }
    scene
        .manager
        .execute("select pg_terminate_backend($1, 5000)", &[&ear])
        .await?;
    daemon.signal("CONT")?;
    scene.eventually(ALL_TRUE).await
}
