//! The order in which a record does what it does, seen by those who come between its steps: real sessions, one of which
//! is kept waiting in the middle of a record.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::parts::{Fence, Still, record_in};
use crate::scene::eventually;

/// Whoever records by this name waits where this trigger of ours is put.
const SLOW: &str = "slow";

const STALL: &str = "
    create function public.stall() returns trigger language plpgsql as $$ begin
        if current_setting('application_name') = 'slow' then
            perform pg_catalog.pg_advisory_xact_lock(4711);
        end if;
        return new;
    end $$";

/// Somebody waits there.
const STALLED: &str =
    "select exists (
        select from pg_locks as l join pg_database as d on d.oid = l.database
        where d.datname = current_database() and l.locktype = 'advisory' and l.objid = 4711 and not l.granted)";

/// Who keeps a record waiting.
struct Stall(Client);

impl Stall {
    /// Records by the name [`SLOW`] wait at `trigger`. Returns a session that records so.
    async fn at(still: &Still, trigger: &str) -> Result<(Self, Client)> {
        let client = &still.scene.client;
        client
            .batch_execute(&format!(
                "{STALL}; {trigger} execute function public.stall()"
            ))
            .await?;
        // Nobody else waits for a record.
        client.batch_execute("set lock_timeout = '5s'").await?;
        let holder = still.scene.database.client().await?;
        holder
            .batch_execute("select pg_advisory_lock(4711)")
            .await?;
        let slow = still.scene.database.client().await?;
        slow.batch_execute(&format!("set application_name = '{SLOW}'"))
            .await?;
        Ok((Self(holder), slow))
    }

    async fn end(self) -> Result<()> {
        self.0
            .batch_execute("select pg_advisory_unlock(4711)")
            .await?;
        Ok(())
    }
}

/// The manager passes over locked rows when it looks for a free port, so a row is not locked while its verdict is noted; and
/// what changes until it is locked is in no verdict.
#[tokio::test]
async fn a_row_can_be_written_while_its_verdict_is_noted_and_then_the_verdict_is_dropped()
-> Result<()> {
    let still = Still::start().await?;
    let client = &still.scene.client;
    let trigger = "create trigger stall before update on auth_reconciler.instance for each row";
    let (stall, slow) = Stall::at(&still, trigger).await?;
    let fence = still.read().await?;
    let verdict = json!({"auth_status": "failed", "reason": "ApiKeyRejected"});
    let recording = record_in(&slow, still.id, &fence, Some("client_ready"), verdict);
    let meanwhile = async {
        eventually(client, STALLED).await?;
        let written = still
            .scene
            .table
            .save_api_key(client, still.id, Some("another"))
            .await;
        stall.end().await?;
        written
    };
    let (outcome, written) = tokio::join!(recording, meanwhile);
    written?;
    assert_eq!(outcome?, "change");
    let status = still.scene.table.status(client, still.id).await?;
    assert_eq!(status.as_deref(), Some("client_ready"), "of the old key");
    let after = still.read().await?;
    assert_eq!(after.version, fence.version, "nothing is noted");
    assert_eq!(after.changes.len(), 1, "and the change is to be read");
    Ok(())
}

/// As a record of a row that is gone does: nothing is there that could be locked in its place.
async fn forget(client: &Client, id: Uuid, fence: &Fence) -> Result<String> {
    let proposal = json!([{
        "verdict": {"watched_id": 1, "instance_id": id, "version": fence.version}, "changes": fence.changes,
    }]);
    let statement = "select outcome from auth_reconciler.forget_batch($1, 1, $2::text::jsonb)";
    let row = client
        .query_one(statement, &[&fence.epoch, &proposal.to_string()])
        .await?;
    Ok(row.try_get(0)?)
}

/// Before its first record there is no row of ours to be locked, and without a lock of the key the instance of a row
/// that is gone would stay for ever: its changes are answered for.
#[tokio::test]
async fn nobody_forgets_an_instance_that_is_being_recorded_for_the_first_time() -> Result<()> {
    let still = Still::start().await?;
    let client = &still.scene.client;
    let trigger = "create constraint trigger stall after insert on auth_reconciler.instance
        deferrable initially deferred for each row";
    let (stall, slow) = Stall::at(&still, trigger).await?;
    let id = Uuid::new_v4();
    still.scene.table.insert(client, id, None, None).await?;
    let fence = still.read_of(id).await?;
    let verdict = json!({"auth_status": "pending", "reason": "AwaitingApiKey"});
    let recording = record_in(&slow, id, &fence, Some("pending"), verdict);
    let meanwhile = async {
        eventually(client, STALLED).await?;
        still.scene.table.delete(client, id).await?;
        let gone = still.read_of(id).await?;
        let outcome = forget(client, id, &gone).await;
        stall.end().await?;
        outcome
    };
    let (recorded, forgotten) = tokio::join!(recording, meanwhile);
    assert_eq!(forgotten?, "busy");
    assert_eq!(recorded?, "right");
    let gone = still.read_of(id).await?;
    assert_eq!(forget(client, id, &gone).await?, "forgotten");
    let left = "select count(*) from auth_reconciler.instance where instance_id = $1";
    let left: i64 = client.query_one(left, &[&id]).await?.try_get(0)?;
    assert_eq!(left, 0);
    Ok(())
}
