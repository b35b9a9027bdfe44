//! The API of one instance, on a real loopback port, as the manager's containers offer it and as they fail to.
//!
//! A [`Stub`] answers by its present [`Behaviour`], which a test changes at will; a request keeps the behaviour that it
//! met when it was read, so an answer held back is an answer about the past. When the stub does not listen it keeps its
//! port (bound, not listening: the kernel refuses), so the port can be in the database before anybody answers on it.
//!
//! `/api/v1/telegram/health` is 200 whenever anything answers at all and proves nothing, as in reality; any path that
//! the provider does not have is 404.

mod behaviour;
mod control;
mod counts;
mod fleet;
mod http;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::behaviour::{Behaviour, Gate, Provider};
pub use self::control::{Call, Control};
pub use self::counts::{Authorization, Counts, Request};
pub use self::fleet::Fleet;
use self::http::{Answer, Head, read_head};
pub use self::request::{Journal, Served};
use self::request::{Open, gone};
use crate::patience::{Caller, PATIENCE, within};
use crate::process::lock;

/// How long the real API keeps an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The API of one instance; dropping it closes the port.
pub struct Stub {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    provider: Provider,
    behaviour: watch::Sender<Behaviour>,
    /// Whether the port accepts connections at the moment; `None` when the listening task has failed.
    listening: watch::Sender<Option<bool>>,
    counts: watch::Sender<Counts>,
    expected: Mutex<Option<String>>,
    control: OnceLock<Control>,
    journal: OnceLock<Journal>,
}

