//! The way to the engine: one connection for each request, and only for the requests that are meant to be.
//!
//! Ours rather than a client library's for four reasons: nothing but reading passes, whatever calls it; a
//! stream of events can be seen to have begun before its first event; a container's output is dropped as it
//! comes, where a decoder would collect lines of any length; and answers are read word by word, where types
//! that are made from one engine's description refuse a whole list for one word of another engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::query_parameters::{EventsOptions, LogsOptionsBuilder};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::EngineError;
use super::address::{Address, Place};
use super::lines::{Counted, Lines};

/// Longest answer that is read: a list of some ten thousand containers.
const LONGEST: usize = 64 << 20;

/// Longest refusal that is read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Why TLS to the engine cannot be set up.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("cannot read `{}` for TLS to the engine; it must be a PEM file", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("`{}` and `{}` cannot be used as authority, certificate and key for TLS to the engine", .0.join("ca.pem").display(), .0.join("{cert,key}.pem").display())]
    Unusable(PathBuf, #[source] rustls::Error),
    #[error("cannot set up the client of the engine")]
    Library,
}

/// The options of a request as the query of its address.
fn written(options: &impl Serialize) -> Result<String, EngineError> {
    let options = serde_json::to_value(options).map_err(|_| EngineError::Answer)?;
    let options = options.as_object().into_iter().flatten();
    let pairs = options.map(|(name, value)| match value {
        Value::String(text) => (name, text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            (name, value.to_string())
        }
    });
    Ok(url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish())
}

/// How requests reach the engine.
pub(super) struct Transport {
    place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    product: Mutex<Option<String>>,
}

/// A container's output as it comes; nobody reads it, its lines are counted.
#[derive(Debug)]
pub(crate) struct Output {
    body: Incoming,
    lines: Lines,
}

impl Output {
    /// Resolves when there was more of it, with what it holds; or when it is over.
    pub(crate) async fn more(&mut self) -> Option<Counted> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            let data = frame.data_ref().filter(|data| !data.is_empty());
            if let Some(data) = data {
                return Some(self.lines.count(data));
            }
        }
    }
}

impl Transport {
    pub(super) fn new(address: &Address) -> Result<Self, TlsError> {
        let tls = match (address.place(), address.certificates()) {
            (Place::Tcp { host, .. }, Some(folder)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Library)?;
                Some((TlsConnector::from(Arc::new(client_config(folder)?)), name))
            }
            (Place::Tcp { .. } | Place::Unix(_), _) => None,
        };
        Ok(Self {
            place: address.place().clone(),
            tls,
            product: Mutex::default(),
        })
    }

    /// What the engine called itself with its last answer, as `Docker/20.10.24 (linux)`.
    pub(super) fn product(&self) -> Option<String> {
        self.product
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An answer of JSON.
    pub(super) async fn json(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<Value, EngineError> {
        let body = self.get(path, query).await?;
        let bytes = collected(body, LONGEST).await?;
        serde_json::from_slice(&bytes).map_err(|_| EngineError::Answer)
    }

    /// A stream of events; it has begun when this returns.
    pub(super) async fn events(&self, query: &EventsOptions) -> Result<Incoming, EngineError> {
        self.get("/events", query).await
    }

    /// The output of a container, as it comes: the last thing that it said, and all that follows. Lines that
    /// hold `path` are counted for themselves.
    pub(super) async fn output(
        &self,
        container: &str,
        path: &'static str,
    ) -> Result<Output, EngineError> {
        // The last line, not none: it arrives when the place from which on the engine follows is fixed, so
        // the look that it leads to comes after that, and between them nothing can be missed.
        let query = LogsOptionsBuilder::new()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .tail("1")
            .build();
        let body = self
            .get(&format!("/containers/{container}/logs"), &query)
            .await?;
        Ok(Output {
            body,
            lines: Lines::new(path),
        })
    }

    async fn get(&self, path: &str, query: &impl Serialize) -> Result<Incoming, EngineError> {
        if !permitted(&Method::GET, path) {
            // A mistake of ours, or an id that is none; the engine never hears of it.
            return Err(EngineError::Answer);
        }
        let query = written(query)?;
        let target = match query.as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let request = Request::get(target)
            .body(Empty::<Bytes>::new())
            .map_err(|_| EngineError::Answer)?;
        let response = self.send(request).await?;
        let product = response.headers().get(header::SERVER);
        *self.product.lock().unwrap_or_else(PoisonError::into_inner) = product
            .and_then(|product| product.to_str().ok())
            .map(super::error::shortened);
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let told = collected(response.into_body(), LONGEST_REFUSAL).await;
        Err(EngineError::Refused {
            status: status.as_u16(),
            message: super::error::shortened(&refusal(&told.unwrap_or_default())),
        })
    }

    async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, EngineError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path_and_query().map(ToString::to_string);
        *request.uri_mut() = path
            .and_then(|path| path.parse::<Uri>().ok())
            .ok_or(EngineError::Answer)?;
        let host = match &self.place {
            Place::Unix(_) => "docker".to_owned(),
            Place::Tcp { host, port } => format!("{host}:{port}"),
        };
        let host = HeaderValue::try_from(host).map_err(|_| EngineError::Answer)?;
        request.headers_mut().insert(header::HOST, host);
        match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                exchange(stream.map_err(EngineError::Connect)?, request).await
            }
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(EngineError::Connect)?;
                let _ = stream.set_nodelay(true);
                match &self.tls {
                    None => exchange(stream, request).await,
                    Some((connector, name)) => {
                        let stream = connector.connect(name.clone(), stream).await;
                        let stream = stream.map_err(EngineError::Connect)?;
                        exchange(stream, request).await.map_err(unanswered)
                    }
                }
            }
        }
    }
}

