//! Reads instances afresh: those that are asked for, and those that the change log brings beside them.
//!
//! Where one table is served, as mostly, all of it is one statement and so of one moment. Where several are, or that
//! statement fails, the log is asked by itself, which touches no watched table, and then what it brings is read with the
//! others: so whatever cannot be read is known by name, and keeps neither another from being read nor the log from being
//! seen.

use std::sync::Arc;

use auth_reconciler_core::Key;
use auth_reconciler_core::controller::{LogRead, LogSeen};
use auth_reconciler_core::snapshot::Snapshot;
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::direct;
use super::error::StoreError;
use super::pool::bare;
use super::snapshot::{ACT, hidden, left_out, snapshot_from, snapshots_from, unread_from};
use super::tables::{Table, Tables};

mod asked;

use asked::read_asked;

/// What was read.
pub(crate) struct Read {
    /// Of each that was asked for, in their order.
    pub(crate) asked: Vec<Result<Snapshot, StoreError>>,
    /// What the log has brought, if that was wanted.
    pub(crate) log: Option<Result<Taken, StoreError>>,
}

/// What was taken from the log.
pub(crate) struct Taken {
    /// The instances.
    pub(crate) instances: Vec<Brought>,
    /// There are more of them.
    pub(crate) more: bool,
    /// What was seen of the log.
    pub(crate) seen: LogSeen,
}

/// An instance with unread changes.
pub(crate) struct Brought {
    /// Which.
    pub(crate) key: Key,
    /// Ids of its unread changes, as far as they were met.
    pub(crate) unread: Vec<i64>,
    /// What was read of it.
    pub(crate) snapshot: Result<Snapshot, StoreError>,
}

impl Brought {
    /// One of which this was read; if it could not be, these of its changes were seen.
    fn of(
        key: Key,
        snapshot: Result<Snapshot, StoreError>,
        seen: impl FnOnce() -> Vec<i64>,
    ) -> Self {
        Self {
            key,
            unread: snapshot
                .as_ref()
                .map_or_else(|_| seen(), |read| read.unread.clone()),
            snapshot,
        }
    }
}

/// Reads these instances, and what is wanted of the log. One that cannot be read takes no other with it.
pub(crate) async fn read_all(
    pool: &Pool,
    tables: &Tables,
    keys: &[Key],
    log: Option<&LogRead>,
) -> Read {
    let Some(log) = log else {
        let asked = read_asked(pool, tables, keys).await;
        return Read { asked, log: None };
    };
    let Some(table) = the_only(tables, keys) else {
        return read_apart(pool, tables, keys, log).await;
    };
    match read_at_once(pool, table, keys, log).await {
        Ok(read) => read,
        Err(failure) if failure.may_be_of_one() => read_apart(pool, tables, keys, log).await,
        Err(failure) => {
            let answered = !failure.is_of_the_way();
            let failure = Arc::new(failure);
            let taken = if answered {
                take(pool, tables, keys, log).await
            } else {
                Err(StoreError::Shared(Arc::clone(&failure)))
            };
            let failed = |_: &Key| Err(StoreError::Shared(Arc::clone(&failure)));
            let asked = keys.iter().map(failed).collect();
            let all = taken.as_ref().map_or(&[][..], |taken| &taken.keys);
            let brought = all.iter().map(failed).collect();
            Read {
                asked,
                log: Some(taken.map(|taken| taken.with(brought))),
            }
        }
    }
}

/// The table that is served, if there is one and whatever is asked for is in it.
fn the_only<'a>(tables: &'a Tables, keys: &[Key]) -> Option<(&'a i32, &'a Table)> {
    let mut tables = tables.iter();
    let (Some(only), None) = (tables.next(), tables.next()) else {
        return None;
    };
    let in_it = keys.iter().all(|key| key.watched_id == *only.0);
    in_it.then_some(only)
}

