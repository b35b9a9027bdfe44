//! A read of the log costs the same however long it is, and whatever it was when the session began.

use super::*;

const RUN_READ: &str = "read (1, '{}', AFTER, 6, 2, '{}')";

const RUN_TAKE: &str = "take ('{1}', '{}', AFTER, 6, 2, '{}')";

/// A session with both statements, and plans for them.
async fn begun(reader: &Reader) -> Result<Client> {
    let oid: u32 = reader
        .scene
        .value("select 'public.message_instances'::regclass::oid")
        .await?;
    let session = database::connect(reader.scene.url()).await?;
    session
        .batch_execute(&format!(
            "{SESSION};
             prepare read (integer, uuid[], bigint, bigint, bigint, uuid[]) as {};
             prepare take (integer[], integer[], bigint, bigint, bigint, uuid[]) as {}",
            reading_with_log(oid),
            TAKE,
        ))
        .await?;
    for statement in [RUN_READ, RUN_TAKE] {
        pages(&session, statement, 0).await?;
    }
    Ok(session)
}

/// Pages that a read reads which begins after this number.
async fn pages(session: &Client, statement: &str, after: i64) -> Result<i64> {
    let statement = statement.replace("AFTER", &after.to_string());
    let explained = format!("explain (analyze, buffers, format json) execute {statement}");
    let row = session.query_one(&explained, &[]).await?;
    let plan: serde_json::Value = row.try_get(0)?;
    let read = |name: &str| plan[0]["Plan"][name].as_i64().context("pages");
    Ok(read("Shared Hit Blocks")? + read("Shared Read Blocks")?)
}

/// Whatever the log was when these sessions began, such a read reads fewer pages than that.
async fn reads_less_than(limit: i64, sessions: [(&Client, &str); 2], after: i64) -> Result<()> {
    for (session, which) in sessions {
        for statement in [RUN_READ, RUN_TAKE] {
            let pages = pages(session, statement, after).await?;
            ensure!(pages < limit, "{which}: {pages} pages for {statement}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_read_costs_as_little_with_a_million_unread_changes() -> Result<()> {
    let reader = Reader::start().await?;
    let began_empty = begun(&reader).await?;
    reader.backlog(1_000_000).await?;
    reader
        .scene
        .manager
        .batch_execute(
            "-- Of a table that nobody serves, and so read by nobody.
             insert into auth_reconciler.change (watched_id, instance_id, cause)
             select 2, gen_random_uuid(), 'api_key' from generate_series(1, 100000);
             analyze auth_reconciler.change",
        )
        .await?;
    let began_full = begun(&reader).await?;
    reads_less_than(500, [(&began_empty, "empty"), (&began_full, "full")], 0).await?;
    Ok(())
}

/// As after hours in which nobody could be asked.
#[tokio::test]
async fn a_read_costs_as_little_behind_any_number_of_changes_that_were_put_off() -> Result<()> {
    let reader = Reader::start().await?;
    let began_empty = begun(&reader).await?;
    reader.backlog(100_000).await?;
    let manager = &reader.scene.manager;
    manager
        .batch_execute("update auth_reconciler.change set put_off = true")
        .await?;
    let fresh = reader.changed(1).await?;
    reader
        .scene
        .manager
        .batch_execute("vacuum analyze auth_reconciler.change")
        .await?;
    let began_full = begun(&reader).await?;
    reads_less_than(200, [(&began_empty, "empty"), (&began_full, "full")], 0).await?;
    let seen = reader.read(&[], 0, (6, 2), &[]).await?;
    ensure!(seen.taken == fresh && !seen.more, "{seen:?}");
    Ok(())
}

/// A fresh change waits behind no backlog.
#[tokio::test]
async fn the_newest_is_taken_before_a_backlog_is_worked_off() -> Result<()> {
    let reader = Reader::start().await?;
    reader.backlog(10_000).await?;
    let fresh = reader.changed(1).await?;
    let seen = reader.read(&[], 0, (6, 2), &[]).await?;
    ensure!(seen.taken.contains(&fresh[0]), "{seen:?}");
    ensure!(seen.taken.len() == 8 && seen.more, "{seen:?}");
    Ok(())
}

/// Which no vacuum clears away while anybody has an old snapshot.
#[tokio::test]
async fn a_read_that_begins_behind_what_was_answered_for_does_not_walk_over_it() -> Result<()> {
    let reader = Reader::start().await?;
    let began_empty = begun(&reader).await?;
    let old = database::connect(reader.scene.url()).await?;
    old.batch_execute("begin isolation level repeatable read; select 1")
        .await?;
    reader.backlog(200_000).await?;
    let manager = &reader.scene.manager;
    manager
        .batch_execute("delete from auth_reconciler.change")
        .await?;
    let fresh = reader.changed(1).await?;
    let began_full = begun(&reader).await?;
    reads_less_than(
        200,
        [(&began_empty, "empty"), (&began_full, "full")],
        200_000,
    )
    .await?;
    let seen = reader.read(&[], 200_000, (6, 2), &[]).await?;
    ensure!(seen.taken == fresh, "{seen:?}");
    // What begins before it finds the same.
    let seen = reader.read(&[], 0, (6, 2), &[]).await?;
    ensure!(seen.taken == fresh, "{seen:?}");
    Ok(())
}
