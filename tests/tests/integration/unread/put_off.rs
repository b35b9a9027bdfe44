//! Changes that a look has read and could not answer for.

use super::*;

#[tokio::test]
async fn what_is_put_off_is_not_taken_again_and_its_next_change_is() -> Result<()> {
    let reader = Reader::start().await?;
    let ids = reader.changed(2).await?;
    reader.put_off("c.id = 1").await?;
    let seen = reader.read(&[], 0, (5, 5), &[]).await?;
    ensure!(
        seen.taken == ids[1..] && seen.first_unread == Some(2),
        "{seen:?}"
    );
    let seen = reader.take(0, (5, 5), &[]).await?;
    ensure!(
        seen.taken == ids[1..] && seen.first_unread == Some(2),
        "{seen:?}"
    );

    // Whoever reads it reads all of it.
    reader.change(ids[0], 1).await?;
    let rows = reader.rows(&[], 2, (5, 0), &[]).await?;
    let row = rows
        .iter()
        .find(|row| row.get::<_, Option<Uuid>>("instance_id") == Some(ids[0]));
    let row = row.ok_or_else(|| anyhow::anyhow!("it was not taken"))?;
    let (all, put_off): (Vec<i64>, Vec<i64>) =
        (row.try_get("change_ids")?, row.try_get("put_off_ids")?);
    ensure!(all == [1, 3] && put_off == [1], "{all:?} {put_off:?}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_leads_no_longer_puts_nothing_off() -> Result<()> {
    let reader = Reader::start().await?;
    reader.changed(1).await?;
    let former = "select auth_reconciler.put_off(gen_random_uuid(), array[1::bigint])";
    ensure!(!reader.scene.value::<bool>(former).await?, "it was put off");
    reader
        .scene
        .manager
        .batch_execute("delete from auth_reconciler.leadership")
        .await?;
    ensure!(!reader.scene.value::<bool>(former).await?, "it was put off");
    let unread = "select bool_and(not put_off) from auth_reconciler.change";
    ensure!(reader.scene.value::<bool>(unread).await?, "it is marked");
    Ok(())
}

/// And while somebody takes over, whoever leads is decided first.
#[tokio::test]
async fn nobody_is_waited_for_but_a_take_over() -> Result<()> {
    let reader = Reader::start().await?;
    reader.changed(2).await?;
    let other = database::connect(reader.scene.url()).await?;
    other
        .batch_execute("begin; delete from auth_reconciler.change where id = 1")
        .await?;
    reader
        .scene
        .manager
        .batch_execute("set lock_timeout = '1s'")
        .await?;
    reader.put_off("true").await?;
    other.batch_execute("rollback").await?;
    let marked: Vec<i64> = reader
        .scene
        .value("select array_agg(id) from auth_reconciler.change where put_off")
        .await?;
    ensure!(marked == [2], "{marked:?}");
    other
        .batch_execute("begin; lock table auth_reconciler.leadership in exclusive mode")
        .await?;
    ensure!(reader.put_off("true").await.is_err(), "it did not wait");
    Ok(())
}
