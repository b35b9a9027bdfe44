//! The three parts of the fence, each alone: a record in which everything else is right is refused by it.
//!
//! One process never runs a key twice at once, so these call the SQL by hand, as a slow process would.

use anyhow::Result;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use serde_json::json;
use uuid::Uuid;

use crate::arena::Scene;

/// Everything that a look read, with which its record is fenced.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    pub(super) epoch: Uuid,
    pub(super) version: Option<Uuid>,
    pub(super) changes: Vec<i64>,
}

/// A scene whose daemon has recorded `client_ready` and is gone, so that nobody else acts.
pub(super) struct Still {
    pub(super) scene: Scene,
    pub(super) id: Uuid,
}

impl Still {
    pub(super) async fn start() -> Result<Self> {
        let scene = Scene::start(&[]).await?;
        let stub = Stub::start(Behaviour::Ready).await?;
        let id = scene.instance(&stub).await?;
        scene.daemon.sigterm()?;
        scene.daemon.ended().await?;
        Ok(Self { scene, id })
    }

    /// What a look that begins now reads.
    pub(super) async fn read(&self) -> Result<Fence> {
        let statement = "
            select (select epoch from auth_reconciler.leadership),
                (select version from auth_reconciler.instance where instance_id = $1),
                (select coalesce(array_agg(id), '{}') from auth_reconciler.change where instance_id = $1)";
        let row = self.scene.client.query_one(statement, &[&self.id]).await?;
        Ok(Fence {
            epoch: row.try_get(0)?,
            version: row.try_get(1)?,
            changes: row.try_get(2)?,
        })
    }

    /// Records `failed` as a look that read `fence` does, and returns the outcome.
    async fn record(&self, fence: &Fence) -> Result<String> {
        let proposal = json!([{
            "verdict": {
                "watched_id": 1, "instance_id": self.id, "version": fence.version, "auth_status": "failed",
                "reason": "ApiKeyRejected", "message": "by hand", "cause": "api_key", "attempts": 0, "misses": 0,
                "corrections_spent": 0, "contested": 0,
            },
            "changes": fence.changes, "woken_ms": 1.0, "retry_ms": null, "trouble_ms": 0.0,
        }]);
        let settings = json!({
            "history_per_instance": 10, "history_max_age_ms": 1e9, "overridden_retry_ms": 1e4,
        });
        let statement = "select outcome from auth_reconciler.record_batch($1, 1, $2::text::jsonb, $3::text::jsonb)";
        let (proposal, settings) = (proposal.to_string(), settings.to_string());
        let row = self
            .scene
            .client
            .query_one(statement, &[&fence.epoch, &proposal, &settings])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Everything that a record may touch.
    async fn everything(&self) -> Result<String> {
        let statement = "
            select concat_ws(E'\\n',
                (select string_agg(r::text || r.xmin || r.ctid, '') from public.message_instances as r),
                (select string_agg(i::text, '') from auth_reconciler.instance as i),
                (select string_agg(c::text, '') from auth_reconciler.change as c),
                (select string_agg(t::text, '') from auth_reconciler.transition as t))";
        Ok(self
            .scene
            .client
            .query_one(statement, &[])
            .await?
            .try_get(0)?)
    }

    /// The stale fence is refused by `part` and nothing moves; the same with that part as it stands now is accepted, so
    /// it was that part alone.
    async fn refused_by(&self, part: &str, stale: Fence, mended: Fence) -> Result<()> {
        let before = self.everything().await?;
        assert_eq!(self.record(&stale).await?, part);
        assert_eq!(self.everything().await?, before);
        assert_eq!(self.record(&mended).await?, "written");
        assert_ne!(self.everything().await?, before);
        Ok(())
    }
}

#[tokio::test]
async fn a_record_of_an_earlier_epoch_is_refused() -> Result<()> {
    let still = Still::start().await?;
    let stale = still.read().await?;
    let successor = still.scene.database.client().await?;
    successor
        .execute(
            "select pg_advisory_lock(auth_reconciler.leadership_lock())",
            &[],
        )
        .await?;
    successor
        .execute("select auth_reconciler.take_over(gen_random_uuid())", &[])
        .await?;
    let mended = Fence {
        epoch: still.read().await?.epoch,
        ..stale.clone()
    };
    still.refused_by("epoch", stale, mended).await
}

#[tokio::test]
async fn a_record_that_a_faster_run_overtook_is_refused() -> Result<()> {
    let still = Still::start().await?;
    let slow = still.read().await?;
    // The faster run is of a newer key: it read its change, recorded, and with that removed the change again.
    still
        .scene
        .table
        .save_api_key(&still.scene.client, still.id, Some("another"))
        .await?;
    let faster = still.read().await?;
    assert_eq!(still.record(&faster).await?, "written");
    // So that the slow one would write: the column says something else again, and nothing else moved.
    still
        .scene
        .client
        .batch_execute(
            "alter table public.message_instances disable trigger auth_reconciler_update;
             update public.message_instances set auth_status = 'client_ready'",
        )
        .await?;
    let now = still.read().await?;
    assert_eq!((slow.epoch, &slow.changes), (now.epoch, &now.changes));
    assert_ne!(slow.version, now.version);
    let mended = Fence {
        version: now.version,
        ..slow.clone()
    };
    still.refused_by("version", slow, mended).await
}

#[tokio::test]
async fn a_record_that_did_not_read_every_change_is_refused() -> Result<()> {
    let still = Still::start().await?;
    let table = &still.scene.table;
    let client = &still.scene.client;
    table.save_api_key(client, still.id, Some("second")).await?;
    let stale = still.read().await?;
    table.save_api_key(client, still.id, Some("third")).await?;
    let now = still.read().await?;
    assert_eq!((stale.epoch, stale.version), (now.epoch, now.version));
    assert_eq!((stale.changes.len(), now.changes.len()), (1, 2));
    let mended = Fence {
        changes: now.changes,
        ..stale.clone()
    };
    still.refused_by("change", stale, mended).await?;
    assert_eq!(still.scene.unobserved().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_first_record_is_fenced_too() -> Result<()> {
    let still = Still::start().await?;
    // Two processes saw no record of this row; the slower one must not be taken for the first.
    let client = &still.scene.client;
    client
        .batch_execute("delete from auth_reconciler.instance")
        .await?;
    let slow = still.read().await?;
    assert_eq!(slow.version, None);
    assert_eq!(still.record(&slow).await?, "written");
    assert_eq!(still.record(&slow).await?, "version");
    // Nor may it bring back what was deleted and made again since.
    client
        .batch_execute("delete from auth_reconciler.instance")
        .await?;
    let again = still.read().await?;
    assert_eq!(still.record(&again).await?, "right");
    let known = still.read().await?;
    assert!(known.version.is_some() && known.version != slow.version);
    Ok(())
}
