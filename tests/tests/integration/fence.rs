//! A late answer about the past is dropped, whoever gives it (I2): a slow probe, a slow process, a former leader.

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, LogLine, SERVING};
use auth_reconciler_tests::proxy::{Link, Proxy};
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use uuid::Uuid;

use crate::arena::{KEY, Scene};

mod batches;
mod marker;
mod parts;
mod remembered;

#[tokio::test]
async fn an_answer_to_a_key_that_was_changed_meanwhile_is_dropped() -> Result<()> {
    let scene = Scene::start(&[("RUST_LOG", "auth_reconciler=debug")]).await?;
    let watcher = scene.watch().await?;
    let gate = Gate::new();
    // Ready for the old key; the new one is refused.
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let id = Uuid::new_v4();
    scene
        .table
        .insert(&scene.client, id, Some(stub.port()), Some("old"))
        .await?;
    stub.request(1).await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some("new"))
        .await?;
    stub.set(Behaviour::Status(401)).await?;
    gate.open();
    watcher.wait_status(id, "failed").await?;
    scene.reconcile(id).await?;
    assert_eq!(
        watcher.statuses(id).await?,
        ["pending", "failed"],
        "never client_ready, which was true of the old key"
    );
    assert_eq!(scene.status(id).await?["reason"], "ApiKeyRejected");
    let refused =
        |line: &LogLine| line.is("verdict refused: what it was computed from no longer stands");
    assert_eq!(scene.daemon.count(refused), 1);
    Ok(())
}

#[tokio::test]
async fn a_row_deleted_under_a_slow_probe_leaves_nothing_behind() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(&stub).await?;
    stub.set(Behaviour::Status(401).held(&gate)).await?;
    scene
        .table
        .save_api_key(&scene.client, id, Some("another"))
        .await?;
    stub.request(2).await?;
    let mark = scene.records.mark();
    scene.table.delete(&scene.client, id).await?;
    gate.open();
    scene.records.forgotten(mark, id).await?;
    assert_eq!(
        scene.records.all(mark, id).len(),
        1,
        "forgotten, nothing else"
    );
    assert_eq!(scene.unobserved().await?, 0);
    Ok(())
}

/// The sessions that listen.
const EARS: &str = "auth-reconciler ear";

/// Two daemons on one database: the first leads, with an ear that a test can spoil and a pool that it cannot.
struct Two {
    scene: Scene,
    link: Proxy,
    second: Daemon,
    id: Uuid,
    stub: Stub,
    /// Holds back the answer to the first one's probe, which will be READY.
    gate: Gate,
}

impl Two {
    async fn start() -> Result<Self> {
        let server = auth_reconciler_tests::postgres::shared_cluster()?;
        let link = Proxy::for_sessions(&server, EARS).await?;
        let scene = Scene::start_through(
            &link,
            &[
                ("RUST_LOG", "auth_reconciler=debug"),
                ("AUTH_RECONCILER_ECHO_INTERVAL", "200ms"),
                ("AUTH_RECONCILER_ECHO_TIMEOUT", "2s"),
                ("AUTH_RECONCILER_PROBE_TIMEOUT", "1m"),
            ],
        )
        .await?;
        let second = Daemon::spawn(
            scene.database.url(),
            &["run"],
            &[("AUTH_RECONCILER_PROBE_TIMEOUT", "1m")],
        )?;
        second
            .wait_message("standing by: another process leads")
            .await?;
        let gate = Gate::new();
        let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
        let id = Uuid::new_v4();
        scene
            .table
            .insert(&scene.client, id, Some(stub.port()), Some(KEY))
            .await?;
        stub.request(1).await?;
        Ok(Self {
            scene,
            link,
            second,
            id,
            stub,
            gate,
        })
    }

    /// The first one's answer arrives; returns when it has done with it whatever it does.
    async fn answer_the_first(&self) -> Result<()> {
        self.gate.open();
        let asked = |line: &LogLine| line.is("api asked") && line.has("answer", "Ready");
        self.scene.daemon.wait_line(0, "its answer", asked).await?;
        // Its looks in flight end before it does.
        self.scene.daemon.sigterm()?;
        assert!(self.scene.daemon.ended().await?.success());
        let written = self.scene.daemon.count(|line| line.is("status written"));
        assert_eq!(written, 0, "the first one never wrote");
        Ok(())
    }
}

