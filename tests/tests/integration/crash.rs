//! Nothing is lost (I3): whatever dies, and whenever, what was committed to the table ends as a true status.
//!
//! The process is killed, the server crashes, the ear is ended or falls silent. "True" is asked of the database itself:
//! every row is as its instance is, and the change log is empty.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, SERVING};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, Stop};
use auth_reconciler_tests::proxy::{Link, Proxy};
use auth_reconciler_tests::stub::{Behaviour, Fleet, Gate, Stub};
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scene::{ALL_TRUE, EARS, KEY, Scene, insert_many};

const END_EARS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler ear %'";

/// The rounds of a test may spend more corrections and looks than an instance gets in a minute.
const GENEROUS: &[(&str, &str)] = &[
    ("AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "600"),
    ("AUTH_RECONCILER_LOOK_BURST", "10000"),
];

/// Twelve kills and starts of the process: more than five seconds on a slow machine.
#[tokio::test]
async fn killed_in_the_middle_of_a_burst_again_and_again() -> Result<()> {
    let scene = Scene::shared().await?;
    let fleet = Fleet::start(60, Behaviour::Ready).await?;
    scene.migrate().await?;
    let mut ids = Vec::new();
    for port in fleet.ports() {
        ids.push(scene.instance(port).await?);
    }
    for round in 0..12_usize {
        let daemon = Daemon::spawn(scene.url(), &["run"], GENEROUS)?;
        daemon.wait_message("leading").await?;
        let writer = tokio::spawn(burst(
            scene.database.client().await?,
            scene.table.clone(),
            ids.clone(),
            round,
        ));
        // Each round dies elsewhere: while it scans, while it probes, while it records.
        let looks = 1 + round * 7 % 40;
        let mut seen = 0;
        daemon
            .wait_line(0, "some looks", |line| {
                seen += usize::from(line.is("row read fresh"));
                seen >= looks
            })
            .await?;
        daemon.sigkill()?;
        daemon.ended().await?;
        writer.await??;
    }
    let daemon = Daemon::start(&scene.database, GENEROUS).await?;
    scene.eventually(ALL_TRUE).await?;
    drop(daemon);
    scene.database.close().await
}

/// One change of every row, of a kind that differs by row and round.
async fn burst(
    client: tokio_postgres::Client,
    table: auth_reconciler_tests::manager::ManagerTable,
    ids: Vec<Uuid>,
    round: usize,
) -> Result<()> {
    for (place, id) in ids.iter().enumerate() {
        match (place + round) % 4 {
            0 => table.save_api_key(&client, *id, None).await?,
            1 => {
                let key = format!("{KEY}-{round}");
                table.save_api_key(&client, *id, Some(&key)).await?;
            }
            2 => table.write_status(&client, *id, Some("failed")).await?,
            _ => {
                let account = format!("round {round}");
                table.save_account(&client, *id, Some(&account)).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_daemon_takes_converging_instances_up_again() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Disconnected).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    insert_many(&scene, &stub, 5).await?;
    // Every change is answered for: nothing but the record says that they are not final.
    scene
        .eventually(
            "select count(*) = 5 and not exists (select from auth_reconciler.change)
             from auth_reconciler.instance where not settled",
        )
        .await?;
    daemon.sigkill()?;
    daemon.ended().await?;
    stub.set(Behaviour::Ready).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await
}

#[tokio::test]
async fn what_changed_while_no_daemon_ran_is_caught_up() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    let ids = insert_many(&scene, &stub, 4).await?;
    scene.eventually(ALL_TRUE).await?;
    first.sigkill()?;
    first.ended().await?;

    let (table, manager) = (&scene.table, &scene.manager);
    table.save_api_key(manager, ids[0], None).await?;
    table
        .write_status(manager, ids[1], Some("qr_ready"))
        .await?;
    table.delete(manager, ids[2]).await?;
    scene.instance(stub.port()).await?;
    let _second = Daemon::start(&scene.database, &[]).await?;
    scene.eventually(ALL_TRUE).await?;
    let known: i64 = scene
        .value("select count(*) from auth_reconciler.instance")
        .await?;
    assert_eq!(known, 4, "the deleted one is forgotten, the new one known");
    Ok(())
}

/// A server of its own that is started twice or more: the record is lost only if nothing flushes it in time, so there
/// are several tries to see it lost.
#[tokio::test]
async fn a_record_that_a_server_crash_takes_back_is_made_again() -> Result<()> {
    let options = ClusterOptions::default().set("wal_writer_delay", "10s");
    let mut cluster = Cluster::start(options).await?;
    let mut scene = Scene::on(&cluster.url("postgres")).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let mut lost = false;
    for how in [
        Stop::Immediate,
        Stop::Kill,
        Stop::Immediate,
        Stop::Kill,
        Stop::Kill,
    ] {
        let mark = daemon.mark();
        scene.instance(stub.port()).await?;
        daemon.wait_message_after(mark, "status written").await?;
        // It remembers what the server is about to forget, and must not get between crash and question.
        daemon.signal("STOP")?;
        cluster.stop(how).await?;
        cluster.start_again().await?;
        scene.manager = scene.database.client().await?;
        lost = !scene.value::<bool>(ALL_TRUE).await?;
        daemon.signal("CONT")?;
        scene.eventually(ALL_TRUE).await?;
        if lost {
            break;
        }
    }
    ensure!(lost, "no crash took a record back, so nothing was tested");
    ensure!(daemon.is_running(), "the daemon lives through it");
    Ok(())
}

#[tokio::test]
async fn a_server_that_crashed_is_served_again_when_it_is_back() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut scene = Scene::on(&cluster.url("postgres")).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    cluster.stop(Stop::Immediate).await?;
    daemon
        .wait_line(0, "a failed try to reconnect", |line| {
            line.message()
                .is_some_and(|message| message.starts_with("no ear"))
        })
        .await?;
    cluster.start_again().await?;
    scene.manager = scene.database.client().await?;
    insert_many(&scene, &stub, 3).await?;
    scene.eventually(ALL_TRUE).await?;
    ensure!(daemon.is_running(), "it is the same process");
    Ok(())
}

/// The server ends all sessions and starts anew when one of its processes is killed, as by the machine's memory killer.
#[tokio::test]
async fn a_session_whose_process_is_killed_loses_nothing_and_is_told_once() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut scene = Scene::on(&cluster.url("postgres")).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let ids = insert_many(&scene, &stub, 20).await?;
    scene.eventually(ALL_TRUE).await?;
    let of_pool = "select pid from pg_stat_activity
        where datname = current_database() and application_name like 'auth-reconciler pool %' limit 1";
    let pid: i32 = scene.value(of_pool).await?;
    let mark = daemon.mark();
    for id in &ids {
        let write = scene
            .table
            .write_status(&scene.manager, *id, Some("failed"));
        write.await?;
    }
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()?;
    ensure!(killed.success(), "process {pid} is the server's");
    daemon.wait_message_after(mark, SERVING).await?;
    scene.manager = scene.database.client().await?;
    scene.eventually(ALL_TRUE).await?;
    let lost = daemon.count(|line| line.is("lost the ear, making another"));
    let starting = daemon.count(|line| {
        line.is("no ear: changes are kept in the log until there is one")
            && line.text.contains("starting or stopping")
    });
    ensure!(
        (lost, starting.min(1)) == (1, starting),
        "{lost}, {starting}"
    );
    ensure!(daemon.is_running(), "it is the same process");
    Ok(())
}

