//! Reads instances that are asked for, of any number of tables.
//!
//! A table that somebody has locked is waited for once, and briefly. From then on, and for all others of the same batch, it is
//! asked which tables are locked, without waiting; so however many there are, the instances of other tables do not wait
//! for them.

use std::collections::{BTreeMap, HashSet};

use auth_reconciler_core::Key;
use auth_reconciler_core::snapshot::Snapshot;
use deadpool_postgres::Pool;
use uuid::Uuid;

use super::run;
use crate::postgres::error::StoreError;
use crate::postgres::halves::halved;
use crate::postgres::locked::{Usage, is_locked, locked_tables};
use crate::postgres::snapshot::{ACT, left_out, parameters, snapshots_from};
use crate::postgres::tables::{Table, Tables};

type Results = Vec<Result<Snapshot, StoreError>>;

/// One statement for each of their tables. The results are in the order of the keys.
pub(super) async fn read_asked(pool: &Pool, tables: &Tables, keys: &[Key]) -> Results {
    let mut of_tables: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        of_tables.entry(key.watched_id).or_default().push(place);
    }
    let all: Vec<(i32, &Table, Vec<usize>)> = of_tables
        .into_iter()
        .filter_map(|(id, places)| tables.get(&id).map(|table| (id, table, places)))
        .collect();
    let oids: Vec<u32> = all.iter().map(|(_, table, _)| table.oid).collect();
    let mut locked = if all
        .iter()
        .any(|(_, table, _)| table.seen_locked(Usage::Read).is_some())
    {
        locked_tables(pool, &oids, Usage::Read).await
    } else {
        HashSet::new()
    };
    let mut snapshots: Vec<_> = keys.iter().map(|_| None).collect();
    for (watched_id, table, places) in &all {
        let results = if locked.contains(&table.oid) {
            table.note_locked(Usage::Read, true);
            places.iter().map(|_| Err(is_locked(ACT, table))).collect()
        } else {
            let ids: Vec<Uuid> = places.iter().map(|at| keys[*at].instance_id).collect();
            let results = read_table(pool, (*watched_id, table), &ids).await;
            let busy = |result: &Result<_, StoreError>| matches!(result, Err(failure) if failure.is_busy());
            let busy = results.iter().any(busy);
            table.note_locked(Usage::Read, busy);
            if busy {
                locked = HashSet::new();
            }
            results
        };
        for (place, snapshot) in places.iter().zip(results) {
            snapshots[*place] = Some(snapshot);
        }
    }
    snapshots
        .into_iter()
        .map(|snapshot| snapshot.unwrap_or_else(|| Err(left_out())))
        .collect()
}

/// Those of one table. One that cannot be read takes no other with it.
async fn read_table(pool: &Pool, (watched_id, table): (i32, &Table), ids: &[Uuid]) -> Results {
    let read = halved(ids.len(), StoreError::may_be_of_one, |some| {
        let ids: Vec<Uuid> = some.into_iter().map(|place| ids[place]).collect();
        async move {
            let rows = run(pool, table, &table.read, &parameters(&watched_id, &&*ids)).await?;
            let snapshots = snapshots_from(table, &ids, &rows)?;
            Ok(snapshots.into_iter().map(Some).collect())
        }
    });
    let read = read.await.into_iter();
    read.map(|read| read.result(ACT).flatten()).collect()
}
