//! What a record keeps of a verdict.

use anyhow::Result;
use serde_json::{Value, json};

use super::parts::Still;

/// A value for each column of ours, by its type, that it has not had before.
const A_VALUE_FOR_EACH: &str = "
    select jsonb_object_agg(a.attname, case format_type(a.atttypid, null)
        when 'boolean' then to_jsonb(true)
        when 'bigint' then to_jsonb(7)
        when 'integer' then to_jsonb(7)
        when 'double precision' then to_jsonb(1.5)
        when 'timestamp with time zone' then to_jsonb(timestamptz '2031-02-03 04:05:06+00')
        when 'timestamp with time zone[]' then to_jsonb(array[timestamptz '2031-02-03 04:05:06+00'])
        else to_jsonb(a.attname) end)::text
    from pg_attribute as a
    where a.attrelid = 'auth_reconciler.instance'::regclass and a.attnum > 0 and not a.attisdropped
        and format_type(a.atttypid, null) <> 'uuid'";

/// What the record itself finds out.
const COMPUTED: [&str; 9] = [
    "generation",
    "since",
    "settled",
    "next_attempt_at",
    "trouble_at",
    "reaction_ms",
    "recorded_at",
    "looks",
    "writing",
];

/// A column that somebody adds and the record forgets would be lost with each look, in silence.
#[tokio::test]
async fn every_fact_of_a_verdict_is_kept() -> Result<()> {
    let still = Still::start().await?;
    let client = &still.scene.client;
    let fence = still.read().await?;
    let row = client.query_one(A_VALUE_FOR_EACH, &[]).await?;
    let mut verdict: Value = serde_json::from_str(row.try_get(0)?)?;
    verdict["watched_id"] = json!(1);
    verdict["instance_id"] = json!(still.id);
    verdict["version"] = json!(fence.version);
    verdict["auth_status"] = json!("failed");
    verdict["reason"] = json!("ApiKeyRejected");
    let proposal = json!([{
        "verdict": verdict, "changes": fence.changes, "woken_ms": 1.0, "retry_ms": null, "trouble_ms": 0.0,
    }]);
    let settings = json!({
        "history_per_instance": 10, "history_max_age_ms": 1e9, "overridden_retry_ms": 1e4,
    });
    let statement =
        "select outcome from auth_reconciler.record_batch($1, 1, $2::text::jsonb, $3::text::jsonb)";
    let (proposal, settings) = (proposal.to_string(), settings.to_string());
    let row = client
        .query_one(statement, &[&fence.epoch, &proposal, &settings])
        .await?;
    assert_eq!(row.try_get::<_, &str>(0)?, "written");
    let kept = "select to_jsonb(i)::text from auth_reconciler.instance as i where instance_id = $1";
    let row = client.query_one(kept, &[&still.id]).await?;
    let mut kept: Value = serde_json::from_str(row.try_get(0)?)?;
    for row in [&mut kept, &mut verdict] {
        for name in COMPUTED.iter().chain(&["epoch", "version"]) {
            row[name] = Value::Null;
        }
    }
    assert_eq!(kept, verdict);
    Ok(())
}
