//! The doorbell: while whoever leads reads on by itself nobody rings, and no change is lost by that.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, EARS, Eavesdropper, Scene, insert_many};

mod stress;

/// A schema without a daemon, one instance, and the session of whoever leads.
struct Doorbell {
    scene: Scene,
    id: Uuid,
    leader: Client,
    heard: Eavesdropper,
}

impl Doorbell {
    async fn start() -> Result<Self> {
        let scene = Scene::shared().await?;
        scene.migrate().await?;
        let id = scene.instance(1).await?;
        let leader = scene.database.client().await?;
        run(&leader, "select auth_reconciler.hold_sleeper_lock()").await?;
        let heard = Eavesdropper::start(&scene).await?;
        Ok(Self {
            scene,
            id,
            leader,
            heard,
        })
    }

    /// What was heard since the test began, up to now.
    async fn heard(&self) -> Result<Vec<String>> {
        let mark = Uuid::new_v4().to_string();
        let notify = format!("select pg_notify('auth_reconciler', '{mark}')");
        run(&self.scene.manager, &notify).await?;
        self.heard.hears(&mark).await?;
        let all = self.heard.payloads();
        let rings = all.into_iter();
        Ok(rings
            .filter(|payload| payload.contains('/') || payload == "log")
            .collect())
    }

    async fn silence(&self) -> Result<()> {
        let silent = yes(&self.leader, "select auth_reconciler.silence()").await?;
        ensure!(silent, "writers would not be silent");
        Ok(())
    }

    async fn resound(&self) -> Result<()> {
        run(&self.leader, "select auth_reconciler.resound()").await
    }

    fn rung(&self, cause: &str) -> String {
        format!("1/{}/{cause}", self.id)
    }
}

async fn run(session: &Client, sql: &str) -> Result<()> {
    Ok(session.batch_execute(sql).await?)
}

async fn yes(session: &Client, sql: &str) -> Result<bool> {
    Ok(session.query_one(sql, &[]).await?.try_get(0)?)
}

const WRITE: &str = "update public.message_instances set api_key = md5(random()::text)";

/// In whatever isolation.
#[tokio::test]
async fn nobody_rings_while_the_log_is_read_over_and_over() -> Result<()> {
    let bell = Doorbell::start().await?;
    let manager = &bell.scene.manager;
    bell.silence().await?;
    for isolation in ["read committed", "repeatable read", "serializable"] {
        let write = format!("begin isolation level {isolation}; {WRITE}; commit");
        run(manager, &write).await?;
    }
    let heard = bell.heard().await?;
    ensure!(heard.is_empty(), "{heard:?}");
    bell.resound().await?;
    run(manager, WRITE).await?;
    bell.heard.hears(&bell.rung("api_key")).await?;
    // Whoever has it alone must have asked for that itself: it ends with its session.
    bell.silence().await?;
    drop(bell.leader);
    let gone = "select not exists (select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'
        and classid = auth_reconciler.bell_class()::oid and database = (select oid from pg_database where datname = current_database()))";
    bell.scene.eventually(gone).await?;
    run(
        manager,
        "update public.message_instances set account = 'somebody'",
    )
    .await?;
    bell.heard.hears(&format!("1/{}/account", bell.id)).await
}

/// Otherwise a statement for a million rows would ring a million times, and a ring that is undone would take that of
/// the next change with it.
#[tokio::test]
async fn a_transaction_rings_once_with_the_first_change_that_it_commits() -> Result<()> {
    let bell = Doorbell::start().await?;
    for port in 2..50 {
        bell.scene.instance(port).await?;
    }
    let before = bell.heard().await?.len();
    run(
        &bell.scene.manager,
        &format!(
            "begin; savepoint one; {WRITE}; rollback to one;
             update public.message_instances set account = 'a' where id = '{}'; {WRITE}; {WRITE}; commit",
            bell.id
        ),
    )
    .await?;
    let heard = bell.heard().await?;
    ensure!(heard[before..] == [bell.rung("account")], "{heard:?}");
    Ok(())
}

/// A transaction that was silent holds up whoever wants to be rung for, until it ends, and those who come later ring.
#[tokio::test]
async fn whoever_has_kept_silent_is_waited_for() -> Result<()> {
    let bell = Doorbell::start().await?;
    let [silent, hand] = [
        bell.scene.database.client().await?,
        bell.scene.database.client().await?,
    ];
    run(&hand, "set lock_timeout = '50ms'").await?;
    bell.silence().await?;
    run(
        &silent,
        &format!("begin; {WRITE}; set constraints all immediate"),
    )
    .await?;
    bell.resound().await?;
    let all_ended = "select auth_reconciler.await_silent()";
    ensure!(!yes(&hand, all_ended).await?, "it was not waited for");
    let other = bell.scene.instance(2).await?;
    bell.heard.hears(&format!("1/{other}/insert")).await?;
    run(&silent, "commit").await?;
    ensure!(yes(&hand, all_ended).await?, "it is waited for still");
    let silent = bell.rung("api_key");
    let heard = bell.heard().await?;
    ensure!(!heard.contains(&silent), "{heard:?}");
    Ok(())
}