/// Every row is changed once only, and some of them between a scan and the LISTEN of another ear: a wake that is lost
/// there would leave its row pending for ever.
#[tokio::test]
async fn an_ear_that_is_ended_amid_writes_misses_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    let (stop, stopped) = watch::channel(false);
    let writer = tokio::spawn({
        let (client, table) = (scene.database.client().await?, scene.table.clone());
        let port = stub.port();
        async move {
            let mut count = 0_u32;
            while !*stopped.borrow() {
                let id = Uuid::new_v4();
                table.insert(&client, id, Some(port), Some(KEY)).await?;
                count += 1;
                // A server that writes faster than the daemon looks must not make the end of the test wait
                // for all of it: beyond some hundreds that are owed a look, the next insert waits its turn.
                while count.is_multiple_of(20) && owed(&client).await? > 400 {}
            }
            anyhow::Ok(count)
        }
    });
    for _ in 0..8 {
        let mark = daemon.mark();
        let ended: i64 = scene.value(END_EARS).await?;
        assert_eq!(ended, 1);
        daemon.wait_message_after(mark, SERVING).await?;
    }
    stop.send_replace(true);
    let written = writer.await??;
    scene.eventually(ALL_TRUE).await?;
    ensure!(written > 50, "the writer wrote all the time: {written}");
    Ok(())
}

async fn owed(client: &Client) -> Result<i64> {
    let count = "select count(*) from auth_reconciler.change";
    Ok(client.query_one(count, &[]).await?.try_get(0)?)
}

/// What a half-open connection looks like: every socket is open, nothing arrives.
#[tokio::test]
async fn an_ear_that_falls_silent_is_noticed_ended_and_replaced() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let link = Proxy::for_sessions(scene.url(), "auth-reconciler ear").await?;
    let ear = link.url(scene.url())?;
    let settings = [
        ("AUTH_RECONCILER_LISTEN_URL", ear.as_str()),
        ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms"),
        ("AUTH_RECONCILER_ECHO_TIMEOUT", "2s"),
    ];
    let daemon = Daemon::start(&scene.database, &settings).await?;
    let former: i32 = scene.value(EARS).await?;
    let mark = daemon.mark();
    link.set(Link::BlackHole).await?;
    insert_many(&scene, &stub, 3).await?;
    daemon
        .wait_message_after(mark, "lost the ear, making another")
        .await?;
    // While the link is silent only the server can end that session, and free its lock.
    scene
        .eventually(&format!(
            "select not exists (select from pg_stat_activity where pid = {former})"
        ))
        .await?;
    link.set(Link::Pass).await?;
    daemon.wait_message_after(mark, SERVING).await?;
    scene.eventually(ALL_TRUE).await?;
    // And it hears again: this one is found by its ring, not by the scan.
    scene.instance(stub.port()).await?;
    scene.eventually(ALL_TRUE).await
}

/// A term of ours that follows a lost ear is not ended by what remains of the term before it.
#[tokio::test]
async fn a_look_that_outlives_its_term_does_not_end_the_next_one() -> Result<()> {
    let scene = Scene::shared().await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let other = Stub::start(Behaviour::Ready).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    insert_many(&scene, &stub, 5).await?;
    stub.until("five probes under way", |counts| counts.open == 5)
        .await?;
    let mark = daemon.mark();
    let _: i64 = scene.value(END_EARS).await?;
    daemon.wait_message_after(mark, SERVING).await?;
    gate.open();
    scene.eventually(ALL_TRUE).await?;
    let id = scene.instance(other.port()).await?;
    scene.looked_at(&daemon, id).await?;
    let terms = daemon.count(|line| line.is("leading"));
    assert_eq!(terms, 2, "one before the ear was ended, one after it");
    Ok(())
}
