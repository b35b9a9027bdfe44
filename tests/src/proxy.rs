//! A TCP link that a test can spoil: slow, stalled, cut or refusing. Made for PostgreSQL connections, works for any.
//!
//! A stall keeps every socket open and forwards nothing, which is what a half-open connection looks like from inside a
//! program (the kernel still acknowledges, so its own keepalive finds nothing wrong). What was held back goes on when
//! the link passes again, as after a real pause; [`Proxy::cut_all`] ends it instead.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::connection_url;
use crate::open::{Connections, Open};
use crate::stub::reserve;

/// What the link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Forwards both ways.
    Pass,
    /// Accepts and keeps connections open, forwards nothing.
    BlackHole,
    /// Refuses new connections; those that exist go on.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    link: Link,
    to_server: Duration,
    to_client: Duration,
}

struct Shared {
    target: SocketAddr,
    /// Only sessions whose `application_name` begins so are spoiled.
    only: Option<&'static str>,
    setting: watch::Sender<Setting>,
    listening: watch::Sender<Option<bool>>,
    connections: Arc<Connections>,
}

/// A link to one server; dropping it cuts everything.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Opens a port that leads to `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        Self::open_for(target, None).await
    }

    /// A link to the server of a connection URL that spoils only the PostgreSQL sessions whose `application_name` begins
    /// so, and lets all others pass whatever it does. One that refuses resets them, for its port stays open.
    ///
    /// # Errors
    /// As for [`Proxy::to`].
    pub async fn for_sessions(url: &str, application_name: &'static str) -> Result<Self> {
        Self::open_for(target(url).await?, Some(application_name)).await
    }

    async fn open_for(target: SocketAddr, only: Option<&'static str>) -> Result<Self> {
        let socket = reserve(0)?;
        let port = socket.local_addr()?.port();
        let setting = Setting {
            link: Link::Pass,
            to_server: Duration::ZERO,
            to_client: Duration::ZERO,
        };
        let shared = Arc::new(Shared {
            target,
            only,
            setting: watch::Sender::new(setting),
            listening: watch::Sender::new(Some(false)),
            connections: Arc::default(),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                if run(&shared, socket, port).await.is_err() {
                    shared.listening.send_replace(None);
                }
            }
        });
        let proxy = Self { port, shared, task };
        proxy.settled().await?;
        Ok(proxy)
    }

    /// A link to the server of a connection URL.
    ///
    /// # Errors
    /// When the URL's host is no name of this machine, or as for [`Proxy::start`].
    pub async fn to(url: &str) -> Result<Self> {
        Self::start(target(url).await?).await
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same connection URL, through this link.
    ///
    /// # Errors
    /// When `url` is not a connection URL.
    pub fn url(&self, url: &str) -> Result<String> {
        connection_url::with_address(url, &Ipv4Addr::LOCALHOST.to_string(), self.port)
    }

    /// Changes what the link does, also for connections that exist.
    ///
    /// # Errors
    /// When the port cannot be opened again.
    pub async fn set(&self, link: Link) -> Result<()> {
        self.shared
            .setting
            .send_modify(|setting| setting.link = link);
        self.settled().await
    }

    /// Delays what is read from now on, by so much in each direction.
    pub fn delay(&self, to_server: Duration, to_client: Duration) {
        self.shared.setting.send_modify(|setting| {
            setting.to_server = to_server;
            setting.to_client = to_client;
        });
    }

    /// Cuts every connection that exists, with a reset, and waits until they are gone. One that is made meanwhile
    /// goes on.
    ///
    /// # Errors
    /// Only if the link has failed altogether.
    pub async fn cut_all(&self) -> Result<()> {
        self.shared.connections.cut().await
    }

    /// The number of connections that are open at the moment.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.connections.count()
    }

    async fn settled(&self) -> Result<()> {
        let wanted = self.shared.is_open(&self.shared.setting.borrow());
        let mut listening = self.shared.listening.subscribe();
        let state = *listening
            .wait_for(|state| state.is_none_or(|state| state == wanted))
            .await?;
        state.context("a proxy could not open its port")?;
        Ok(())
    }
}

impl Shared {
    /// Whether the port is to be open.
    fn is_open(&self, setting: &Setting) -> bool {
        self.only.is_some() || setting.link != Link::Refuse
    }
}

