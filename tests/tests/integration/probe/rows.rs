//! What a row may hold: keys that cannot be sent, ports that are none, providers that nobody knows.
//!
//! That nothing was sent is shown behind a barrier: the instance is looked at once more, that look is recorded, and the
//! API behind its port still has not seen a connection.

use anyhow::{Result, ensure};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Authorization, Behaviour, Stub};
use uuid::Uuid;

use crate::stage::Stage;

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_never_sent() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let huge = "k".repeat(100_000);
    let too_long = "k".repeat(8193);
    let keys = [
        ("se-cret\r\nX-Injected: yes", "header cannot carry"),
        (
            "se-cret\r\n\r\nGET /api/v1/injected HTTP/1.1",
            "header cannot carry",
        ),
        ("se-cret\nX-Injected: yes", "header cannot carry"),
        ("se-cret\r", "header cannot carry"),
        ("se-cret\tb", "header cannot carry"),
        ("se-cret\u{1b}[31m", "header cannot carry"),
        ("se-cret\u{7f}", "header cannot carry"),
        ("se-crät", "header cannot carry"),
        ("se-cret🔑", "header cannot carry"),
        (" se-cret", "blank"),
        ("se-cret ", "blank"),
        (&too_long, "longer than 8192"),
        (&huge, "longer than 8192"),
    ];
    for (key, message) in keys {
        let stub = Stub::start(Behaviour::Ready).await?;
        let id = stage.telegram(stub.port(), key).await?;
        let seen = stage.expect(id, Some("failed"), "InvalidApiKey").await?;
        ensure!(seen.message.contains(message), "{seen:?}");
        ensure!(!seen.again && seen.trouble, "{seen:?}");
        stage.look_again(id, "InvalidApiKey").await?;
        ensure!(
            stub.counts().connections == 0,
            "a connection was made with a key that {message}"
        );
        // With a key that can be sent, the instance is as good as any.
        stub.expect_key("a-key");
        stage
            .table
            .save_api_key(&stage.client, id, Some("a-key"))
            .await?;
        stage.expect(id, Some("client_ready"), "Ready").await?;
        ensure!(stub.request(1).await?.authorization == Authorization::Right);
    }
    ensure!(
        !stage.daemon.output().contains("se-cr") && !stage.daemon.output().contains("kkkk"),
        "a part of a key is in the log"
    );
    stage.ensure_unharmed()?;
    stage.close().await
}

#[tokio::test]
async fn an_empty_key_is_no_key() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "").await?;
    let seen = stage.expect(id, Some("pending"), "AwaitingApiKey").await?;
    ensure!(!seen.again && !seen.trouble, "{seen:?}");
    stage.look_again(id, "AwaitingApiKey").await?;
    ensure!(stub.counts().connections == 0, "it was asked without a key");
    stage.close().await
}

#[tokio::test]
async fn a_port_that_is_none_is_a_verdict() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    for port in [0, -1, 65536, 70_000, i32::MIN, i32::MAX] {
        let id = Uuid::new_v4();
        stage
            .table
            .insert_provider(&stage.client, id, "telegram", Some(port), Some("a-key"))
            .await?;
        let seen = stage.expect(id, Some("failed"), "InvalidPort").await?;
        ensure!(seen.message.contains(&port.to_string()), "{seen:?}");
        ensure!(!seen.again && seen.trouble, "{seen:?}");
        let right = Some(i32::from(stub.port()));
        stage.table.set_port(&stage.client, id, right).await?;
        stage.expect(id, Some("client_ready"), "Ready").await?;
    }
    let id = Uuid::new_v4();
    stage
        .table
        .insert(&stage.client, id, None, Some("a-key"))
        .await?;
    let seen = stage
        .expect(id, Some("pending"), "AwaitingContainer")
        .await?;
    ensure!(!seen.again && !seen.trouble, "{seen:?}");
    stage.ensure_unharmed()?;
    stage.close().await
}

/// A table whose column `port_api` has this type, and a way to insert into it.
async fn typed(column: &str) -> Result<(Stage, String)> {
    let table = ManagerTable::message_instances();
    let name = table.name().to_owned();
    let change = format!("alter table {name} alter port_api type {column}");
    let insert = format!(
        "insert into {name} (id, provider, port_api, api_key, type_instance)
         values ($1, 'telegram', $2::bigint::{column}, 'a-key', '{{api}}')"
    );
    Ok((Stage::serving(table, &change, &[]).await?, insert))
}

#[tokio::test]
async fn a_bigint_port_is_read_whole() -> Result<()> {
    let (stage, insert) = typed("bigint").await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = Uuid::new_v4();
    stage
        .client
        .execute(&insert, &[&id, &i64::from(stub.port())])
        .await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    // The second one would be the stub's port if its upper half were cut off.
    for port in [5_000_000_000, i64::from(stub.port()) + (1 << 32)] {
        let other = Uuid::new_v4();
        stage.client.execute(&insert, &[&other, &port]).await?;
        let seen = stage.expect(other, Some("failed"), "InvalidPort").await?;
        ensure!(seen.message.contains(&port.to_string()), "{seen:?}");
    }
    stage.close().await
}

#[tokio::test]
async fn a_smallint_port_is_read() -> Result<()> {
    let (stage, insert) = typed("smallint").await?;
    let id = Uuid::new_v4();
    // Nobody listens on port 1: that somebody was asked is all that a port of two bytes can be sure to show.
    stage.client.execute(&insert, &[&id, &1_i64]).await?;
    let seen = stage.expect(id, Some("pending"), "ApiStarting").await?;
    ensure!(seen.message.contains("refuses"), "{seen:?}");
    stage.close().await
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone_and_said_so() -> Result<()> {
    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let insert = format!(
        "insert into {} (id, provider, port_api, api_key, auth_status, type_instance)
         values ($1, $2, $3, 'a-key', $4, $5)",
        stage.table.name()
    );
    let api = || vec!["api".to_owned()];
    let long = format!("carrier pigeon\n{}", "x".repeat(300));
    let cases: [(Option<&str>, Vec<String>, &str, &str); 5] = [
        (
            Some("carrier-pigeon"),
            api(),
            "UnsupportedProvider",
            "carrier-pigeon",
        ),
        (
            Some(&long),
            api(),
            "UnsupportedProvider",
            "carrier pigeonxxx",
        ),
        (Some(""), api(), "UnsupportedProvider", "\"\""),
        (None, api(), "UnsupportedProvider", "no provider"),
        (
            Some("telegram"),
            vec!["mcp".to_owned()],
            "UnsupportedType",
            "not of type api",
        ),
    ];
    for (provider, types, reason, message) in cases {
        for status in [Some("a word of theirs"), None] {
            let id = Uuid::new_v4();
            stage
                .client
                .execute(
                    &insert,
                    &[&id, &provider, &i32::from(stub.port()), &status, &types],
                )
                .await?;
            let seen = stage.expect(id, status, reason).await?;
            ensure!(
                seen.message.contains(message) && seen.message.len() < 200,
                "{seen:?}"
            );
            ensure!(!seen.again && !seen.trouble, "{seen:?}");
        }
    }
    ensure!(stub.counts().connections == 0, "it was asked all the same");
    let left: i64 = stage
        .client
        .query_one("select count(*) from auth_reconciler.change", &[])
        .await?
        .try_get(0)?;
    ensure!(left == 0, "{left} changes stay unanswered for ever");
    stage.ensure_unharmed()?;
    stage.close().await
}