async fn collected(body: Incoming, limit: usize) -> Result<Bytes, EngineError> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(failure) if failure.is::<LengthLimitError>() => Err(EngineError::Answer),
        Err(failure) => Err(EngineError::Broken(
            failure.downcast().ok().map(|failure| *failure),
        )),
    }
}

/// The engine's own words in a refusal, or whatever it says instead.
fn refusal(body: &[u8]) -> String {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let message = told.as_ref().and_then(|told| told.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

async fn exchange<S, B>(stream: S, request: Request<B>) -> Result<Response<Incoming>, EngineError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let broken = |error| EngineError::Broken(Some(error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends with the body: when that is read to its end, or dropped.
    let driver = tokio::spawn(connection);
    match sender.send_request(request).await {
        Ok(response) => Ok(response),
        Err(canceled) => {
            drop(sender);
            // What ended the connection tells more than that the request ended with it.
            let reason = driver.await.ok().and_then(Result::err);
            Err(broken(reason.unwrap_or(canceled)))
        }
    }
}

/// What the end of a connection means if it was one with TLS, and nothing was answered on it.
fn unanswered(error: EngineError) -> EngineError {
    if error.is_of_tls() {
        return error;
    }
    match error {
        EngineError::Broken(Some(reason)) => EngineError::ClosedUnanswered(reason),
        EngineError::Broken(None)
        | EngineError::TimedOut(_)
        | EngineError::Connect(_)
        | EngineError::Refused { .. }
        | EngineError::Answer
        | EngineError::ClosedUnanswered(_)
        | EngineError::Ended
        | EngineError::Missed => error,
    }
}

/// The four requests that are ever made. All of them only read.
fn permitted(method: &Method, path: &str) -> bool {
    let mut parts = path.trim_start_matches('/').split('/');
    let known = match (parts.next(), parts.next(), parts.next()) {
        (Some("events"), None, None) | (Some("containers"), Some("json"), None) => true,
        (Some("containers"), Some(id), Some("json" | "logs")) => !id.is_empty(),
        _ => false,
    };
    method == Method::GET && known && parts.next().is_none()
}

/// `ca.pem`, `cert.pem` and `key.pem` of a folder, as Docker's own client expects them.
fn client_config(folder: &Path) -> Result<ClientConfig, TlsError> {
    let file = |name: &str| folder.join(name);
    let failed = |path: PathBuf| move |source| TlsError::File { path, source };
    let certificates = |name: &str| {
        CertificateDer::pem_file_iter(file(name))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed(file(name)))
    };
    let unusable = |source| TlsError::Unusable(folder.to_owned(), source);
    let mut authorities = RootCertStore::empty();
    for authority in certificates("ca.pem")? {
        authorities.add(authority).map_err(unusable)?;
    }
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).map_err(failed(file("key.pem")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(authorities)
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_four_reading_requests_is_permitted() {
        for path in [
            "/events",
            "/containers/json",
            "/containers/abc/json",
            "/containers/abc/logs",
        ] {
            assert!(permitted(&Method::GET, path), "{path}");
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
                assert!(!permitted(&method, path), "{method} {path}");
            }
        }
        for path in [
            "/",
            "/info",
            "/version",
            "/_ping",
            "/containers",
            "/containers/abc",
            "/containers/abc/archive",
            "/containers/abc/export",
            "/containers/abc/json/x",
            "/containers//json",
            "/images/json",
            "/events/x",
            "/secrets",
        ] {
            assert!(!permitted(&Method::GET, path), "{path}");
        }
    }
}
