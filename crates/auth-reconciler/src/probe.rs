//! Asks one instance's API once.
//!
//! A fresh connection each time: the containers close idle ones after 5 s, so a kept one would meet
//! resets, and on a local network a connection costs less than telling those apart. No redirect is
//! followed and nothing is decompressed; the whole has one time limit, and the body a cap.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_reconciler_core::Answer;
use auth_reconciler_core::answer::{Shortage, Silence};
use auth_reconciler_core::key::ApiKey;
use auth_reconciler_core::profile::{BODY_CAP, Profile};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use uuid::Uuid;

use failure::Worst;
use url::ProbeUrl;

mod failure;
pub(crate) mod url;

/// Most connection attempts of one probe, whatever its time limit.
const MAX_CONNECTS: u32 = 100;

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    /// Id of the row.
    pub(crate) id: Uuid,
    /// Port of its API.
    pub(crate) port: u16,
    /// Address of its container in its network, if that is known.
    pub(crate) container: Option<IpAddr>,
}

/// How instances are asked.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    /// Address of an instance's API.
    pub(crate) url: ProbeUrl,
    /// Limit for the whole: name, connection, headers and body.
    pub(crate) limit: Duration,
    /// Limit for one connection attempt; then it is tried again within `limit`. A first attempt
    /// while the container's network is being set up may stall for a second.
    pub(crate) connect_limit: Duration,
}

impl Prober {
    /// Asks, and always has an answer within the limit.
    pub(crate) async fn ask(&self, instance: &Instance, profile: &Profile, key: &ApiKey) -> Answer {
        // What it means that the limit passed: until the resolver has answered, nobody was asked.
        let late = Mutex::new(Answer::NotAsked(Shortage::Resolver));
        let asked = self.try_ask(instance, profile, key, |silence| {
            *late.lock().unwrap_or_else(PoisonError::into_inner) = Answer::Silent(silence);
        });
        match tokio::time::timeout(self.limit, asked).await {
            Ok(Ok(answer) | Err(answer)) => answer,
            Err(_) => late.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }

    async fn try_ask(
        &self,
        instance: &Instance,
        profile: &Profile,
        key: &ApiKey,
        reached: impl Fn(Silence),
    ) -> Result<Answer, Answer> {
        let target = self
            .url
            .for_instance(instance.port, instance.id, instance.container)
            .map_err(|_| Answer::Silent(Silence::UnknownHost))?;
        let addresses = resolve(&target.host, target.port).await?;
        reached(Silence::NoReply);
        let stream = self.connect(&addresses).await?;
        reached(Silence::TimedOut);
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| Answer::Silent(Silence::NotHttp))?;
        authorization.set_sensitive(true);
        let request = Request::get(format!("{}{}", target.path_prefix, profile.path))
            .header(header::HOST, target.authority())
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .header(
                header::USER_AGENT,
                concat!("auth-reconciler/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|_| Answer::Silent(Silence::UnknownHost))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BODY_CAP)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure::of_request(&error))?;
        let _driven = Driven(tokio::spawn(async move {
            // What goes wrong on it comes back from the request, too.
            let _ = connection.await;
        }));
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failure::of_request(&error))?;
        read(profile, response).await
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Answer> {
        for _ in 0..MAX_CONNECTS {
            let mut stalled = false;
            let mut worst = Worst::default();
            for address in addresses {
                match tokio::time::timeout(self.connect_limit, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        // A request is one small write; without this it may wait for an ack.
                        let _ = stream.set_nodelay(true);
                        return Ok(stream);
                    }
                    Ok(Err(error)) => worst.add(address, failure::of_connect(&error)),
                    Err(_) => stalled = true,
                }
            }
            if !stalled {
                return Err(worst.answer());
            }
        }
        Err(Answer::Silent(Silence::NoReply))
    }
}

/// Ends the connection's task with the probe.
struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Answer> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| failure::of_lookup(&error))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        Err(failure::no_such_name())
    } else {
        Ok(addresses)
    }
}

async fn read(profile: &Profile, response: Response<Incoming>) -> Result<Answer, Answer> {
    let code = response.status().as_u16();
    if code != 200 {
        // Whatever the body says, it decides nothing.
        return Ok(profile.read(code, b""));
    }
    match Limited::new(response.into_body(), BODY_CAP).collect().await {
        Ok(body) => Ok(profile.read(code, &body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Answer::TooLarge { cap: BODY_CAP }),
        Err(error) => Err(error
            .downcast_ref::<hyper::Error>()
            .map_or(Answer::Silent(Silence::Reset), failure::of_request)),
    }
}
