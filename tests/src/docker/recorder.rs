//! A way to an engine that writes down what is asked, and that a test can spoil.
//!
//! A unix socket that forwards to the engine's. It records method, path and query of each request, never a body or an
//! answer. It can stall (accept, forward nothing, as a hung engine or a bad socket proxy does), refuse (the socket is
//! there and nobody listens: a killed engine), be missing (an engine that was stopped), and cut what exists.

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::open::{Connections, Open};
use crate::patience::{PATIENCE, within};
use crate::postgres::private_folder;

/// What the way does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Forwards both ways.
    Pass,
    /// Accepts and keeps connections, forwards nothing; goes on with what was held back when it passes again.
    Stall,
    /// The socket refuses new connections; those that exist go on.
    Refuse,
    /// The socket is gone; connections that exist go on.
    Missing,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When its head had been read.
    pub at: DateTime<Utc>,
    /// `GET`, ….
    pub method: String,
    /// Path and query, as they were sent.
    pub path: String,
    /// When the connection on which it came had ended, if it has.
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy)]
struct Setting {
    way: Way,
}

struct Shared {
    folder: PathBuf,
    target: PathBuf,
    setting: watch::Sender<Setting>,
    /// What the socket does at the moment; `None` when the task has failed.
    standing: watch::Sender<Option<bool>>,
    open: Arc<Connections>,
    asked: watch::Sender<Vec<Asked>>,
    connections: watch::Sender<u64>,
}

/// A recorded way to an engine; dropping it cuts everything.
pub struct Recorder {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Opens a socket that leads to the one at `target`.
    ///
    /// # Errors
    /// When there is no place for a socket.
    pub async fn start(target: &Path) -> Result<Self> {
        let folder = private_folder(None)?;
        let shared = Arc::new(Shared {
            folder,
            target: target.to_owned(),
            setting: watch::Sender::new(Setting { way: Way::Pass }),
            standing: watch::Sender::new(Some(false)),
            open: Arc::default(),
            asked: watch::Sender::new(Vec::new()),
            connections: watch::Sender::new(0),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                if run(&shared).await.is_err() {
                    shared.standing.send_replace(None);
                }
            }
        });
        let recorder = Self { shared, task };
        recorder.settled().await?;
        Ok(recorder)
    }

    /// Its address: `unix://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.shared.socket().display())
    }

    /// Changes what the way does; it does so when this returns.
    ///
    /// # Errors
    /// When the socket cannot be opened again.
    pub async fn set(&self, way: Way) -> Result<()> {
        self.shared.setting.send_modify(|setting| setting.way = way);
        self.settled().await?;
        if way == Way::Missing {
            let _ = std::fs::remove_file(self.shared.socket());
        }
        Ok(())
    }

    /// Cuts every connection that exists and waits until they are gone.
    ///
    /// # Errors
    /// When they are not within the usual patience.
    #[track_caller]
    pub fn cut_all(&self) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let gone = self.shared.open.cut();
        async move {
            within(PATIENCE, caller, "connections to be cut", gone).await??;
            Ok(())
        }
    }

    /// Connections that are open at the moment.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.count()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        *self.shared.connections.borrow()
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// How many requests so far have this text in their path or query.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        let asked = self.shared.asked.borrow();
        asked.iter().filter(|one| one.path.contains(part)).count()
    }

    /// Waits until what was asked satisfies `condition`.
    ///
    /// # Errors
    /// When it does not within the usual patience.
    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        mut condition: impl FnMut(&[Asked]) -> bool,
    ) -> impl Future<Output = Result<()>> {
        let caller = Location::caller();
        let mut asked = self.shared.asked.subscribe();
        async move {
            let met = asked.wait_for(|asked| condition(asked));
            within(PATIENCE, caller, what, met).await??;
            Ok(())
        }
    }

    async fn settled(&self) -> Result<()> {
        let wanted = self.shared.setting.borrow().way.listens();
        let mut standing = self.shared.standing.subscribe();
        let state = *standing
            .wait_for(|state| state.is_none_or(|state| state == wanted))
            .await?;
        state.context("a recorder could not open its socket")?;
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.shared.folder);
    }
}

impl Way {
    fn listens(self) -> bool {
        matches!(self, Self::Pass | Self::Stall)
    }
}

impl Shared {
    fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }
}

async fn run(shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut setting = shared.setting.subscribe();
    let mut connections = JoinSet::new();
    loop {
        if setting
            .wait_for(|setting| setting.way.listens())
            .await
            .is_err()
        {
            return Ok(());
        }
        let _ = std::fs::remove_file(shared.socket());
        let listener = UnixListener::bind(shared.socket())?;
        shared.standing.send_replace(Some(true));
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (client, _) = accepted?;
                    while connections.try_join_next().is_some() {}
                    shared.connections.send_modify(|count| *count += 1);
                    connections.spawn(connection(Arc::clone(shared), shared.open.begin(), client));
                }
                _ = setting.wait_for(|setting| !setting.way.listens()) => break,
            }
        }
        drop(listener);
        shared.standing.send_replace(Some(false));
    }
}

/// Carries one connection until it ends or is cut.
async fn connection(shared: Arc<Shared>, open: Open, client: UnixStream) {
    let mut reader = Reader::default();
    tokio::select! {
        _ = carry(&shared, client, &mut reader) => {}
        () = open.cut() => {}
    }
    let now = Utc::now();
    shared.asked.send_modify(|asked| {
        for request in &reader.asked {
            asked[*request].ended_at = Some(now);
        }
    });
}

async fn carry(shared: &Shared, client: UnixStream, reader: &mut Reader) -> std::io::Result<()> {
    passing(shared).await;
    let server = UnixStream::connect(&shared.target).await?;
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::join!(
        forward(shared, client_read, server_write, |bytes| reader
            .read(shared, bytes)),
        forward(shared, server_read, client_write, |_| ()),
    );
    Ok(())
}

async fn forward(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut see: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        see(&buffer[..size]);
        passing(shared).await;
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
    passing(shared).await;
    let _ = to.shutdown().await;
}

async fn passing(shared: &Shared) {
    let mut setting = shared.setting.subscribe();
    let _ = setting.wait_for(|setting| setting.way != Way::Stall).await;
}

/// Finds the requests in what a client sends. After a body in chunks it understands nothing more on that connection.
#[derive(Default)]
struct Reader {
    head: Vec<u8>,
    /// Bytes of a body that are still to come.
    body: usize,
    lost: bool,
    /// Which of the recorded requests came on this connection.
    asked: Vec<usize>,
}

impl Reader {
    fn read(&mut self, shared: &Shared, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            self.head.push(*first);
            bytes = rest;
            if self.head.ends_with(b"\r\n\r\n") {
                self.request(shared);
            }
        }
    }

    fn request(&mut self, shared: &Shared) {
        let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
        let mut words = head.split(' ').map(str::to_owned);
        if let (Some(method), Some(path)) = (words.next(), words.next()) {
            let at = Utc::now();
            shared.asked.send_modify(|asked| {
                self.asked.push(asked.len());
                asked.push(Asked {
                    at,
                    method,
                    path,
                    ended_at: None,
                });
            });
        }
        for line in head.lines().filter_map(|line| line.split_once(':')) {
            let (name, value) = (line.0.to_ascii_lowercase(), line.1.trim());
            match name.as_str() {
                "content-length" => self.body = value.parse().unwrap_or_default(),
                "transfer-encoding" | "upgrade" => self.lost = true,
                _ => {}
            }
        }
    }
}
