//! Where an instance's API is: the template of the probe address, with names, paths and both kinds of IP address.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Stage;

const READY: &str = r#"{"state":"READY","info":{"id":1}}"#;

/// Reads one request, answers READY, and returns the request's first line and its `Host` header.
async fn answer_ready(stream: TcpStream) -> std::io::Result<(String, String)> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut host) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => value.clone_into(&mut host),
            Some(_) => {}
            None => break,
        }
    }
    let length = READY.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{READY}");
    stream.get_mut().write_all(answer.as_bytes()).await?;
    Ok((first.trim_end().to_owned(), host))
}

#[tokio::test]
async fn a_host_name_is_resolved_and_a_refusing_address_is_not_the_last_word() -> Result<()> {
    // Where localhost is also ::1, that one refuses, because the stub listens on 127.0.0.1 only.
    let template = [("AUTH_RECONCILER_PROBE_URL", "http://localhost:{port}")];
    let stage = Stage::start(&template).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    stage.close().await
}

#[tokio::test]
async fn the_id_may_be_part_of_the_path() -> Result<()> {
    let template = [(
        "AUTH_RECONCILER_PROBE_URL",
        "http://127.0.0.1:{port}/instances/{id}/",
    )];
    let stage = Stage::start(&template).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    // The stub knows no such path, which is as good as any answer here.
    stage.expect(id, Some("pending"), "ApiNotFound").await?;
    let path = stub.request(1).await?.path;
    ensure!(
        path == format!("/instances/{id}/api/v1/telegram/status"),
        "asked {path}"
    );
    stage.close().await
}

#[tokio::test]
async fn an_ipv6_address_is_asked_with_brackets() -> Result<()> {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return Ok(());
    };
    let port = listener.local_addr()?.port();
    let api = tokio::spawn(async move { answer_ready(listener.accept().await?.0).await });
    let stage = Stage::start(&[("AUTH_RECONCILER_PROBE_URL", "http://[::1]:{port}")]).await?;
    let id = stage.telegram(port, "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    let (first, host) = api.await??;
    ensure!(first == "GET /api/v1/telegram/status HTTP/1.1", "{first}");
    ensure!(host == format!("[::1]:{port}"), "{host}");
    stage.close().await
}
