//! An engine that says what a test wants, byte by byte: what no real one can be made to say on demand.
//!
//! Unless told otherwise it answers `/_ping`, `/version` and `/info` as engine 20.10 does, lists no containers and
//! keeps each `/events` and `…/logs` open, where the test sends what it likes in chunks of its choosing. It counts
//! connections and requests, so that a client in a hot loop is seen.

use std::collections::BTreeMap;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::patience::{PATIENCE, within};
use crate::postgres::private_folder;
use crate::process::lock;

/// How the fake answers a path.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This status and JSON.
    Json(u16, Value),
    /// Exactly these bytes, head and all; then the connection ends.
    Raw(Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// A 200 whose body the test sends with [`FakeEngine::send`].
    Stream,
    /// The connection ends at once.
    Close,
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Connections accepted.
    pub connections: u64,
    /// Method and path with query of each request, as `GET /v1.41/events?…`.
    pub requests: Vec<String>,
    /// When each of them came.
    pub times: Vec<Instant>,
    /// Paths of the streams that are open at the moment.
    streams: Vec<String>,
}

impl Seen {
    /// How many requests had this text in them.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.requests
            .iter()
            .filter(|one| one.contains(part))
            .count()
    }

    /// How many streams are open at the moment whose path has this text in it.
    #[must_use]
    pub fn open(&self, part: &str) -> usize {
        let open = self.streams.iter();
        open.filter(|path| path.contains(part)).count()
    }

    /// When each request with this text came.
    #[must_use]
    pub fn times(&self, part: &str) -> Vec<Instant> {
        let all = self.requests.iter().zip(&self.times);
        all.filter(|(one, _)| one.contains(part))
            .map(|(_, at)| *at)
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
    Cut,
}

struct Shared {
    folder: PathBuf,
    replies: Mutex<BTreeMap<String, Reply>>,
    seen: watch::Sender<Seen>,
    pieces: broadcast::Sender<(String, Piece)>,
    accepts: watch::Sender<bool>,
}

/// A fake engine on a socket of its own; dropping it ends it.
pub struct FakeEngine {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FakeEngine {
    /// Starts one that is healthy and has no containers.
    ///
    /// # Errors
    /// When there is no place for a socket.
    pub async fn start() -> Result<Self> {
        let folder = private_folder(None)?;
        let listener = UnixListener::bind(folder.join("docker.sock"))?;
        let shared = Arc::new(Shared {
            folder,
            replies: Mutex::new(healthy()),
            seen: watch::Sender::default(),
            pieces: broadcast::Sender::new(1024),
            accepts: watch::Sender::new(true),
        });
        let task = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Self { shared, task })
    }

    /// Its address: `unix://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.shared.folder.join("docker.sock")
    }

    /// From now on answers every path that ends with `path` (without version prefix and query) so; the longest `path`
    /// wins.
    pub fn reply(&self, path: &str, reply: Reply) {
        lock(&self.shared.replies).insert(path.to_owned(), reply);
    }

    /// Sets the answer to the list of containers.
    pub fn list(&self, containers: Value) {
        self.reply("/containers/json", Reply::Json(200, containers));
    }

    /// Whether new connections are served; if not they are accepted (by the kernel) and hear nothing.
    pub fn serve(&self, serves: bool) {
        self.shared.accepts.send_replace(serves);
    }

    /// Sends bytes on every open stream whose path ends with `path`, as one chunk.
    pub fn send(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.tell(path, Piece::Bytes(bytes.into()));
    }

    /// Ends those streams in an orderly way.
    pub fn end(&self, path: &str) {
        self.shared.tell(path, Piece::End);
    }

    /// Drops their connections without an end.
    pub fn cut(&self, path: &str) {
        self.shared.tell(path, Piece::Cut);
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Waits until what it has seen satisfies `condition`.
    ///
    /// # Errors
    /// When it does not within the usual patience.
    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        condition: impl FnMut(&Seen) -> bool,
    ) -> impl Future<Output = Result<Seen>> {
        let caller = Location::caller();
        let mut seen = self.shared.seen.subscribe();
        async move {
            let met = seen.wait_for(condition);
            Ok(within(PATIENCE, caller, what, met).await??.clone())
        }
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.shared.folder);
    }
}

