//! Which instances a read takes from the log, and what it tells beside them.

use super::*;

#[tokio::test]
async fn of_an_empty_log_it_is_told_that_it_is() -> Result<()> {
    let reader = Reader::start().await?;
    for seen in [
        reader.read(&[], 0, (6, 2), &[]).await?,
        reader.take(0, (6, 2), &[]).await?,
    ] {
        ensure!(seen.taken.is_empty() && !seen.more, "{seen:?}");
        ensure!(seen.first_unread.is_none() && seen.last_id == 0, "{seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_oldest_and_the_newest_are_taken_each_once_with_all_of_its_changes() -> Result<()> {
    let reader = Reader::start().await?;
    let ids = reader.changed(6).await?;
    // One of them has changed again and again.
    reader.change(ids[2], 5).await?;
    for seen in [
        reader.read(&[], 0, (2, 2), &[]).await?,
        reader.take(0, (2, 2), &[]).await?,
    ] {
        for (place, id) in ids.iter().enumerate() {
            let expected = [0, 1, 2].contains(&place);
            // The newest changes are all of one, and how far behind them another is looked for is no promise.
            let open = place == 5;
            ensure!(
                open || seen.taken.contains(id) == expected,
                "{place}: {seen:?}"
            );
        }
        ensure!(
            seen.taken.len() <= 4 && seen.more,
            "some were left: {seen:?}"
        );
        ensure!(
            seen.first_unread == Some(1) && seen.last_id == 11,
            "{seen:?}"
        );
    }
    let rows = reader.rows(&[], 0, (6, 0), &[]).await?;
    for row in rows {
        if row.try_get::<_, Option<Uuid>>("instance_id")? == Some(ids[2]) {
            let changes: Vec<i64> = row.try_get("change_ids")?;
            ensure!(changes == [3, 7, 8, 9, 10, 11], "{changes:?}");
        }
    }
    let all = reader.read(&[], 0, (12, 2), &[]).await?;
    ensure!(sorted(all.taken.iter().copied()) == sorted(ids), "{all:?}");
    ensure!(!all.more, "none were left");
    Ok(())
}

#[tokio::test]
async fn who_is_asked_for_or_under_way_is_not_taken_and_counts_for_what_is_unread() -> Result<()> {
    let reader = Reader::start().await?;
    let ids = reader.changed(4).await?;
    let seen = reader.read(&ids[..1], 0, (5, 5), &ids[1..2]).await?;
    ensure!(seen.asked == ids[..1], "{seen:?}");
    ensure!(
        sorted(seen.taken.iter().copied()) == sorted(ids[2..].iter().copied()),
        "{seen:?}"
    );
    ensure!(seen.first_unread == Some(1) && !seen.more, "{seen:?}");
    let seen = reader.take(0, (5, 5), &ids[..2]).await?;
    ensure!(
        sorted(seen.taken.iter().copied()) == sorted(ids[2..].iter().copied()),
        "{seen:?}"
    );
    ensure!(seen.first_unread == Some(1) && !seen.more, "{seen:?}");
    // Behind what a read begins after nothing is seen.
    let seen = reader.read(&[], 3, (5, 5), &[]).await?;
    ensure!(
        seen.taken == ids[3..] && seen.first_unread == Some(4),
        "{seen:?}"
    );
    Ok(())
}

#[tokio::test]
async fn without_room_it_is_told_that_there_is_something() -> Result<()> {
    let reader = Reader::start().await?;
    reader.changed(2).await?;
    for seen in [
        reader.read(&[], 0, (0, 0), &[]).await?,
        reader.take(0, (0, 0), &[]).await?,
    ] {
        ensure!(seen.taken.is_empty() && seen.more, "{seen:?}");
    }
    Ok(())
}

/// One that has changed thousands of times keeps nobody else from being taken.
#[tokio::test]
async fn many_changes_of_one_instance_are_left_to_the_next_read() -> Result<()> {
    let reader = Reader::start().await?;
    let mad = Uuid::new_v4();
    reader.change(mad, 5_000).await?;
    let other = reader.changed(1).await?;
    let first = reader.read(&[], 0, (4, 0), &[]).await?;
    ensure!(first.taken == [mad] && first.more, "{first:?}");
    let second = reader.read(&[], 0, (4, 0), &first.taken).await?;
    ensure!(second.taken == other && !second.more, "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_truncation_and_tables_that_are_not_served_bring_nobody() -> Result<()> {
    let reader = Reader::start().await?;
    reader
        .scene
        .manager
        .batch_execute(
            "insert into auth_reconciler.change (watched_id, instance_id, cause)
             values (1, null, 'truncate'), (2, gen_random_uuid(), 'insert')",
        )
        .await?;
    let seen = reader.read(&[], 0, (5, 5), &[]).await?;
    ensure!(seen.taken.is_empty() && !seen.more, "{seen:?}");
    ensure!(seen.first_unread.is_none() && seen.last_id == 2, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn of_several_tables_each_is_taken_by_its_own_name() -> Result<()> {
    let reader = Reader::start().await?;
    let both = Uuid::new_v4();
    reader
        .scene
        .manager
        .execute(
            "insert into auth_reconciler.change (watched_id, instance_id, cause)
             select w, $1, 'insert' from generate_series(1, 3) as w",
            &[&both],
        )
        .await?;
    let rows = reader
        .session
        .query(
            &reader.take,
            &[
                &vec![1_i32, 2, 7],
                &vec![2_i32],
                &0_i64,
                &5_i64,
                &5_i64,
                &vec![both],
            ],
        )
        .await?;
    let seen = Seen::of(&rows, 5)?;
    ensure!(seen.taken == [both], "{seen:?}");
    let taken = rows
        .iter()
        .find_map(|row| row.get::<_, Option<i32>>("watched_id"));
    ensure!(taken == Some(1), "{taken:?}");
    ensure!(seen.first_unread == Some(1), "{seen:?}");
    Ok(())
}

/// Who may still bring something below the last number: he is in the snapshot, also as the newest of all.
#[tokio::test]
async fn whoever_has_drawn_a_number_and_not_committed_is_told() -> Result<()> {
    let reader = Reader::start().await?;
    let id = reader.scene.instance(1).await?;
    reader
        .scene
        .manager
        .batch_execute("delete from auth_reconciler.change")
        .await?;
    for act in [
        format!("update public.message_instances set account = 'late' where id = '{id}'"),
        format!("select auth_reconciler.reconcile('{id}')"),
        "select auth_reconciler.reconcile_all()".to_owned(),
    ] {
        let late = database::connect(reader.scene.url()).await?;
        late.batch_execute(&format!("begin; {act}")).await?;
        let own: i64 = late
            .query_one("select pg_current_xact_id()::text::bigint", &[])
            .await?
            .try_get(0)?;
        let before: i64 = reader.scene.value("select max(id) from (select 0 as id union all select id from auth_reconciler.change) as c").await?;
        for seen in [
            reader.read(&[], 0, (5, 5), &[]).await?,
            reader.take(0, (5, 5), &[]).await?,
        ] {
            ensure!(seen.knows(own)?, "{own} is not in {seen:?}");
            ensure!(seen.last_id > before && seen.taken.is_empty(), "{seen:?}");
        }
        late.batch_execute("commit").await?;
        let seen = reader.read(&[], 0, (5, 5), &[]).await?;
        ensure!(seen.taken == [id], "{act}: {seen:?}");
        reader
            .scene
            .manager
            .batch_execute("delete from auth_reconciler.change")
            .await?;
    }
    Ok(())
}
