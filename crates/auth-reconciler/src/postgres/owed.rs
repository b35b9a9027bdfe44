//! What `watch()`, `unwatch()`, truncated tables and changes that could not be logged left to do, piece by piece: each is a
//! transaction of its own, so that nobody waits for long and whatever ends us loses nothing.

use auth_reconciler_core::Key;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// Most rows of a piece, which takes some hundredths of a second: the manager's DDL waits for as long.
const PIECE: i32 = 2_000;

/// What one piece did.
pub(crate) struct Piece {
    /// What comes of the work it belongs to.
    pub(crate) outcome: Outcome,
    /// Looks that were queued.
    pub(crate) queued: usize,
    /// Of these rows they could not be logged: who leads looks at them all the same.
    pub(crate) keys: Vec<Key>,
    /// Why they could not.
    pub(crate) unlogged: Option<String>,
}

/// What comes of a work after one piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is more of it.
    More,
    /// It is done.
    Done,
    /// It begins anew, but not now: looks could not be logged.
    Later,
    /// Somebody else is at it, or leads.
    Busy,
}

/// The works that are owed, in their order.
pub(crate) async fn list(client: &Client) -> Result<Vec<i64>, tokio_postgres::Error> {
    let statement = "select o.id from auth_reconciler.owed as o order by o.id";
    let rows = client.query_typed(statement, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Does a piece of this work, as the daemon of this epoch or as a command.
pub(crate) async fn piece(
    client: &Client,
    owed: i64,
    epoch: Option<Uuid>,
) -> Result<Piece, tokio_postgres::Error> {
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&owed, Type::INT8),
        (&PIECE, Type::INT4),
        (&epoch, Type::UUID),
    ];
    let statement = "select w.* from auth_reconciler.work_off($1, $2, $3) as w";
    let row = client.query_typed_one(statement, &parameters).await?;
    Ok(read(&row))
}

fn read(row: &Row) -> Piece {
    let queued: Vec<Uuid> = row.get::<_, Option<_>>("queued").unwrap_or_default();
    let watched: Option<i32> = row.get("watched_id");
    let unlogged: Option<String> = row.get("unlogged");
    let watched_id = watched.filter(|_| unlogged.is_some());
    let unlogged_keys = watched_id.into_iter().flat_map(|watched_id| {
        queued.iter().map(move |id| Key {
            watched_id,
            instance_id: *id,
        })
    });
    Piece {
        outcome: match row.get("outcome") {
            "more" => Outcome::More,
            "done" => Outcome::Done,
            "later" => Outcome::Later,
            _ => Outcome::Busy,
        },
        keys: unlogged_keys.collect(),
        queued: queued.len(),
        unlogged,
    }
}