impl Shared {
    fn tell(&self, path: &str, piece: Piece) {
        // Nobody listens: there is no stream.
        let _ = self.pieces.send((path.to_owned(), piece));
    }

    fn reply(&self, path: &str) -> Reply {
        let path = path.split('?').next().unwrap_or_default();
        let replies = lock(&self.replies);
        let fitting = replies.iter().filter(|(end, _)| path.ends_with(*end));
        let best = fitting.max_by_key(|(end, _)| end.len());
        best.map_or_else(
            || Reply::Json(404, json!({"message": "page not found"})),
            |(_, reply)| reply.clone(),
        )
    }
}

fn healthy() -> BTreeMap<String, Reply> {
    let version = json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"});
    let ping =
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";
    let info = json!({"ID": "FAKE:ENGINE", "Name": "fake", "ServerVersion": "20.10.24"});
    [
        ("/_ping", Reply::Raw(ping.to_vec())),
        ("/version", Reply::Json(200, version)),
        ("/info", Reply::Json(200, info)),
        ("/containers/json", Reply::Json(200, json!([]))),
        ("/events", Reply::Stream),
        ("/logs", Reply::Stream),
    ]
    .into_iter()
    .map(|(path, reply)| (path.to_owned(), reply))
    .collect()
}

async fn accept(shared: Arc<Shared>, listener: UnixListener) {
    let mut accepts = shared.accepts.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        shared.seen.send_modify(|seen| seen.connections += 1);
        if accepts.wait_for(|accepts| *accepts).await.is_err() {
            return;
        }
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that goes away is no failure of the fake.
            let _ = converse(&shared, stream).await;
        });
    }
}

async fn converse(shared: &Shared, stream: UnixStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let head = head(&mut read).await?;
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or("?"), words.next().unwrap_or("?"));
        // Heard from before it is counted: what a test sends when it sees the request is not missed.
        let pieces = shared.pieces.subscribe();
        let reply = shared.reply(path);
        let stream = matches!(reply, Reply::Stream);
        shared.seen.send_modify(|seen| {
            seen.requests.push(format!("{method} {path}"));
            seen.times.push(Instant::now());
            if stream {
                seen.streams.push(path.to_owned());
            }
        });
        match reply {
            Reply::Json(status, value) => {
                let body = value.to_string();
                let head = format!(
                    "HTTP/1.1 {status} Fake\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                write.write_all(format!("{head}{body}").as_bytes()).await?;
            }
            Reply::Raw(bytes) => return write.write_all(&bytes).await,
            Reply::Silence => gone(&mut read).await,
            Reply::Close => return Ok(()),
            Reply::Stream => {
                let place = path.split('?').next().unwrap_or_default();
                let sent = tokio::select! {
                    sent = chunks(&mut write, place, pieces) => sent,
                    () = gone(&mut read) => Ok(false),
                };
                shared.seen.send_modify(|seen| {
                    if let Some(at) = seen.streams.iter().position(|open| open == path) {
                        seen.streams.swap_remove(at);
                    }
                });
                if !sent? {
                    return Ok(());
                }
            }
        }
    }
}

/// Sends what the test says, until it says that this is the end (`true`) or cuts (`false`).
async fn chunks(
    write: &mut (impl AsyncWriteExt + Unpin),
    path: &str,
    mut pieces: broadcast::Receiver<(String, Piece)>,
) -> std::io::Result<bool> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    write.write_all(head.as_bytes()).await?;
    while let Ok((end, piece)) = pieces.recv().await {
        if !path.ends_with(&end) {
            continue;
        }
        match piece {
            Piece::Bytes(bytes) => {
                let length = format!("{:x}\r\n", bytes.len());
                write
                    .write_all(&[length.as_bytes(), &bytes, b"\r\n"].concat())
                    .await?;
            }
            Piece::End => {
                write.write_all(b"0\r\n\r\n").await?;
                return Ok(true);
            }
            Piece::Cut => return Ok(false),
        }
    }
    Ok(false)
}

async fn head(read: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(read.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn gone(read: &mut (impl AsyncReadExt + Unpin)) {
    while read.read_u8().await.is_ok() {}
}
