//! Verdicts are recorded together, and each behind its own fence: one that cannot be recorded takes no other with it.

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::stub::{Behaviour, Gate, Stub};
use uuid::Uuid;

use crate::scene::{KEY, Scene};
use crate::unwritable::REFUSED;

/// `failed` for every instance that is recorded, as looks would that have read no change; of the second one another
/// version.
const RECORD: &str = "
    select coalesce(string_agg(r.outcome, ' ' order by r.instance_id), '')
    from auth_reconciler.record_batch(
        (select epoch from auth_reconciler.leadership), 1,
        (select jsonb_agg(jsonb_build_object(
            'verdict', to_jsonb(i) || jsonb_build_object(
                'auth_status', 'failed', 'reason', 'ApiKeyRejected', 'message', 'by hand',
                'version', case when i.instance_id = 'SECOND' then gen_random_uuid() else i.version end),
            'changes', '[]'::jsonb, 'woken_ms', 1, 'trouble_ms', 0)) from auth_reconciler.instance as i),
        '{\"history_per_instance\": 10, \"history_max_age_ms\": 1000000, \"overridden_retry_ms\": 1000}') as r";

/// A daemon has recorded the five that there are, and is gone.
async fn five_recorded(scene: &Scene) -> Result<()> {
    let daemon = Daemon::start(&scene.database, &[]).await?;
    scene
        .eventually("select count(*) = 5 and every(final) from auth_reconciler.instance")
        .await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    Ok(())
}

#[tokio::test]
async fn each_of_a_batch_has_an_outcome_of_its_own() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let mut ids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    ids.sort();
    let port = Some(stub.port());
    for id in &ids {
        scene
            .table
            .insert(&scene.manager, *id, port, Some(KEY))
            .await?;
    }
    five_recorded(&scene).await?;

    let table = &scene.table;
    table
        .save_api_key(&scene.manager, ids[0], Some("another"))
        .await?;
    table.delete(&scene.manager, ids[2]).await?;
    let mut other = scene.database.client().await?;
    let holder = other.transaction().await?;
    table.set(&holder, ids[3], "port_mcp", &Some(1)).await?;
    let record = RECORD.replace("SECOND", &ids[1].to_string());
    let outcomes: String = scene.value(&record).await?;
    assert_eq!(outcomes, "change version gone busy written");
    let failed = "select string_agg(id::text, ' ') from public.message_instances where auth_status = 'failed'";
    let failed: String = scene.value(failed).await?;
    assert_eq!(failed, ids[4].to_string(), "nothing else was written");
    let noted = "select string_agg(instance_id::text, ' ') from auth_reconciler.instance where reason = 'ApiKeyRejected'";
    let noted: String = scene.value(noted).await?;
    assert_eq!(noted, ids[4].to_string(), "nor noted");
    holder.rollback().await?;
    Ok(())
}

/// The manager passes over locked rows when it looks for a free port, so none is locked because a status that was right
/// when it was read is so no longer.
#[tokio::test]
async fn rows_that_somebody_wrote_meanwhile_are_not_locked_for_their_refusal() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    for _ in 0..5 {
        scene.instance(stub.port()).await?;
    }
    five_recorded(&scene).await?;
    scene
        .manager
        .batch_execute("update public.message_instances set auth_status = 'pending'")
        .await?;

    let mut session = scene.database.client().await?;
    let recording = session.transaction().await?;
    // When they were read they said so already.
    let record = RECORD
        .replace("SECOND", &Uuid::nil().to_string())
        .replace("'changes'", "'status', 'failed', 'changes'");
    let outcomes: String = recording.query_one(&record, &[]).await?.try_get(0)?;
    assert_eq!(outcomes, "change change change change change");
    let free = "select count(*) from (select from public.message_instances for update skip locked) as free";
    let free: i64 = scene.value(free).await?;
    assert_eq!(free, 5, "all can be had while the record is under way");
    recording.rollback().await?;
    Ok(())
}

/// One whose status the table refuses, one whose write writes another row of the batch, which the server cannot do in one
/// statement, and one that the manager holds; all of them answered for in the same moment as their neighbours.
#[tokio::test]
async fn what_cannot_be_written_takes_no_neighbour_with_it() -> Result<()> {
    let scene = Scene::shared().await?;
    let gate = Gate::new();
    let stub = Stub::start(Behaviour::Ready.held(&gate)).await?;
    let debug = [("RUST_LOG", "auth_reconciler=debug")];
    let daemon = Daemon::start(&scene.database, &debug).await?;
    let ids: Vec<Uuid> = (0..30).map(|_| Uuid::new_v4()).collect();
    let (refused, meddler, held) = (ids[3], ids[11], ids[17]);
    scene
        .manager
        .batch_execute(&format!(
            "alter table public.message_instances
                add constraint few check (id <> '{refused}' or auth_status <> 'client_ready');
             create function public.meddle() returns trigger language plpgsql as $$ begin
                update public.message_instances set port_mcp = 4711 where port_mcp is null and id not in (new.id, '{held}');
                return new; end $$;
             create trigger meddle before update of auth_status on public.message_instances
                for each row when (new.id = '{meddler}') execute function public.meddle()"
        ))
        .await?;
    for id in &ids {
        let port = Some(stub.port());
        scene
            .table
            .insert(&scene.manager, *id, port, Some(KEY))
            .await?;
    }
    stub.until("all are asked", |counts| counts.open == 30)
        .await?;
    let mut other = scene.database.client().await?;
    let holder = other.transaction().await?;
    scene
        .table
        .set(&holder, held, "account", &Some("held"))
        .await?;
    gate.open();
    scene
        .eventually(
            "select count(*) = 28 from public.message_instances where auth_status = 'client_ready'",
        )
        .await?;
    daemon.wait_message(REFUSED).await?;
    holder.rollback().await?;
    scene
        .eventually(&format!(
            "select every(auth_status = 'client_ready') and count(*) = 29
             from public.message_instances where id <> '{refused}'"
        ))
        .await?;
    let unwritable = "select id::text from auth_reconciler.problems where problem = 'Unwritable'";
    assert_eq!(
        scene.value::<String>(unwritable).await?,
        refused.to_string()
    );
    let failed = daemon.count(|line| line.text.contains("look failed"));
    assert_eq!(failed, 0, "each had its outcome at the first try");
    let together = daemon.count(|line| line.is("recorded together"));
    ensure!(together > 0, "they were recorded one by one");
    let undone = "select count(*) from auth_reconciler.instance where writing is not null";
    assert_eq!(scene.value::<i64>(undone).await?, 0);
    Ok(())
}
