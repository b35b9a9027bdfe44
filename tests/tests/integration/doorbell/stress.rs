//! Real sessions, and nobody who would find later what was lost: three writers and one transaction of each a round, while
//! whoever leads falls asleep and wakes, ends, and is followed by another. More writers would hide a loss, for whoever
//! rings next has all of it read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use auth_reconciler_tests::listener;
use auth_reconciler_tests::patience::PATIENCE;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{run, yes};
use crate::scene::Scene;

const LENGTH: Duration = Duration::from_secs(6);
const WRITERS: usize = 3;

/// A daemon, as far as the doorbell sees of it.
struct Leader {
    scene: Arc<Scene>,
    listener: Client,
    /// The session beside it.
    hand: Client,
    rung: Arc<Notify>,
    read: usize,
}

impl Leader {
    async fn start(scene: Arc<Scene>) -> Result<Self> {
        let hand = scene.database.client().await?;
        // Rounds are to be short: what is lost is not what the disk is waited for.
        run(
            &hand,
            "set lock_timeout = '5s'; set synchronous_commit = off",
        )
        .await?;
        let rung = Arc::new(Notify::new());
        let listener = Self::listen(&scene, &rung).await?;
        let mut leader = Self {
            scene,
            listener,
            hand,
            rung,
            read: 0,
        };
        leader.fall_asleep().await?;
        Ok(leader)
    }

    async fn listen(scene: &Scene, rung: &Arc<Notify>) -> Result<Client> {
        let rings = Arc::clone(rung);
        let hear = move |_: &str| {
            rings.notify_one();
            Ok(())
        };
        let listener = listener::connect(scene.url(), hear, drop).await?;
        run(&listener, "listen auth_reconciler").await?;
        run(&listener, "select auth_reconciler.hold_sleeper_lock()").await?;
        Ok(listener)
    }

    /// Its session ends, at whatever step it is, and there is another one.
    async fn follow(&mut self) -> Result<()> {
        let pid: i32 = self
            .listener
            .query_one("select pg_backend_pid()", &[])
            .await?
            .get(0);
        self.hand
            .execute("select pg_terminate_backend($1)", &[&pid])
            .await?;
        self.listener = Self::listen(&self.scene, &self.rung).await?;
        self.fall_asleep().await
    }

    async fn fall_asleep(&mut self) -> Result<()> {
        if !yes(&self.hand, "select auth_reconciler.await_silent()").await? {
            anyhow::bail!("somebody who was silent does not end");
        }
        self.read().await
    }

    /// Answers for what is in the log.
    async fn read(&mut self) -> Result<()> {
        let read = self.hand.execute("delete from auth_reconciler.change", &[]);
        self.read += usize::try_from(read.await?)?;
        Ok(())
    }

    /// Reads by itself for a while, and then asks to be rung for again; or its session ends at one of these steps.
    async fn read_by_itself(&mut self) -> Result<()> {
        let ends_at = below(20);
        if !yes(&self.listener, "select auth_reconciler.silence()").await? {
            return Ok(());
        }
        for _ in 0..below(3) {
            self.read().await?;
        }
        if ends_at == 0 {
            return self.follow().await;
        }
        run(&self.listener, "select auth_reconciler.resound()").await?;
        if ends_at == 1 {
            return self.follow().await;
        }
        self.fall_asleep().await?;
        if ends_at == 2 {
            return self.follow().await;
        }
        Ok(())
    }
}

/// By chance.
fn below(limit: u64) -> u64 {
    u64::try_from(Uuid::new_v4().as_u128() % u128::from(limit)).unwrap_or_default()
}

/// One who writes when told to, in one transaction of some form, and tells how many changes it has committed.
async fn write(
    scene: Arc<Scene>,
    id: Uuid,
    begin: Arc<Notify>,
    done: mpsc::UnboundedSender<Result<usize>>,
) {
    let writing = async {
        let session = scene.database.client().await?;
        run(&session, "set synchronous_commit = off").await?;
        loop {
            begin.notified().await;
            let write = format!(
                "update public.message_instances set api_key = md5(random()::text) where id = '{id}'"
            );
            tokio::time::sleep(Duration::from_micros(below(1_500))).await;
            let (form, committed) = match below(8) {
                0 => (format!("begin; {write}; rollback"), 0),
                1 => (
                    format!("begin; savepoint s; {write}; rollback to s; {write}; commit"),
                    1,
                ),
                2 => (
                    format!("begin; savepoint s; {write}; release s; {write}; commit"),
                    2,
                ),
                3 => (
                    format!(
                        "begin; {write}; set constraints all immediate; select pg_sleep(0.0{:02}); commit",
                        below(80)
                    ),
                    1,
                ),
                4 => (
                    format!(
                        "begin isolation level repeatable read; {write}; select pg_sleep(0.001); commit"
                    ),
                    1,
                ),
                _ => (write, 1),
            };
            run(&session, &form).await?;
            if done.send(Ok(committed)).is_err() {
                return anyhow::Ok(());
            }
        }
    };
    if let Err(error) = writing.await {
        let _ = done.send(Err(error));
    }
}

#[tokio::test]
async fn no_change_is_lost_while_whoever_leads_falls_asleep_and_ends() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let scene = Arc::new(scene);
    let (done, mut committed) = mpsc::unbounded_channel();
    let mut begin = Vec::new();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let id = scene.instance(1).await?;
        let told = Arc::new(Notify::new());
        begin.push(Arc::clone(&told));
        writers.spawn(write(Arc::clone(&scene), id, told, done.clone()));
    }
    let mut leader = Leader::start(Arc::clone(&scene)).await?;
    leader.read = 0;
    let (started, mut expected, mut rounds) = (Instant::now(), 0, 0);
    while started.elapsed() < LENGTH {
        begin.iter().for_each(|told| told.notify_one());
        leader.read_by_itself().await?;
        let mut writing = WRITERS;
        while writing > 0 || leader.read < expected {
            let next = async {
                tokio::select! {
                    Some(changes) = committed.recv() => anyhow::Ok(Some(changes?)),
                    () = leader.rung.notified() => Ok(None),
                }
            };
            let next = tokio::time::timeout(PATIENCE, next).await;
            match next.with_context(|| format!("a change is lost in round {rounds}"))?? {
                Some(changes) => {
                    expected += changes;
                    writing -= 1;
                }
                None => leader.read().await?,
            }
        }
        rounds += 1;
    }
    println!("{rounds} rounds, {expected} changes");
    Ok(())
}
