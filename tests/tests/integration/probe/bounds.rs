//! What comes back from an instance is not trusted with our memory, our time, or to be HTTP at all.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Fleet, Stub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::stage::Stage;

/// The most memory that the daemon ever had, in bytes.
fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("no VmHWM")?.parse::<u64>()? * 1024)
}

/// An API that is no proper HTTP server: answers each connection with what `answer` does. Returns its port.
async fn raw<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> Result<(u16, JoinSet<()>)>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answered = answer(stream);
            connections.spawn(async move {
                // The other side may have had enough, which is its right.
                let _ = answered.await;
            });
        }
    });
    Ok((port, tasks))
}

/// The first bytes of the request are read, so that closing does not reset the answer away.
async fn say(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(answer).await?;
    stream.shutdown().await
}

#[tokio::test]
async fn bodies_and_headers_without_end_cost_no_memory() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    // Warm: connections, statements and threads are there before it is measured.
    let stub = Stub::start(Behaviour::Ready).await?;
    let warm = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(warm, Some("client_ready"), "Ready").await?;
    let before = peak_memory(stage.daemon.pid())?;

    let bodies = Fleet::start(8, Behaviour::HugeBody(40_000_000)).await?;
    let mut ids = Vec::new();
    for port in bodies.ports() {
        ids.push((stage.telegram(port, "a-key").await?, "ApiTooLarge"));
    }
    let (port, _headers) = raw(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        let line = format!("x-filler: {}\r\n", "x".repeat(4000));
        loop {
            stream.write_all(line.as_bytes()).await?;
        }
    })
    .await?;
    for _ in 0..4 {
        ids.push((stage.telegram(port, "a-key").await?, "ApiStarting"));
    }
    for (id, reason) in ids {
        stage.expect(id, Some("pending"), reason).await?;
    }
    let grown = peak_memory(stage.daemon.pid())?.saturating_sub(before);
    ensure!(
        grown < 16 * 1024 * 1024,
        "360 MB were on offer, and the daemon grew by {grown} bytes"
    );
    stage.ensure_unharmed()?;
    stage.close().await
}

#[tokio::test]
async fn what_is_not_http_is_named_and_survived() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"state\":\"READY\",\"info\":{\"id\":1}}";
    let cases: [(&'static [u8], &str); 6] = [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP"),
        (b"HTTP/1.1 20x OK\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "HTTP"),
        (b"", "closes the connection"),
        // Complete JSON that proves READY, in an answer that is not complete.
        (cut, "closes the connection"),
    ];
    for (answer, message) in cases {
        let (port, _api) = raw(move |stream| say(stream, answer)).await?;
        let id = stage.telegram(port, "a-key").await?;
        let seen = stage.expect(id, Some("pending"), "ApiStarting").await?;
        ensure!(seen.message.contains(message), "{seen:?}");
    }
    stage.ensure_unharmed()?;
    stage.close().await
}