/// Any role may take any advisory lock, or wait for one, which refuses others as well. None may have the manager's changes be
/// committed in silence while whoever leads sleeps.
#[tokio::test]
async fn nobody_else_can_have_writers_keep_silent_while_somebody_leads() -> Result<()> {
    let bell = Doorbell::start().await?;
    let mut port = 2;
    let mut rings = async |what: &str| -> Result<()> {
        let id = bell.scene.instance(port).await?;
        port += 1;
        let heard = bell.heard().await?;
        ensure!(
            heard.contains(&format!("1/{id}/insert")),
            "{what}: {heard:?}"
        );
        Ok(())
    };
    for (taken, waits) in [
        ("pg_advisory_lock({}, auth_reconciler.reader_lock())", false),
        (
            "pg_advisory_lock_shared({}, auth_reconciler.reader_lock())",
            false,
        ),
        (
            "pg_advisory_lock_shared({}, auth_reconciler.sleeper_lock())",
            false,
        ),
        ("pg_advisory_lock({}, auth_reconciler.silent_lock())", false),
        // The leader shares it: this one waits.
        ("pg_advisory_lock({}, auth_reconciler.sleeper_lock())", true),
    ] {
        let strangers = [
            bell.scene.database.client().await?,
            bell.scene.database.client().await?,
        ];
        let [stranger, reader] = strangers;
        let take = format!(
            "select {}",
            taken.replace("{}", "auth_reconciler.bell_class()")
        );
        let waiting = tokio::spawn(async move { run(&stranger, &take).await.map(|()| stranger) });
        if waits {
            let sees =
                "select exists (select from pg_locks where locktype = 'advisory' and not granted
                and classid = auth_reconciler.bell_class()::oid
                and database = (select oid from pg_database where datname = current_database()))";
            bell.scene.eventually(sees).await?;
            rings(taken).await?;
            // And who pretends as well that the log is being read.
            let both = "select pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.reader_lock())";
            run(&reader, both).await?;
            rings("two of them").await?;
            waiting.abort();
        } else {
            let _stranger = waiting.await??;
            rings(taken).await?;
        }
    }
    Ok(())
}

/// A session that has the lock of whoever has to be rung for keeps nobody from taking over: it has everybody ring itself. Once
/// it gives the lock back, whoever leads has it.
#[tokio::test]
async fn a_stranger_with_the_sleeper_s_lock_keeps_no_daemon_from_leading() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let stranger = scene.database.client().await?;
    let take =
        "select pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.sleeper_lock())";
    run(&stranger, take).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let often = &[("AUTH_RECONCILER_ECHO_INTERVAL", "500ms")];
    let daemon = Daemon::start(&scene.database, often).await?;
    insert_many(&scene, &stub, 1).await?;
    scene.eventually(ALL_TRUE).await?;
    drop(stranger);
    let had = "select exists (
        select from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
        where a.application_name like 'auth-reconciler ear %' and a.datname = current_database()
            and l.locktype = 'advisory' and l.granted and l.mode = 'ShareLock'
            and l.classid = auth_reconciler.bell_class()::oid and l.objid::integer = auth_reconciler.sleeper_lock())";
    scene.eventually(had).await?;
    drop(daemon);
    scene.database.close().await
}

/// The commit asks our functions; the manager's goes through all the same, and is told of.
#[tokio::test]
async fn a_commit_goes_through_where_the_doorbell_is_broken() -> Result<()> {
    let bell = Doorbell::start().await?;
    let writer = bell.scene.database.client().await?;
    run(&writer, &format!("begin; {WRITE}")).await?;
    run(
        &bell.scene.manager,
        "alter schema auth_reconciler rename to elsewhere",
    )
    .await?;
    run(&writer, "commit").await?;
    bell.heard.hears("log").await
}

/// Those who watch are shown what somebody else writes, also while nobody rings for the daemon.
#[tokio::test]
async fn those_who_watch_are_told_of_foreign_writes_all_the_same() -> Result<()> {
    let bell = Doorbell::start().await?;
    let watcher = bell.scene.database.client().await?;
    bell.silence().await?;
    let write = |status| format!("update public.message_instances set auth_status = '{status}'");
    run(&bell.scene.manager, &write("failed")).await?;
    ensure!(bell.heard().await?.is_empty(), "somebody rang for nobody");
    run(&watcher, "select auth_reconciler.begin_watching()").await?;
    run(&bell.scene.manager, &write("qr_ready")).await?;
    bell.heard.hears(&bell.rung("drift")).await
}