async fn target(url: &str) -> Result<SocketAddr> {
    let address = connection_url::address(url)?;
    tokio::net::lookup_host(address)
        .await?
        .next()
        .context("the server's name has no address")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: &Arc<Shared>, socket: TcpSocket, port: u16) -> std::io::Result<()> {
    let mut setting = shared.setting.subscribe();
    let mut reserved = Some(socket);
    let mut connections = JoinSet::new();
    loop {
        if setting
            .wait_for(|setting| shared.is_open(setting))
            .await
            .is_err()
        {
            return Ok(());
        }
        let socket = match reserved.take() {
            Some(socket) => socket,
            None => reserve(port)?,
        };
        let listener = socket.listen(1024)?;
        shared.listening.send_replace(Some(true));
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (client, _) = accepted?;
                    while connections.try_join_next().is_some() {}
                    // Before it is known whose it is, so that one that is cut off meanwhile is one of those.
                    let open = shared.connections.begin();
                    connections.spawn(connection(Arc::clone(shared), open, client));
                }
                _ = setting.wait_for(|setting| !shared.is_open(setting)) => break,
            }
        }
        drop(listener);
        reserved = Some(reserve(port)?);
        shared.listening.send_replace(Some(false));
    }
}

/// Carries one connection until it ends or is cut.
async fn connection(shared: Arc<Shared>, open: Open, mut client: TcpStream) {
    let began = match shared.only {
        None => Vec::new(),
        Some(name) => match begin(&mut client).await {
            Ok(began) if !names(&began, name) => {
                drop(open);
                let _ = carry(&shared, &mut client, &began, untouched).await;
                return;
            }
            Ok(began) => began,
            Err(_) => return,
        },
    };
    let cut = tokio::select! {
        refused = carry(&shared, &mut client, &began, spoiled) => {
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        }
        () = open.cut() => true,
    };
    if cut {
        // A reset: a cut must not look like an orderly end.
        let _ = client.set_zero_linger();
    }
}

/// The first message of a PostgreSQL session, which says what it is called. A client that asks for TLS is told that there
/// is none.
async fn begin(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    const TLS: u32 = 80_877_103;
    loop {
        let (length, code) = (client.read_u32().await?, client.read_u32().await?);
        if code == TLS {
            client.write_all(b"N").await?;
            continue;
        }
        let rest = usize::try_from(length)
            .unwrap_or_default()
            .saturating_sub(8);
        let mut message = [length.to_be_bytes(), code.to_be_bytes()].concat();
        let mut parameters = vec![0; rest.min(16 * 1024)];
        client.read_exact(&mut parameters).await?;
        message.extend(parameters);
        return Ok(message);
    }
}

/// Whether a session calls itself so.
fn names(began: &[u8], application_name: &str) -> bool {
    let parameter = format!("application_name\0{application_name}");
    began
        .windows(parameter.len())
        .any(|part| part == parameter.as_bytes())
}

/// What the link does to a session that it spoils, and to one that it does not.
type View = fn(&Setting) -> Setting;

const fn spoiled(setting: &Setting) -> Setting {
    *setting
}

const fn untouched(_: &Setting) -> Setting {
    Setting {
        link: Link::Pass,
        to_server: Duration::ZERO,
        to_client: Duration::ZERO,
    }
}

async fn carry(
    shared: &Shared,
    client: &mut TcpStream,
    began: &[u8],
    view: View,
) -> std::io::Result<()> {
    passing(shared, view).await;
    if shared.only.is_some() && view(&shared.setting.borrow()).link == Link::Refuse {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    let mut server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(began).await?;
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    tokio::join!(
        forward(
            shared,
            client_read,
            server_write,
            (view, |setting| setting.to_server)
        ),
        forward(
            shared,
            server_read,
            client_write,
            (view, |setting| setting.to_client)
        ),
    );
    Ok(())
}

/// Forwards one direction, each piece as late as the link was slow when it came.
async fn forward(
    shared: &Shared,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    (view, delay): (View, fn(&Setting) -> Duration),
) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + delay(&view(&shared.setting.borrow()));
            if sender.send((due, buffer[..size].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            passing(shared, view).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        passing(shared, view).await;
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

/// Waits while the link is a black hole.
async fn passing(shared: &Shared, view: View) {
    let _ = shared
        .setting
        .subscribe()
        .wait_for(|setting| view(setting).link != Link::BlackHole)
        .await;
}
