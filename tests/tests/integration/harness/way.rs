//! The recorded way to an engine, and the fake engine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::docker::recorder::{Recorder, Way};
use auth_reconciler_tests::patience::{PATIENCE, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn socket(url: &str) -> PathBuf {
    PathBuf::from(url.trim_start_matches("unix://"))
}

async fn send(socket: &Path, request: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Reads until `text` has come; what has come so far if the connection ends first.
#[track_caller]
fn read_until(stream: &mut UnixStream, text: &str) -> impl Future<Output = Result<String>> {
    let caller = std::panic::Location::caller();
    let mut bytes = Vec::new();
    async move {
        let read = async {
            while !String::from_utf8_lossy(&bytes).contains(text) {
                match stream.read_u8().await {
                    Ok(byte) => bytes.push(byte),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(within(PATIENCE, caller, text, read).await??)
    }
}

#[tokio::test]
async fn every_request_is_written_down_also_on_a_kept_connection() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let through = Engine::at(&recorder.url()).await?;
    assert_eq!(through.id().await?, engine.id().await?);

    // Two requests on one connection, the first with a body that looks like one itself.
    let body = "GET /not-asked HTTP/1.1\r\n\r\n";
    let requests = format!(
        "POST /first?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}\
         GET /_ping?second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = send(&socket(&recorder.url()), &requests).await?;
    read_until(&mut stream, "\r\n\r\nOK").await?;
    let asked = recorder.asked();
    let asked: Vec<_> = (asked.iter().skip(1))
        .map(|one| format!("{} {}", one.method, one.path))
        .collect();
    assert_eq!(asked, ["GET /info", "POST /first?a=b", "GET /_ping?second"]);
    assert_eq!((recorder.count("second"), recorder.connections()), (1, 3));
    Ok(())
}

#[tokio::test]
async fn a_way_is_cut_stalled_refused_missing_and_mended() -> Result<()> {
    let engine = Engine::shared().await?;
    let recorder = Recorder::start(engine.socket()).await?;
    let path = socket(&recorder.url());
    let events = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = send(&path, events).await?;
    read_until(&mut stream, "\r\n\r\n").await?;
    assert_eq!(recorder.open(), 1);
    recorder.cut_all().await?;
    assert_eq!(recorder.open(), 0);
    assert_eq!(read_until(&mut stream, "never").await?, "", "it has ended");

    recorder.set(Way::Stall).await?;
    let mut stalled = send(&path, "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let nothing = tokio::time::timeout(Duration::from_millis(200), stalled.read_u8()).await;
    assert!(nothing.is_err(), "nothing comes through");
    recorder.set(Way::Pass).await?;
    assert!(read_until(&mut stalled, "OK\r\n").await?.contains("200 OK"));

    for (way, kind) in [
        (Way::Refuse, ErrorKind::ConnectionRefused),
        (Way::Missing, ErrorKind::NotFound),
    ] {
        recorder.set(way).await?;
        let refused = UnixStream::connect(&path).await.err().context("refused")?;
        assert_eq!(refused.kind(), kind);
        recorder.set(Way::Pass).await?;
        Engine::at(&recorder.url()).await?;
    }
    let before = recorder.asked().len();
    let more = recorder.until("one more request", |asked| asked.len() > before);
    Engine::at(&recorder.url()).await?;
    more.await
}

#[tokio::test]
async fn a_fake_says_what_it_is_told_and_counts() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let engine = Engine::at(&fake.url()).await?;
    assert_eq!(engine.id().await?, "FAKE:ENGINE");
    fake.list(json!([{"Id": "abc"}]));
    assert_eq!(
        engine.get("/v1.41/containers/json?all=1").await?[0]["Id"],
        "abc"
    );
    let refused = engine
        .get("/containers/abc/json")
        .await
        .err()
        .context("404")?;
    assert!(format!("{refused:#}").contains("page not found"));
    fake.reply("/info", Reply::Json(500, json!({"message": "no"})));
    assert!(engine.id().await.is_err());
    fake.reply("/info", Reply::Close);
    assert!(engine.id().await.is_err());
    fake.reply("/info", Reply::Silence);
    let silent = tokio::time::timeout(Duration::from_millis(100), engine.id()).await;
    assert!(silent.is_err());
    let seen = fake.seen();
    assert_eq!((seen.count("/info"), seen.connections), (4, 7));

    fake.serve(false);
    let deaf = tokio::time::timeout(Duration::from_millis(100), engine.get("/version")).await;
    assert!(deaf.is_err());
    Ok(())
}

#[tokio::test]
async fn a_fake_streams_byte_for_byte_and_ends_as_told() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let path = socket(&fake.url());
    let request = "GET /v1.41/events?x HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = send(&path, request).await?;
    fake.until("the stream", |seen| seen.open("/") == 1).await?;
    fake.send("/events", r#"{"Type":"#);
    read_until(&mut stream, "8\r\n{\"Type\":\r\n").await?;
    fake.send("/logs", "of another stream");
    fake.send("/events", "garbage");
    assert_eq!(
        read_until(&mut stream, "garbage\r\n").await?,
        "7\r\ngarbage\r\n"
    );
    fake.end("/events");
    assert_eq!(read_until(&mut stream, "0\r\n\r\n").await?, "0\r\n\r\n");
    fake.until("the stream's end", |seen| seen.open("/") == 0)
        .await?;
    // The connection is kept; the next stream is cut.
    stream.write_all(request.as_bytes()).await?;
    fake.until("the next stream", |seen| seen.open("/") == 1)
        .await?;
    fake.send("/events", "{");
    fake.cut("/events");
    let rest = read_until(&mut stream, "never").await?;
    assert!(rest.ends_with("1\r\n{\r\n"), "no end in it");
    assert_eq!(
        (fake.seen().connections, fake.seen().count("/events")),
        (1, 2)
    );
    Ok(())
}