/// The log by itself, then all of the instances.
async fn read_apart(pool: &Pool, tables: &Tables, keys: &[Key], log: &LogRead) -> Read {
    let taken = match take(pool, tables, keys, log).await {
        Ok(taken) => taken,
        Err(failure) => {
            let asked = read_asked(pool, tables, keys).await;
            return Read {
                asked,
                log: Some(Err(failure)),
            };
        }
    };
    let all = [keys, &taken.keys].concat();
    let mut asked = read_asked(pool, tables, &all).await;
    let brought = asked.split_off(keys.len());
    Read {
        asked,
        log: Some(Ok(taken.with(brought))),
    }
}

/// One statement for those that are asked for and for the log.
async fn read_at_once(
    pool: &Pool,
    (watched_id, table): (&i32, &Table),
    keys: &[Key],
    log: &LogRead,
) -> Result<Read, StoreError> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.instance_id).collect();
    let under_way = log.under_way.iter();
    let under_way: Vec<Uuid> = under_way
        .filter(|key| key.watched_id == *watched_id)
        .map(|key| key.instance_id)
        .collect();
    let (oldest, newest) = (limit(log.oldest), limit(log.newest));
    let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
        (watched_id, Type::INT4),
        (&ids, Type::UUID_ARRAY),
        (&log.after, Type::INT8),
        (&oldest, Type::INT8),
        (&newest, Type::INT8),
        (&under_way, Type::UUID_ARRAY),
    ];
    let rows = run(pool, table, &table.read_with_log, &parameters).await?;
    let taken = rows
        .iter()
        .filter(|row| row.get::<_, Option<i64>>("place").is_none());
    let instances = taken.filter_map(|row| {
        let instance_id: Option<Uuid> = row.get("instance_id");
        let key = Key {
            watched_id: *watched_id,
            instance_id: instance_id?,
        };
        Some(Brought::of(key, snapshot_from(table, row), || {
            unread_from(row)
        }))
    });
    let instances: Vec<_> = instances.collect();
    let seen = seen_from(rows.first().ok_or_else(left_out)?)?;
    let walked: i64 = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<i64>>("walked"))
        .sum();
    let more = may_be_more(instances.len(), walked, oldest);
    Ok(Read {
        asked: snapshots_from(table, &ids, &rows)?,
        log: Some(Ok(Taken {
            instances,
            more,
            seen,
        })),
    })
}

async fn run(
    pool: &Pool,
    table: &Table,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, StoreError> {
    bare(pool, ACT, async |client| {
        direct::query(client, statement, parameters).await
    })
    .await
    .map_err(|failure| {
        if failure.hides_rows() {
            hidden(table)
        } else {
            failure
        }
    })
}

/// What the log holds, without what is to be read of it.
struct Found {
    keys: Vec<Key>,
    /// Of each.
    unread: Vec<Vec<i64>>,
    more: bool,
    seen: LogSeen,
}

impl Found {
    /// With what was read of each.
    fn with(self, snapshots: Vec<Result<Snapshot, StoreError>>) -> Taken {
        let all = self.keys.into_iter().zip(self.unread).zip(snapshots);
        let instances = all.map(|((key, unread), snapshot)| Brought::of(key, snapshot, || unread));
        Taken {
            instances: instances.collect(),
            more: self.more,
            seen: self.seen,
        }
    }
}

/// Takes from the log, of all tables that are served.
async fn take(
    pool: &Pool,
    tables: &Tables,
    keys: &[Key],
    log: &LogRead,
) -> Result<Found, StoreError> {
    let served: Vec<i32> = tables.keys().copied().collect();
    let left_out_of = keys.iter().chain(&log.under_way);
    let (of_tables, ids): (Vec<i32>, Vec<Uuid>) = left_out_of
        .map(|key| (key.watched_id, key.instance_id))
        .unzip();
    let (oldest, newest) = (limit(log.oldest), limit(log.newest));
    let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
        (&served, Type::INT4_ARRAY),
        (&of_tables, Type::INT4_ARRAY),
        (&log.after, Type::INT8),
        (&oldest, Type::INT8),
        (&newest, Type::INT8),
        (&ids, Type::UUID_ARRAY),
    ];
    let rows = bare(pool, "read the change log", async |client| {
        let statement = include_str!("../../../../sql/queries/take.sql");
        direct::query(client, statement, &parameters).await
    })
    .await?;
    let found = rows.iter().filter_map(|row| {
        let instance_id: Option<Uuid> = row.get("instance_id");
        let key = Key {
            instance_id: instance_id?,
            watched_id: row.get("watched_id"),
        };
        Some((key, row.get("unread_ids")))
    });
    let (keys, unread) = found.unzip();
    let of_none = |row: &&Row| row.get::<_, Option<Uuid>>("instance_id").is_none();
    let last = rows.iter().find(of_none).ok_or_else(left_out)?;
    Ok(Found {
        keys,
        unread,
        more: last.get("more"),
        seen: seen_from(last)?,
    })
}