#[tokio::test]
async fn a_former_leader_that_answers_after_its_successor_is_refused() -> Result<()> {
    let two = Two::start().await?;
    let (scene, id) = (&two.scene, two.id);
    let watcher = scene.watch().await?;

    // The ear breaks, for good; the pool and the probe go on.
    two.stub.set(Behaviour::Status(401)).await?;
    two.link.set(Link::Refuse).await?;
    two.link.cut_all().await?;
    two.second.wait_message(SERVING).await?;
    scene.records.reason(0, id, "ApiKeyRejected").await?;
    watcher.wait_status(id, "failed").await?;
    let before = (scene.row_version(id).await?, scene.history(id).await?);
    let recorded = scene.records.mark();

    two.answer_the_first().await?;
    let after = (scene.row_version(id).await?, scene.history(id).await?);
    assert_eq!(after, before);
    assert_eq!(watcher.statuses(id).await?, ["pending", "failed"]);
    assert_eq!(scene.records.all(recorded, id).len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_former_leader_that_answers_before_its_successor_is_refused_too() -> Result<()> {
    let two = Two::start().await?;
    let (scene, id) = (&two.scene, two.id);
    let watcher = scene.watch().await?;

    // The ear falls silent: its session lives on at the server until the first one itself ends it. Row, version and
    // changes stay as the first one read them, because the second one's probe is out, too.
    let gate = Gate::new();
    two.stub.set(Behaviour::Status(401).held(&gate)).await?;
    two.link.set(Link::BlackHole).await?;
    two.second.wait_message(SERVING).await?;
    two.stub.request(2).await?;

    two.answer_the_first().await?;
    let recorded = "select count(*) from auth_reconciler.instance";
    let recorded: i64 = scene.client.query_one(recorded, &[]).await?.try_get(0)?;
    assert_eq!(recorded, 0, "nothing was recorded");
    let status = scene.table.status(&scene.client, id).await?;
    assert_eq!(status.as_deref(), Some("pending"));

    gate.open();
    watcher.wait_status(id, "failed").await?;
    assert_eq!(watcher.statuses(id).await?, ["pending", "failed"]);
    Ok(())
}

#[tokio::test]
async fn a_late_answer_of_an_earlier_term_costs_no_later_one_its_ear() -> Result<()> {
    let settings = [
        ("RUST_LOG", "auth_reconciler=debug"),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "1m"),
    ];
    let scene = Scene::start(&settings).await?;
    let watcher = scene.watch().await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let id = Uuid::new_v4();
    scene
        .table
        .insert(&scene.client, id, Some(stub.port()), Some(KEY))
        .await?;
    stub.request(1).await?;

    let mark = scene.daemon.mark();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and application_name like 'auth-reconciler ear%'";
    scene.client.execute(end, &[]).await?;
    scene.daemon.wait_message_after(mark, SERVING).await?;
    stub.set(Behaviour::Status(401)).await?;
    gate.open();
    watcher.wait_status(id, "failed").await?;
    scene.reconcile(id).await?;
    assert_eq!(
        watcher.statuses(id).await?,
        ["pending", "failed"],
        "refused, though it is the same process"
    );
    // The barrier's line, so that the log is read up to here.
    scene
        .daemon
        .wait_line(mark, "the last look", |line| {
            line.is("row read fresh") && line.has("cause", "operator")
        })
        .await?;
    let lost: Vec<_> = scene
        .daemon
        .log()
        .into_iter()
        .filter(|line| line.is("lost the ear, making another"))
        .collect();
    assert_eq!(lost.len(), 1, "{:?}", lost.last().map(|line| &line.text));
    let why = lost[0].field("why").as_str().unwrap_or_default();
    assert!(why.contains("administrator"), "says why: {why}");
    Ok(())
}
