//! Plain HTTP: to the engine over its socket, to an instance over its port. One connection a request.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// What is sent along with a request.
pub(super) enum Content {
    Nothing,
    Json(Value),
    Tar(Vec<u8>),
}

/// An answer whose body is still coming; dropping it ends the connection.
pub(super) struct Streaming {
    body: Incoming,
    driver: JoinHandle<()>,
}

impl Streaming {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    async fn rest(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Asks the engine behind a socket; an answer other than 2xx or 3xx is an error with the engine's own words.
pub(super) async fn engine(
    socket: &Path,
    method: &str,
    path: &str,
    content: Content,
) -> Result<Value> {
    let (status, mut answer) = open(socket, method, path, content).await?;
    let bytes = answer.rest().await?;
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_success() || status.is_redirection() {
        return Ok(value);
    }
    let said = value["message"].as_str().unwrap_or_default();
    bail!("the engine refused {method} {path}: {status} {said}")
}

/// The same for an answer that is read piece by piece.
pub(super) async fn stream(socket: &Path, method: &str, path: &str) -> Result<Streaming> {
    let (status, answer) = open(socket, method, path, Content::Nothing).await?;
    if !status.is_success() {
        bail!("the engine refused {method} {path}: {status}");
    }
    Ok(answer)
}

/// All bytes of an answer that is no JSON document.
pub(super) async fn bytes(socket: &Path, path: &str) -> Result<Vec<u8>> {
    stream(socket, "GET", path).await?.rest().await
}

async fn open(
    socket: &Path,
    method: &str,
    path: &str,
    content: Content,
) -> Result<(StatusCode, Streaming)> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no engine answers on {}", socket.display()))?;
    let what = || format!("{method} {path} at the engine");
    let (status, answer) = exchange(stream, method, path, content)
        .await
        .with_context(what)?;
    Ok((status, answer))
}

/// Asks an instance; any status is an answer.
pub(super) async fn instance(port: u16, method: &str, path: &str) -> Result<(u16, Value)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect(address).await?;
    let (status, mut answer) = exchange(stream, method, path, Content::Nothing).await?;
    let bytes = answer.rest().await?;
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok((status.as_u16(), value))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
    content: Content,
) -> Result<(StatusCode, Streaming)> {
    let (kind, bytes) = match content {
        Content::Nothing => ("text/plain", Vec::new()),
        Content::Json(value) => ("application/json", value.to_string().into_bytes()),
        Content::Tar(bytes) => ("application/x-tar", bytes),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("connection", "close")
        .header("content-type", kind)
        .body(Full::new(Bytes::from(bytes)))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // What goes wrong on it is seen by whoever waits for the answer.
        let _ = connection.await;
    });
    let response: Response<Incoming> = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body();
    Ok((status, Streaming { body, driver }))
}

/// Asks the engine from a `drop`, where nothing can be awaited; best effort, within `limit`.
pub(super) fn blocking(
    socket: &Path,
    method: &str,
    path: &str,
    limit: Duration,
) -> std::io::Result<Vec<u8>> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // HTTP/1.0: the body is not chunked and ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(head
        .map(|end| answer.split_off(end + 4))
        .unwrap_or_default())
}
