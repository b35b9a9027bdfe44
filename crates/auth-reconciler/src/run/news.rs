//! Whether a look has read something that the look before it did not know.

use std::sync::OnceLock;

use deadpool_postgres::Pool;
use tokio::sync::Notify;

use crate::postgres::look::{Look, read};
use crate::postgres::tables::{Key, Tables};

/// The changes that a look has read, told from any other set of them: ids are never used again, and none is answered for
/// without the others that were read with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    count: usize,
    last: i64,
}

impl Marks {
    fn of(look: &Look) -> Self {
        Self {
            count: look.changes.len(),
            last: look.changes.last().copied().unwrap_or_default(),
        }
    }
}

/// What a look knows of the one before it, and tells the next.
#[derive(Debug, Default)]
pub(crate) struct News {
    before: Option<Marks>,
    read: OnceLock<Marks>,
}

impl News {
    /// For a look after one that has read these and answered for none of them.
    pub(crate) fn after(before: Option<Marks>) -> Self {
        Self {
            before,
            read: OnceLock::new(),
        }
    }

    /// Notes what was read. Whether there is anything new in it: changes that were not known, or a row that was not, and of
    /// which nothing is recorded.
    pub(crate) fn note(&self, look: &Look) -> bool {
        let marks = Marks::of(look);
        // Only this look sets it, once.
        let _ = self.read.set(marks);
        let anything = marks.count > 0 || (look.version.is_none() && !look.is_of_nothing());
        anything && self.before != Some(marks)
    }

    /// What was read, if it could be.
    pub(crate) fn read(&self) -> Option<Marks> {
        self.read.get().copied()
    }
}

/// Resolves when somebody rings for a foreign write and the log has a change that the look has not read: any role may
/// ring, so a ring alone ends no probe. One that cannot be read is found after the probe.
pub(crate) async fn overwritten(
    pool: &Pool,
    tables: &Tables,
    key: Key,
    rung: &Notify,
    news: &News,
) {
    let Some(table) = tables.get(&key.watched_id) else {
        return std::future::pending().await;
    };
    loop {
        rung.notified().await;
        let read = read(pool, table, key).await;
        if read.is_ok_and(|look| news.read() != Some(Marks::of(&look))) {
            return;
        }
    }
}
