//! What rings: the first row of a transaction, by its key.

use super::*;
use crate::scene::Eavesdropper;

#[tokio::test]
async fn the_first_row_of_a_transaction_is_told() -> Result<()> {
    let reader = Reader::start().await?;
    let scene = &reader.scene;
    let heard = Eavesdropper::start(scene).await?;
    let ids = sorted((0..5).map(|_| Uuid::new_v4()));
    let insert = |id: &Uuid| format!("insert into public.message_instances (id) values ('{id}')");
    // What is undone rings for nobody, and what comes then is the first.
    scene
        .manager
        .batch_execute(&format!(
            "begin; savepoint s; {}; {}; rollback to s; {}; {}; savepoint t; {}; release t; commit;
             truncate public.message_instances;
             select auth_reconciler.ask(1, '{}', 'the last')",
            insert(&ids[0]),
            insert(&ids[1]),
            insert(&ids[2]),
            insert(&ids[3]),
            insert(&ids[4]),
            ids[0],
        ))
        .await?;
    heard.hears(&format!("1/{}/operator", ids[0])).await?;
    let expected = [
        format!("1/{}/insert", ids[2]),
        "scan".to_owned(),
        format!("1/{}/operator", ids[0]),
    ];
    ensure!(heard.payloads() == expected, "{:?}", heard.payloads());
    Ok(())
}

/// A fact and the status in one statement: both are told, as people who listen know it.
#[tokio::test]
async fn of_the_first_row_all_that_happened_is_told() -> Result<()> {
    let reader = Reader::start().await?;
    let scene = &reader.scene;
    let id = scene.instance(1).await?;
    let heard = Eavesdropper::start(scene).await?;
    scene
        .manager
        .batch_execute(
            "update public.message_instances set api_key = 'another', auth_status = 'failed'",
        )
        .await?;
    heard.hears(&format!("1/{id}/drift")).await?;
    let expected = [format!("1/{id}/api_key"), format!("1/{id}/drift")];
    ensure!(heard.payloads() == expected, "{:?}", heard.payloads());
    Ok(())
}
