//! The stub over real TCP, with a client that shows what really happened.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use auth_reconciler_tests::stub::{Authorization, Behaviour, Fleet, Gate, Provider, Stub};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TELEGRAM: &str = "/api/v1/telegram/status";

async fn ask(port: u16, path: &str, key: Option<&str>) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let key = key
        .map(|key| format!("Authorization: Bearer {key}\r\n"))
        .unwrap_or_default();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{key}\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Status code, head and body of one answer.
async fn get_with(port: u16, path: &str, key: Option<&str>) -> Result<(u16, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    ask(port, path, key).await?.read_to_end(&mut bytes).await?;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no head")?;
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, head, bytes.split_off(end + 4)))
}

async fn get(port: u16, path: &str) -> Result<(u16, Value)> {
    let (status, _, body) = get_with(port, path, None).await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

#[tokio::test]
async fn a_life_as_the_real_container_lives_it() -> Result<()> {
    let stub = Stub::start(Behaviour::NotListening).await?;
    let port = stub.port();
    let refused = ask(port, TELEGRAM, None).await.err().context("refused")?;
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    stub.set(Behaviour::AcceptThenReset).await?;
    let mut rest = Vec::new();
    let reset = match ask(port, TELEGRAM, None).await {
        Ok(mut stream) => stream.read_to_end(&mut rest).await.err(),
        Err(error) => Some(error),
    };
    assert_eq!(reset.context("reset")?.kind(), ErrorKind::ConnectionReset);

    stub.set(Behaviour::Disconnected).await?;
    let disconnected =
        json!({"provider": "telegram", "status": "disconnected", "state": "DISCONNECTED"});
    assert_eq!(get(port, TELEGRAM).await?, (200, disconnected));

    stub.set(Behaviour::Ready).await?;
    let (status, ready) = get(port, TELEGRAM).await?;
    assert_eq!(
        (status, &ready["state"], &ready["info"]["isBot"]),
        (200, &json!("READY"), &json!(true))
    );
    assert_eq!(get(port, "/api/v1/telegram/health").await?.0, 200);
    assert_eq!(get(port, "/api/v1/status").await?.0, 404);

    stub.set(Behaviour::ReadyWithoutInfo).await?;
    let (_, bare) = get(port, TELEGRAM).await?;
    assert_eq!(
        (&bare["state"], &bare["info"]),
        (&json!("READY"), &Value::Null)
    );

    stub.set(Behaviour::Error).await?;
    let error = json!({"provider": "telegram", "status": "error", "state": "ERROR"});
    assert_eq!(get(port, TELEGRAM).await?.1, error);

    stub.set(Behaviour::NotListening).await?;
    assert!(ask(port, TELEGRAM, None).await.is_err(), "it refuses again");
    let counts = stub.counts();
    assert_eq!((counts.total(), counts.open), (7, 0));
    assert_eq!(counts.by_behaviour["accept_then_reset"], 1);
    assert_eq!(counts.by_behaviour["ready"], 3);
    Ok(())
}

#[tokio::test]
async fn whatsapp_answers_on_its_own_path() -> Result<()> {
    let stub = Stub::start_for(Provider::WhatsAppWeb, Behaviour::Qr).await?;
    let path = "/api/v1/status";
    assert!(get(stub.port(), path).await?.1["qr"].is_string());
    stub.set(Behaviour::Authenticated).await?;
    assert_eq!(get(stub.port(), path).await?.1["state"], "AUTHENTICATED");
    stub.set(Behaviour::Ready).await?;
    let (_, ready) = get(stub.port(), path).await?;
    assert_eq!(ready["state"], "READY");
    assert!(ready["info"]["me"].is_object());
    assert_eq!(get(stub.port(), TELEGRAM).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn answers_that_no_instance_gives() -> Result<()> {
    let stub = Stub::start(Behaviour::Status(401)).await?;
    let port = stub.port();
    assert_eq!(get(port, TELEGRAM).await?.0, 401);
    stub.set(Behaviour::Redirect(
        "http://127.0.0.1:1/elsewhere".to_owned(),
    ))
    .await?;
    let (status, head, _) = get_with(port, TELEGRAM, None).await?;
    assert_eq!(status, 302);
    assert!(head.contains("location: http://127.0.0.1:1/elsewhere"));
    stub.set(Behaviour::Body {
        status: 200,
        content_type: "text/html",
        bytes: b"<html>".to_vec(),
    })
    .await?;
    let (_, head, body) = get_with(port, TELEGRAM, None).await?;
    assert!(head.contains("content-type: text/html"));
    assert_eq!(body, b"<html>");
    stub.set(Behaviour::HugeBody(40_000_000)).await?;
    let (_, _, body) = get_with(port, TELEGRAM, None).await?;
    assert_eq!(body.len(), 40_000_000);
    Ok(())
}

#[tokio::test]
async fn a_drip_gives_byte_after_byte() -> Result<()> {
    let stub = Stub::start(Behaviour::SlowDrip).await?;
    let mut stream = ask(stub.port(), TELEGRAM, None).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let (first, begin) = (stream.read_u8().await?, Instant::now());
    let second = stream.read_u8().await?;
    assert_eq!([first, second], *b"{\"");
    assert!(begin.elapsed() > Duration::from_millis(150));
    Ok(())
}

#[tokio::test]
async fn a_hanging_request_is_open_until_the_client_goes() -> Result<()> {
    let stub = Stub::start(Behaviour::Hang).await?;
    let one = ask(stub.port(), TELEGRAM, None).await?;
    let two = ask(stub.port(), TELEGRAM, None).await?;
    stub.until("two open requests", |counts| counts.open == 2)
        .await?;
    drop((one, two));
    let counts = stub
        .until("both to be given up", |counts| counts.open == 0)
        .await?;
    assert_eq!((counts.max_open, counts.by_behaviour["hang"]), (2, 2));
    Ok(())
}

#[tokio::test]
async fn an_answer_held_back_is_an_answer_about_the_past() -> Result<()> {
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let port = stub.port();
    let next = stub.next_request();
    let held = tokio::spawn(async move { get(port, TELEGRAM).await });
    assert_eq!(next.await?.met, "held");
    stub.set(Behaviour::Disconnected.delayed(Duration::from_millis(1)))
        .await?;
    assert_eq!(get(port, TELEGRAM).await?.1["state"], "DISCONNECTED");
    assert_eq!(stub.counts().open, 1);
    gate.open();
    assert_eq!(held.await??.1["state"], "READY");
    Ok(())
}

#[tokio::test]
async fn the_key_is_judged_and_not_shown() -> Result<()> {
    let stub = Stub::start(Behaviour::Ready).await?;
    get_with(stub.port(), TELEGRAM, Some("anything")).await?;
    stub.expect_key("the-right-key");
    get_with(stub.port(), TELEGRAM, Some("the-right-key")).await?;
    get_with(stub.port(), TELEGRAM, Some("another")).await?;
    get_with(stub.port(), TELEGRAM, None).await?;
    let counts = stub.counts();
    let seen: Vec<_> = counts
        .requests
        .iter()
        .map(|request| request.authorization)
        .collect();
    let expected = [
        Authorization::Unchecked,
        Authorization::Right,
        Authorization::Wrong,
        Authorization::Missing,
    ];
    assert_eq!(seen, expected);
    assert_eq!(counts.with(Authorization::Right), 1);
    assert!(!format!("{counts:?}").contains("the-right-key"));
    Ok(())
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() -> Result<()> {
    let stub = Stub::start(Behaviour::Status(204)).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", stub.port())).await?;
    for number in 1..=3 {
        stream
            .write_all(b"GET /api/v1/telegram/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stub.request(number).await?;
    }
    assert_eq!(stub.counts().connections, 1);
    Ok(())
}

#[tokio::test]
async fn a_fleet_is_cheap() -> Result<()> {
    let fleet = Fleet::start(200, Behaviour::NotListening).await?;
    fleet.set(&Behaviour::Ready).await?;
    for port in fleet.ports() {
        assert_eq!(get(port, TELEGRAM).await?.0, 200);
    }
    assert_eq!(fleet.total(), 200);
    Ok(())
}
