//! Every answer that an instance's API can give, and the verdict that an operator sees of it.
//!
//! One daemon serves all of them at once, and a healthy instance beside them: a bad answer is nobody else's trouble.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::stub::{Authorization, Behaviour, Provider, Stub};
use uuid::Uuid;

use crate::stage::Stage;

/// More than this of a body is not read.
const BODY_CAP: usize = 64 * 1024;

/// Answers that never come in whole are to be given up soon.
const IMPATIENT: [(&str, &str); 1] = [("AUTH_RECONCILER_PROBE_TIMEOUT", "500ms")];

/// A behaviour, the status and the reason that it leads to, and a part of the message.
type Case = (Behaviour, &'static str, &'static str, &'static str);

fn text(status: u16, content_type: &'static str, text: &str) -> Behaviour {
    Behaviour::Body {
        status,
        content_type,
        bytes: text.as_bytes().to_vec(),
    }
}

/// A READY answer of exactly so many bytes.
fn padded(size: usize) -> Behaviour {
    let (head, tail) = (r#"{"state":"READY","info":{"id":1},"pad":""#, r#""}"#);
    let pad = "x".repeat(size - head.len() - tail.len());
    Behaviour::json(&format!("{head}{pad}{tail}"))
}

fn cases() -> Vec<Case> {
    [in_its_words(), by_status(), malformed(), unheard()].concat()
}

/// What the profile of the provider knows.
fn in_its_words() -> Vec<Case> {
    vec![
        (Behaviour::Ready, "client_ready", "Ready", "READY"),
        (padded(BODY_CAP), "client_ready", "Ready", "READY"),
        (
            Behaviour::Disconnected,
            "pending",
            "TelegramConnecting",
            "not connected",
        ),
    ]
}

/// What its status code says alone.
fn by_status() -> Vec<Case> {
    let status = Behaviour::Status;
    vec![
        (status(401), "failed", "ApiKeyRejected", "401"),
        (status(403), "failed", "ApiKeyRejected", "403"),
        (status(404), "pending", "ApiNotFound", "404"),
        (status(429), "pending", "ApiClientError", "429"),
        (status(500), "pending", "ApiServerError", "500"),
        (status(503), "pending", "ApiServerError", "503"),
        (status(204), "pending", "ApiMalformed", "204"),
    ]
}

/// A body that is not what the profile reads.
fn malformed() -> Vec<Case> {
    let json = Behaviour::json;
    let bodies = [
        (text(200, "text/html", "<html>"), "not JSON"),
        (text(200, "application/json", ""), "not JSON"),
        // 60 kB of open brackets: within the cap, and no reason to overflow a stack.
        (json(&"[".repeat(60_000)), "not JSON"),
        (json("[]"), "not a JSON object"),
        (json(r#""READY""#), "not a JSON object"),
        (json(r#"{"state":7}"#), "not a string"),
        (json("{}"), "no `state`"),
        (Behaviour::ReadyWithoutInfo, "who it is"),
        (json(r#"{"state":"READY","info":null}"#), "who it is"),
    ];
    bodies
        .map(|(body, message)| (body, "pending", "ApiMalformed", message))
        .to_vec()
}

/// No answer, or none that comes to its end.
fn unheard() -> Vec<Case> {
    let starting = |behaviour, message| (behaviour, "pending", "ApiStarting", message);
    vec![
        starting(Behaviour::NotListening, "refuses"),
        starting(Behaviour::AcceptThenReset, "closes the connection"),
        starting(Behaviour::SlowDrip, "in time"),
        starting(Behaviour::SlowHeaders, "in time"),
        starting(Behaviour::Hang, "in time"),
        (padded(BODY_CAP + 1), "pending", "ApiTooLarge", "65536"),
    ]
}

#[tokio::test]
async fn every_answer_has_its_verdict_and_harms_nobody_else() -> Result<()> {
    let stage = Stage::start(&IMPATIENT).await?;
    let mut instances = Vec::new();
    for (behaviour, status, reason, message) in cases() {
        let name = behaviour.name();
        let stub = Stub::start(behaviour).await?;
        let id = stage.telegram(stub.port(), "a-key").await?;
        instances.push((stub, id, name, status, reason, message));
    }
    for (stub, id, name, status, reason, message) in &instances {
        let seen = stage.expect(*id, Some(*status), reason).await;
        let seen = seen.with_context(|| format!("an answer {name}"))?;
        ensure!(
            seen.message.contains(message),
            "{name}: {:?} was to contain {message:?}",
            seen.message
        );
        let final_one = matches!(*reason, "Ready" | "ApiKeyRejected");
        ensure!(seen.again != final_one, "{name}: {seen:?}");
        ensure!(seen.trouble == (*status == "failed"), "{name}: {seen:?}");
        // Whatever it answered, it recovers as soon as it is asked once more.
        stub.set(Behaviour::Ready).await?;
        stage
            .client
            .execute("select auth_reconciler.reconcile($1)", &[id])
            .await?;
        stage.expect(*id, Some("client_ready"), "Ready").await?;
    }
    stage.ensure_unharmed()?;
    stage.close().await
}

#[tokio::test]
async fn an_error_of_telegram_counts_when_it_is_repeated() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    stub.set(Behaviour::Error).await?;
    let first = stage.recorded(stage.daemon.mark(), id, "TelegramError");
    stage
        .client
        .execute("select auth_reconciler.reconcile($1)", &[&id])
        .await?;
    let first = first.await?;
    ensure!(
        first.is("status is right") && first.has("status", "client_ready"),
        "once is a hiccup: {}",
        first.text
    );
    let second = stage
        .daemon
        .wait_line(
            stage.daemon.mark(),
            "the second error to be believed",
            |line| line.is("status written") && line.has("to", "failed"),
        )
        .await?;
    ensure!(second.has("reason", "TelegramError"), "{}", second.text);
    ensure!(stage.seen(id).await?.trouble);
    stage.close().await
}

#[tokio::test]
async fn whatsapp_has_a_path_and_states_of_its_own() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let cases = [
        (Behaviour::Ready, "client_ready", "Ready"),
        (Behaviour::Authenticated, "authenticated", "Authenticated"),
        (Behaviour::Qr, "qr_ready", "AwaitingScan"),
        (Behaviour::Disconnected, "pending", "WhatsappConnecting"),
        (Behaviour::ReadyWithoutInfo, "pending", "ApiMalformed"),
        // A Telegram bot's proof proves nothing here.
        (
            Behaviour::json(r#"{"state":"READY","info":{"id":1,"isBot":true}}"#),
            "pending",
            "ApiMalformed",
        ),
    ];
    for (behaviour, status, reason) in cases {
        let stub = Stub::start_for(Provider::WhatsAppWeb, behaviour).await?;
        stub.expect_key("a-key");
        let id = Uuid::new_v4();
        let port = Some(i32::from(stub.port()));
        stage
            .table
            .insert_provider(&stage.client, id, "whatsappweb", port, Some("a-key"))
            .await?;
        let seen = stage.expect(id, Some(status), reason).await?;
        ensure!(seen.again == (status != "client_ready"), "{seen:?}");
        let request = stub.request(1).await?;
        ensure!(request.path == "/api/v1/status", "asked {}", request.path);
        ensure!(request.authorization == Authorization::Right);
    }
    stage.close().await
}

/// A phone takes minutes to synchronise; the limit of the others is not its own.
#[tokio::test]
async fn whatsapp_has_a_limit_of_its_own_for_not_being_connected() -> Result<()> {
    let stage = Stage::start(&[
        ("AUTH_RECONCILER_NOT_CONNECTED_LIMIT", "1ms"),
        ("AUTH_RECONCILER_WHATSAPP_NOT_CONNECTED_LIMIT", "2s"),
    ])
    .await?;
    let stub = Stub::start_for(Provider::WhatsAppWeb, Behaviour::Disconnected).await?;
    let id = Uuid::new_v4();
    let port = Some(i32::from(stub.port()));
    stage
        .table
        .insert_provider(&stage.client, id, "whatsappweb", port, Some("a-key"))
        .await?;
    stage.recorded(0, id, "WhatsappConnecting").await?;
    let seen = stage
        .expect(id, Some("failed"), "WhatsappNotConnected")
        .await?;
    ensure!(!seen.message.contains("restart"), "{seen:?}");
    let waited: f64 = stage
        .client
        .query_one(
            "select extract(epoch from at - first_miss_at)::float8
             from auth_reconciler.transitions as t join auth_reconciler.instance as i using (instance_id)
             where to_status = 'failed'",
            &[],
        )
        .await?
        .try_get(0)?;
    ensure!(waited >= 2.0, "failed after {waited} s");
    stage.close().await
}

#[tokio::test]
async fn a_redirect_carries_the_key_nowhere() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let elsewhere = Stub::start(Behaviour::Ready).await?;
    let path = "/api/v1/telegram/status";
    let location = format!("http://127.0.0.1:{}{path}", elsewhere.port());
    for status in [301, 302, 307, 308] {
        // The stub's own redirect is a 302; the others are bodies without a location, and the verdict is the same.
        let behaviour = match status {
            302 => Behaviour::Redirect(location.clone()),
            _ => Behaviour::Status(status),
        };
        let stub = Stub::start(behaviour).await?;
        let id = stage.telegram(stub.port(), "a-key").await?;
        let seen = stage.expect(id, Some("pending"), "ApiRedirected").await?;
        ensure!(seen.message.contains("not followed"), "{seen:?}");
        // Each further look of the backoff is another temptation.
        stub.request(3).await?;
    }
    ensure!(
        elsewhere.counts().connections == 0,
        "somebody followed the redirect"
    );
    stage.close().await
}

#[tokio::test]
async fn the_key_arrives_as_bearer_and_a_new_one_replaces_it() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    // As long as a key may be, with every kind of character that a header can carry.
    let long: String = (0x21..0x7f_u8).cycle().take(8192).map(char::from).collect();
    stub.expect_key(&long);
    let id = stage.telegram(stub.port(), &long).await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    ensure!(stub.request(1).await?.authorization == Authorization::Right);
    stub.expect_key("inner blank");
    let next = stub.next_request();
    stage
        .table
        .save_api_key(&stage.client, id, Some("inner blank"))
        .await?;
    ensure!(next.await?.authorization == Authorization::Right);
    // Parts of both keys that stay as they are in JSON.
    for part in ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "inner blank"] {
        ensure!(
            !stage.daemon.output().contains(part),
            "a part of a key is in the log"
        );
    }
    stage.close().await
}
