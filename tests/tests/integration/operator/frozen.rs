//! A leader that hears and does not move: guard must not hide the truth behind it, and a standby takes its place.

use anyhow::Result;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use super::guard::{GUARD, write};
use super::value;
use crate::arena::Scene;

#[tokio::test]
async fn guard_ends_for_a_row_whose_write_nobody_answers_for_until_a_look_has() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let (one, other) = (scene.instance(&stub).await?, scene.instance(&stub).await?);
    let client = &scene.client;
    value::<String>(client, GUARD).await?;
    scene.daemon.signal("STOP")?;
    for _ in 0..2 {
        let returned = write(client, one, "failed").await?;
        assert_eq!(returned.as_deref(), Some("client_ready"), "put aside");
    }
    // As if it had been a while ago: nobody sleeps here.
    let earlier = "update auth_reconciler.change set changed_at = changed_at - interval '6 s'";
    client.batch_execute(earlier).await?;
    for status in ["failed", "pending"] {
        let returned = write(client, one, status).await?;
        assert_eq!(returned.as_deref(), Some(status), "goes through");
    }
    let returned = write(client, other, "failed").await?;
    assert_eq!(returned.as_deref(), Some("client_ready"), "another row");

    let mark = scene.records.mark();
    scene.daemon.signal("CONT")?;
    scene.records.reason(mark, one, "Ready").await?;
    crate::scene::eventually(
        client,
        "select not exists (select from auth_reconciler.change)",
    )
    .await?;
    let returned = write(client, one, "failed").await?;
    assert_eq!(returned.as_deref(), Some("client_ready"), "kept again");
    Ok(())
}
