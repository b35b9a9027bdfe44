//! The floor: the least that could do the daemon's work, as a process of its own.
//!
//! One session listens; eight others each take an id, read its row, ask its API and write the answer. Statements are
//! prepared, commits asynchronous like the daemon's, and each request has a connection of its own, because in reality
//! each row is another instance. Whatever fails ends it: it has nothing to fall back on.

use std::future::poll_fn;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::process::Process;
use auth_reconciler_tests::stub::Provider;
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};
use uuid::Uuid;

use crate::place::Place;

/// The first argument of the process that is the floor.
pub(crate) const WORD: &str = "--floor";

const CONNECTIONS: usize = 8;

/// What it says when it listens.
const SERVING: &str = "serving";

/// The barest trigger: it tells the id and nothing else.
fn trigger(table: &str) -> String {
    format!(
        "create function public.tell() returns trigger language plpgsql as $body$
         begin perform pg_notify('floor', new.id::text); return null; end $body$;
         create trigger tell after update of api_key on {table} for each row execute function public.tell()"
    )
}

/// Puts the trigger on the table and starts the process.
pub(crate) async fn start(place: &Place) -> Result<Process> {
    let table = place.table.name();
    place.client.batch_execute(&trigger(table)).await?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([WORD, place.database.url(), table]);
    let process = Process::spawn(&mut command)?;
    let told = process.until(|progress| {
        let serving = progress.lines.iter().any(|line| line.text == SERVING);
        (serving || progress.exit.is_some()).then_some(serving)
    });
    let limit = auth_reconciler_tests::patience::PATIENCE;
    let serving = tokio::time::timeout(limit, told).await;
    ensure!(serving.unwrap_or(false), "the floor does not serve");
    Ok(process)
}

/// What the process does.
pub(crate) async fn run(url: &str, table: &str) -> Result<()> {
    let (heard, ids) = mpsc::unbounded_channel();
    let (ear, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let hear = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(ring) = message? {
                heard.send(Uuid::parse_str(ring.payload())?)?;
            }
        }
        bail!("the listening session has ended")
    });
    let ids = Arc::new(Mutex::new(ids));
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS {
        workers.push(Worker::new(url, table).await?);
    }
    ear.batch_execute("listen floor").await?;
    println!("{SERVING}");
    let work = try_join_all(workers.iter().map(async |worker| {
        loop {
            // One waits for the next id, the others for their turn to wait.
            let id = ids.lock().await.recv().await;
            let id = id.context("nobody listens any more")?;
            worker.look(id).await?;
        }
    }));
    tokio::select! {
        ended = hear => ended?,
        failed = work => failed.map(|_: Vec<()>| ()),
    }
}

struct Worker {
    client: Client,
    read: Statement,
    write: Statement,
}

impl Worker {
    async fn new(url: &str, table: &str) -> Result<Self> {
        let client = connect(url).await?;
        client
            .batch_execute("set synchronous_commit = off; set application_name = 'floor'")
            .await?;
        let read = client
            .prepare(&format!(
                "select port_api, api_key from {table} where id = $1"
            ))
            .await?;
        let write = client
            .prepare(&format!(
                "update {table} set auth_status = 'client_ready', updated_at = localtimestamp where id = $1"
            ))
            .await?;
        Ok(Self {
            client,
            read,
            write,
        })
    }

    async fn look(&self, id: Uuid) -> Result<()> {
        let row = self.client.query_one(&self.read, &[&id]).await?;
        if is_ready(row.try_get(0)?, row.try_get(1)?).await? {
            self.client.execute(&self.write, &[&id]).await?;
        }
        Ok(())
    }
}

async fn is_ready(port: i32, key: &str) -> Result<bool> {
    const ENOUGH: usize = 64 * 1024;
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port)?)).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n",
        Provider::Telegram.status_path()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < ENOUGH && stream.read_buf(&mut answer).await? > 0 {}
    Ok(String::from_utf8_lossy(&answer).contains("\"state\":\"READY\""))
}