/// What a row tells of the log.
fn seen_from(row: &Row) -> Result<LogSeen, StoreError> {
    let snapshot: &str = row.get("snapshot");
    let in_progress = in_progress(snapshot, row.get("unlisted"));
    Ok(LogSeen {
        first_unread: row.get("first_unread"),
        last_id: row.get("last_id"),
        in_progress: in_progress.map_err(|what| StoreError::Answer { act: ACT, what })?,
    })
}

/// Transactions in progress at a snapshot, `first:next:listed,…` as the server writes it, behind which so many more have been
/// given an id. `None` where these are too many: one that makes savepoints takes thousands.
fn in_progress(snapshot: &str, unlisted: i32) -> Result<Option<Vec<u64>>, String> {
    const MOST: u64 = 1_000;
    let wrong = || format!("{snapshot} is no snapshot");
    let parsed = |number: &str| number.parse::<u64>().map_err(|_| wrong());
    let mut parts = snapshot.splitn(3, ':').skip(1);
    let (Some(next), Some(listed)) = (parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let next = parsed(next)?;
    let listed = listed.split(',').filter(|id| !id.is_empty());
    let unlisted = u64::try_from(unlisted).unwrap_or(u64::MAX);
    if unlisted > MOST {
        return Ok(None);
    }
    let all = listed.map(parsed).chain((next..next + unlisted).map(Ok));
    all.collect::<Result<_, _>>().map(Some)
}

/// Whether some may be left: the walk along the oldest has not come to an end, or there was none. Where none was brought, all
/// are under way.
const fn may_be_more(brought: usize, walked: i64, oldest: i64) -> bool {
    brought > 0 && walked >= oldest
}

/// As a number of the database.
fn limit(count: usize) -> i64 {
    i64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{in_progress, may_be_more};

    /// Else those under way would be asked to give way to nobody.
    #[test]
    fn where_none_was_brought_none_is_left_though_only_the_newest_were_asked_for() {
        assert!(!may_be_more(0, 0, 0));
        assert!(may_be_more(1, 0, 0), "there was no walk");
        assert!(may_be_more(2, 3, 3));
        assert!(!may_be_more(2, 2, 3));
    }

    #[test]
    fn those_in_progress_are_those_that_are_listed_and_all_that_are_newer() {
        let cases = [
            (("700:700:", 0), Ok(Some(vec![]))),
            (("725:725:", 2), Ok(Some(vec![725, 726]))),
            (("725:730:725,727", 1), Ok(Some(vec![725, 727, 730]))),
            (
                ("4294967299:4294967300:4294967299", 0),
                Ok(Some(vec![4_294_967_299])),
            ),
            (("725:730:725", 1_001), Ok(None)),
            // Of an id that is none the server says that it is as old as can be.
            (("2:2:", i32::MAX), Ok(None)),
        ];
        for ((snapshot, unlisted), expected) in cases {
            assert_eq!(in_progress(snapshot, unlisted), expected, "{snapshot}");
        }
        for wrong in ["", "700", "700:x:", "700:701:x"] {
            assert!(in_progress(wrong, 0).is_err(), "{wrong}");
        }
    }
}
