//! What the manager does by the clock: it asks rows that it read earlier, and writes what it believes without comparing.
//!
//! The real one goes round every 15 s and skips `failed` for 5 min and `client_ready` for 10 min since `updated_at`, and
//! `pending` for 3 min since `created_at`; its probe gives up after 10 s. Whoever moves `updated_at` steers it. No answer
//! and any answer but READY make `pending`, a refused connection makes `failed`.

use std::io::ErrorKind;
use std::panic::Location;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::ManagerTable;
use crate::patience::{PATIENCE, within};

/// Its times.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// From round to round.
    pub round: Duration,
    /// Of one probe.
    pub probe_limit: Duration,
    /// For how long a `failed` is left alone since `updated_at`.
    pub failed_rests: Duration,
    /// For how long a `client_ready` is.
    pub ready_rests: Duration,
    /// For how long a row is that is `pending`, since `created_at`.
    pub young_rests: Duration,
}

impl Habits {
    /// The real ones.
    pub const REAL: Self = Self {
        round: Duration::from_secs(15),
        probe_limit: Duration::from_secs(10),
        failed_rests: Duration::from_secs(300),
        ready_rests: Duration::from_secs(600),
        young_rests: Duration::from_secs(180),
    };

    /// The same so many times as fast.
    #[must_use]
    pub fn faster(self, times: u32) -> Self {
        Self {
            round: self.round / times,
            probe_limit: self.probe_limit / times,
            failed_rests: self.failed_rests / times,
            ready_rests: self.ready_rests / times,
            young_rests: self.young_rests / times,
        }
    }
}

/// What it wrote.
type Written = (Uuid, &'static str);

/// The manager going round; dropping it ends that.
pub struct Rounds {
    written: watch::Sender<Vec<Written>>,
    task: JoinHandle<()>,
}

impl Rounds {
    /// Begins with its first round.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin(url: &str, table: &ManagerTable, habits: Habits) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute("set application_name = 'the manager'")
            .await?;
        let written = watch::Sender::new(Vec::new());
        let told = written.clone();
        let table = table.clone();
        let task = tokio::spawn(async move {
            let mut rounds = tokio::time::interval(habits.round);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                rounds.tick().await;
                // As the real one: what fails is tried with the next round.
                let _ = round(&client, &table, habits, &told).await;
            }
        });
        Ok(Self { written, task })
    }

    /// How much it has written so far of this instance.
    #[must_use]
    pub fn of(&self, id: Uuid) -> usize {
        let written = self.written.borrow();
        written.iter().filter(|(of, _)| *of == id).count()
    }

    /// Waits until it has written so much of this instance.
    ///
    /// # Errors
    /// When it does not within the usual patience.
    #[track_caller]
    pub fn until(&self, id: Uuid, writes: usize) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let mut written = self.written.subscribe();
        async move {
            let enough = written
                .wait_for(|written| written.iter().filter(|(of, _)| *of == id).count() >= writes);
            within(PATIENCE, caller, "writes of the manager", enough).await??;
            Ok(())
        }
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn round(
    client: &Client,
    table: &ManagerTable,
    habits: Habits,
    told: &watch::Sender<Vec<Written>>,
) -> Result<()> {
    let due = format!(
        "select id, port_api from {} where 'api' = any (type_instance) and port_api is not null and api_key is not null
            and not (auth_status = 'failed' and updated_at > localtimestamp - $1 * interval '1 s')
            and not (auth_status = 'client_ready' and updated_at > localtimestamp - $2 * interval '1 s')
            and not (auth_status = 'pending' and created_at > localtimestamp - $3 * interval '1 s')",
        table.name()
    );
    let rests = [habits.failed_rests, habits.ready_rests, habits.young_rests];
    let [failed, ready, young] = rests.map(|rest| rest.as_secs_f64());
    let rows = client.query(&due, &[&failed, &ready, &young]).await?;
    let asked = rows.iter().map(|row| async move {
        let (id, port): (Uuid, i32) = (row.try_get(0)?, row.try_get(1)?);
        let asked = ask(u16::try_from(port)?);
        let status = match tokio::time::timeout(habits.probe_limit, asked).await {
            Ok(Ok(body)) if body.contains("\"READY\"") => "client_ready",
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => "failed",
            Ok(Ok(_) | Err(_)) | Err(_) => "pending",
        };
        if status == "client_ready" {
            table
                .write_status_and_account(client, id, status, "Name")
                .await?;
        } else {
            table.write_status(client, id, Some(status)).await?;
        }
        told.send_modify(|written| written.push((id, status)));
        anyhow::Ok(())
    });
    join_all(asked).await.into_iter().collect()
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(
            b"GET /api/v1/telegram/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