/// Without the trigger on our log nobody rings, so that is told as whatever else is not as it was made.
#[tokio::test]
async fn a_doorbell_that_somebody_has_disabled_is_told() -> Result<()> {
    let bell = Doorbell::start().await?;
    let manager = &bell.scene.manager;
    for (act, end) in [
        (
            "alter table auth_reconciler.change disable trigger auth_reconciler_rings",
            "alter table auth_reconciler.change enable trigger auth_reconciler_rings",
        ),
        (
            "drop trigger auth_reconciler_rings on auth_reconciler.change",
            "create constraint trigger auth_reconciler_rings after insert on auth_reconciler.change deferrable initially deferred
                for each row when (new.rings) execute function auth_reconciler.ring_for_change()",
        ),
    ] {
        let told = "select exists (select from auth_reconciler.problem_details where why like '%auth_reconciler_rings%')";
        run(manager, act).await?;
        ensure!(yes(manager, told).await?, "{act}");
        run(manager, end).await?;
        ensure!(!yes(manager, told).await?, "{end}");
    }
    Ok(())
}

/// The daemon itself: many writers at once, and its listener ended again and again.
#[tokio::test]
async fn the_daemon_finds_every_change_of_many_writers_and_few_of_them_ring() -> Result<()> {
    const WRITERS: usize = 64;
    const WRITES: usize = 12;
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let generous = &[("AUTH_RECONCILER_LOOK_BURST", "10000")];
    let daemon = Daemon::start(&scene.database, generous).await?;
    let ids = insert_many(&scene, &stub, WRITERS).await?;
    scene.eventually(ALL_TRUE).await?;
    let heard = Eavesdropper::start(&scene).await?;
    let writers = ids.iter().map(|id| {
        let (session, id) = (scene.database.client(), *id);
        async move {
            let session = session.await?;
            for _ in 0..WRITES {
                let write = format!("{WRITE} where id = '{id}'");
                run(&session, &write).await?;
            }
            anyhow::Ok(())
        }
    });
    futures_util::future::try_join_all(writers).await?;
    let rung = heard.payloads();
    let rung = rung.iter().filter(|payload| payload.ends_with("/api_key"));
    let rung = rung.count();
    ensure!(
        rung < WRITERS * WRITES / 2,
        "{rung} of {} commits rang",
        WRITERS * WRITES
    );
    scene.eventually(ALL_TRUE).await?;
    for id in &ids[..6] {
        let end = format!("select pg_terminate_backend(pid) from ({EARS} limit 1) as ear");
        let (ended, write) = (
            run(&scene.manager, &end),
            format!("{WRITE} where id = '{id}'"),
        );
        ended.await?;
        run(&scene.manager, &write).await?;
        scene.eventually(ALL_TRUE).await?;
    }
    drop(daemon);
    scene.database.close().await
}

/// Whoever writes the table may make any setting, and may take a change back with a savepoint. What our trigger notes of a
/// transaction it can neither guess nor find.
#[tokio::test]
async fn who_pretends_to_have_rung_rings_all_the_same() -> Result<()> {
    let bell = Doorbell::start().await?;
    let manager = &bell.scene.manager;
    let mut rung = bell.heard().await?.len();
    for name in ["logged", "noted", "noted_", "noted_0"] {
        let notes = format!(
            "select set_config('auth_reconciler.{name}', pg_current_xact_id()::text, true)"
        );
        run(manager, &format!("begin; {notes}; {WRITE}; commit")).await?;
        let heard = bell.heard().await?;
        ensure!(
            heard[rung..] == [bell.rung("api_key")],
            "with {name}: {heard:?}"
        );
        rung = heard.len();
    }
    run(manager, &format!("begin; {WRITE}")).await?;
    let settings = "select coalesce(string_agg(name, ' '), '') from pg_settings where name like 'auth\\_reconciler.%'";
    let found: String = manager.query_one(settings, &[]).await?.try_get(0)?;
    let shown = manager.simple_query("show all").await?;
    run(manager, "rollback").await?;
    ensure!(found.is_empty(), "{found}");
    let shown = format!("{shown:?}");
    ensure!(!shown.contains("auth_reconciler."), "{shown}");
    Ok(())
}

/// A notification that somebody has kept from being sent, in whatever way.
#[tokio::test]
async fn what_nobody_has_rung_for_is_found_with_the_next_echo() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let often = &[("AUTH_RECONCILER_ECHO_INTERVAL", "500ms")];
    let daemon = Daemon::start(&scene.database, often).await?;
    insert_many(&scene, &stub, 1).await?;
    scene.eventually(ALL_TRUE).await?;
    let heard = Eavesdropper::start(&scene).await?;
    run(
        &scene.manager,
        "begin;
         alter table auth_reconciler.change disable trigger auth_reconciler_rings;
         update public.message_instances set auth_status = 'failed';
         alter table auth_reconciler.change enable trigger auth_reconciler_rings;
         commit",
    )
    .await?;
    scene.eventually(ALL_TRUE).await?;
    let rung = heard.payloads();
    ensure!(
        !rung.iter().any(|payload| payload.ends_with("/drift")),
        "{rung:?}"
    );
    drop(daemon);
    scene.database.close().await
}
