//! A session of the manager's that writes one row again and again, and how long the worst of its writes took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::scene::Scene;

/// A write took longer than it may.
#[derive(Debug)]
pub(crate) struct Late(pub(crate) &'static str, pub(crate) Duration);

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: a write took {:?}", self.0, self.1)
    }
}

impl std::error::Error for Late {}

/// Tries this again if a statement was ended by a time limit, or was [`Late`]: a machine that is out of breath does that as
/// well, now and then; whoever is kept waiting by us is each time.
pub(crate) async fn with_breath<T>(attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..4 {
        match attempt().await {
            Err(failure) if out_of_time(&failure) => println!("again, for {failure:#}"),
            done => return done,
        }
    }
    attempt().await
}

fn out_of_time(failure: &anyhow::Error) -> bool {
    if failure.downcast_ref::<Late>().is_some() {
        return true;
    }
    let ended = failure.downcast_ref::<tokio_postgres::Error>();
    let code = ended.and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code))
}

/// It writes until it is stopped; the first write that fails ends it.
pub(crate) struct Writer {
    stop: watch::Sender<bool>,
    written: watch::Receiver<u32>,
    worst: Arc<Mutex<Duration>>,
    task: JoinHandle<Result<u32>>,
}

impl Writer {
    /// `settings` are made first in its session.
    pub(crate) async fn start(scene: &Scene, id: Uuid, settings: &str) -> Result<Self> {
        let client = scene.database.client().await?;
        client.batch_execute(settings).await?;
        let (stop, stopped) = watch::channel(false);
        let (count, written) = watch::channel(0);
        let worst = Arc::new(Mutex::new(Duration::ZERO));
        let task = tokio::spawn(write(client, id, stopped, count, Arc::clone(&worst)));
        Ok(Self {
            stop,
            written,
            worst,
            task,
        })
    }

    /// How long the worst write took since this was asked last.
    pub(crate) fn lap(&self) -> Duration {
        std::mem::take(&mut *self.worst.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until so many more writes are done, or it has ended.
    pub(crate) async fn go_on(&self, more: u32) {
        let mut written = self.written.clone();
        let until = *written.borrow() + more;
        written.wait_for(|count| *count >= until).await.ok();
    }

    /// How many writes there were.
    pub(crate) async fn stop(self) -> Result<u32> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

async fn write(
    client: Client,
    id: Uuid,
    stopped: watch::Receiver<bool>,
    count: watch::Sender<u32>,
    worst: Arc<Mutex<Duration>>,
) -> Result<u32> {
    let mut written = 0;
    while !*stopped.borrow() {
        let began = Instant::now();
        client
            .execute(
                "update public.message_instances set account = $2, updated_at = localtimestamp where id = $1",
                &[&id, &format!("account {written}")],
            )
            .await
            .with_context(|| format!("write {written}, after {:?}", began.elapsed()))?;
        let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
        *worst = began.elapsed().max(*worst);
        written += 1;
        count.send_replace(written);
    }
    Ok(written)
}