impl Stub {
    /// A Telegram instance on a free port.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(behaviour: Behaviour) -> Result<Self> {
        Self::start_for(Provider::Telegram, behaviour).await
    }

    /// An instance of any provider on a free port.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start_for(provider: Provider, behaviour: Behaviour) -> Result<Self> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(anywhere, provider, behaviour).await
    }

    /// An instance of any provider on this address; in a container that is its network's, not 127.0.0.1.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start_at(
        address: SocketAddr,
        provider: Provider,
        behaviour: Behaviour,
    ) -> Result<Self> {
        let socket = reserve_at(address)?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            provider,
            behaviour: watch::Sender::new(behaviour),
            listening: watch::Sender::new(Some(false)),
            counts: watch::Sender::new(Counts::default()),
            expected: Mutex::new(None),
            control: OnceLock::new(),
            journal: OnceLock::new(),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                if serve(&shared, socket, address).await.is_err() {
                    shared.listening.send_replace(None);
                }
            }
        });
        let stub = Self {
            port: address.port(),
            shared,
            task,
        };
        stub.settled().await?;
        Ok(stub)
    }

    /// Lets `control` answer what is asked below `/control/` from now on; such requests are not counted. Only the first
    /// one counts.
    pub fn control_by(&self, control: Control) {
        let _ = self.shared.control.set(control);
    }

    /// Lets `journal` be told of each request from now on. Only the first one counts.
    pub fn log_by(&self, journal: Journal) {
        let _ = self.shared.journal.set(journal);
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the behaviour; when this returns the port already accepts, or refuses and has cut its connections.
    ///
    /// # Errors
    /// When the port cannot be opened again.
    pub async fn set(&self, behaviour: Behaviour) -> Result<()> {
        self.shared.behaviour.send_replace(behaviour);
        self.settled().await
    }

    /// From now on this is the right API key.
    pub fn expect_key(&self, key: &str) {
        *lock(&self.shared.expected) = Some(key.to_owned());
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.borrow().clone()
    }

    /// Waits for request `number` (from 1), which may have come already.
    ///
    /// # Errors
    /// When it does not come within the usual patience.
    #[track_caller]
    pub fn request(&self, number: u64) -> impl Future<Output = Result<Request>> {
        let caller = Location::caller();
        async move {
            let index = usize::try_from(number.saturating_sub(1))?;
            let what = format!("request {number} at a stub");
            let counts = self
                .wait(caller, &what, |counts| counts.requests.len() > index)
                .await?;
            counts
                .requests
                .get(index)
                .cloned()
                .context("requests are never forgotten")
        }
    }

    /// Waits for the next request that comes from now on.
    ///
    /// # Errors
    /// When none comes within the usual patience.
    #[track_caller]
    pub fn next_request(&self) -> impl Future<Output = Result<Request>> {
        let number = self.shared.counts.borrow().total() + 1;
        self.request(number)
    }

    /// Waits until what was seen satisfies `condition`.
    ///
    /// # Errors
    /// When it does not within the usual patience.
    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        condition: impl FnMut(&Counts) -> bool,
    ) -> impl Future<Output = Result<Counts>> {
        let caller = Location::caller();
        async move { self.wait(caller, what, condition).await }
    }

    async fn wait(
        &self,
        caller: Caller,
        what: &str,
        condition: impl FnMut(&Counts) -> bool,
    ) -> Result<Counts> {
        let mut counts = self.shared.counts.subscribe();
        let counts = within(PATIENCE, caller, what, counts.wait_for(condition))
            .await??
            .clone();
        Ok(counts)
    }

    async fn settled(&self) -> Result<()> {
        let wanted = self.shared.behaviour.borrow().listens();
        let mut listening = self.shared.listening.subscribe();
        let state = *listening
            .wait_for(|state| state.is_none_or(|state| state == wanted))
            .await?;
        state.context("a stub could not open its port")?;
        Ok(())
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes a port without listening on it: whoever connects is refused.
pub(crate) fn reserve(port: u16) -> std::io::Result<TcpSocket> {
    reserve_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn reserve_at(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve(
    shared: &Arc<Shared>,
    socket: TcpSocket,
    address: SocketAddr,
) -> std::io::Result<()> {
    let mut behaviour = shared.behaviour.subscribe();
    // It never listens: it keeps the port from whoever looks for a free one, also while another socket is replaced.
    let _keeper = socket;
    loop {
        if behaviour.wait_for(Behaviour::listens).await.is_err() {
            return Ok(());
        }
        let listener = reserve_at(address)?.listen(1024)?;
        shared.listening.send_replace(Some(true));
        let mut connections = JoinSet::new();
        tokio::select! {
            _ = behaviour.wait_for(|behaviour| !behaviour.listens()) => {}
            never = accept(shared, &listener, &mut connections) => match never? {},
        }
        drop(listener);
        connections.shutdown().await;
        shared.listening.send_replace(Some(false));
    }
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
) -> std::io::Result<std::convert::Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        shared.counts.send_modify(|counts| counts.connections += 1);
        let behaviour = shared.behaviour.borrow().clone();
        if matches!(behaviour, Behaviour::AcceptThenReset) {
            stream.set_zero_linger()?;
            drop(stream);
            shared.count(Request {
                number: 0,
                at: Instant::now(),
                path: String::new(),
                authorization: Authorization::Missing,
                met: behaviour.name(),
            });
        } else {
            connections.spawn(converse(Arc::clone(shared), stream));
        }
    }
}

/// Answers the requests of one connection until either side has had enough.
async fn converse(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Ok(Some(head)) = tokio::time::timeout(KEEP_ALIVE, read_head(&mut read)).await {
        if let Some((control, call)) = shared.control.get().zip(Call::of(&head)) {
            let answer = control::answer(control(call).await);
            if answer.send(&mut write).await.is_err() || head.close {
                return;
            }
            continue;
        }
        let behaviour = shared.behaviour.borrow().clone();
        let authorization = shared.authorization(&head);
        let open = Open(&shared);
        shared.count(Request {
            number: 0,
            at: Instant::now(),
            path: head.path.clone(),
            authorization,
            met: behaviour.name(),
        });
        let log = |served| {
            if let Some(journal) = shared.journal.get() {
                journal(served, &head.path);
            }
        };
        log(Served::Came);
        let respond = async {
            let Some(answer) = shared.answer(behaviour, &head.path).await else {
                return std::future::pending().await;
            };
            log(Served::Answers);
            let sent = answer.send(&mut write).await.is_ok();
            log(Served::Answered);
            sent
        };
        let answered = tokio::select! {
            answered = respond => answered,
            () = gone(&mut read) => false,
        };
        drop(open);
        if !answered || head.close {
            return;
        }
    }
}

impl Shared {
    /// The answer to a request, as soon as its behaviour lets it go; `None` if never.
    async fn answer(&self, mut behaviour: Behaviour, path: &str) -> Option<Answer> {
        loop {
            if let Behaviour::Delayed(by, then) = behaviour {
                tokio::time::sleep(by).await;
                behaviour = *then;
            } else if let Behaviour::Held(gate, then) = behaviour {
                gate.opened().await;
                behaviour = *then;
            } else {
                break;
            }
        }
        let answer = behaviour.answer(self.provider)?;
        let telegram = self.provider == Provider::Telegram;
        Some(if path == self.provider.status_path() {
            answer
        } else if path == "/api/v1/telegram/health" && telegram {
            Answer::json(r#"{"status":"ok"}"#)
        } else {
            Answer {
                status: 404,
                ..Answer::json(r#"{"error":"not found"}"#)
            }
        })
    }

    fn authorization(&self, head: &Head) -> Authorization {
        let Some(value) = &head.authorization else {
            return Authorization::Missing;
        };
        match lock(&self.expected).as_ref() {
            None => Authorization::Unchecked,
            Some(key) if format!("Bearer {key}").as_bytes() == value => Authorization::Right,
            Some(_) => Authorization::Wrong,
        }
    }

    /// Counts a request; one that the stub resets unread is never open.
    fn count(&self, mut request: Request) {
        self.counts.send_modify(|counts| {
            request.number = counts.total() + 1;
            *counts.by_behaviour.entry(request.met).or_default() += 1;
            if !request.path.is_empty() {
                counts.open += 1;
                counts.max_open = counts.max_open.max(counts.open);
            }
            counts.requests.push(request);
        });
    }
}
