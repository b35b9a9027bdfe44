//! A batch of records: its transactions, and their answers.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use auth_reconciler_core::Key;
use auth_reconciler_core::record::{Recorded, Recording, Transaction};
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tracing::debug;
use uuid::Uuid;

use super::wanted::{Wanted, json};
use super::{Act, RecordSettings};
use crate::postgres::direct;
use crate::postgres::error::StoreError;
use crate::postgres::halves::{halved, no_answer};
use crate::postgres::locked::{Usage, is_locked, is_still_locked, note_locked};
use crate::postgres::pool::bare;
use crate::postgres::tables::Tables;

const RECORD: &str = sql!("queries/record.sql");
const FORGET: &str = sql!("queries/forget.sql");

/// Records these behind the fence, with as few transactions as [`parts`] makes of them. The results are in their order; one
/// that is refused, busy, gone or cannot be written takes no other with it, and a table that is locked is waited for once.
/// `note` is told of each transaction that has locked watched rows.
pub(crate) async fn record_all(
    pool: &Pool,
    tables: &Tables,
    settings: &RecordSettings,
    wanted: &[&Wanted],
    note: impl Fn(Transaction),
) -> Vec<Result<Recording, StoreError>> {
    let mut results: Vec<_> = wanted
        .iter()
        .map(|one| Err(no_answer(one.act.name())))
        .collect();
    for (part, places) in parts(wanted) {
        let note = &note;
        let usage = if places.iter().any(|place| wanted[*place].writes) {
            Usage::Write
        } else {
            Usage::Read
        };
        let act = part.act.name();
        if let Some(table) = tables.get(&part.watched_id)
            && is_still_locked(pool, tables, table, usage).await
        {
            for place in places {
                results[place] = Err(is_locked(act, table));
            }
            continue;
        }
        let recorded = halved(places.len(), StoreError::may_be_of_one, |some| {
            let some: Vec<&Wanted> = some
                .into_iter()
                .map(|place| wanted[places[place]])
                .collect();
            async move {
                let began = Instant::now();
                let ended = part.run(pool, settings, &some).await;
                if let Some(transaction) = transaction(&some, &ended, began.elapsed()) {
                    note(transaction);
                }
                ended.map(|(recordings, _)| recordings)
            }
        });
        let mut waited = false;
        for (place, recording) in places.iter().zip(recorded.await) {
            let result = recording.result(act);
            waited |= result.as_ref().is_err_and(StoreError::met_a_lock);
            results[*place] = result;
        }
        if waited {
            note_locked(pool, tables, usage).await;
        }
    }
    results
}

/// What is known of the transaction of these, which has ended so after as much time.
fn transaction(
    wanted: &[&Wanted],
    ended: &Result<(Vec<Option<Recording>>, Duration), StoreError>,
    took: Duration,
) -> Option<Transaction> {
    let held = match ended {
        Ok((_, held)) => *held,
        // It ran into its limit at the server.
        Err(failure) if failure.is_canceled() => took,
        Err(_) => return None,
    };
    let tried = match ended {
        Ok((recordings, _)) => recordings.iter().flatten().any(Recording::tried_to_write),
        Err(_) => true,
    };
    let mut writing = wanted.iter().filter(|one| one.writes);
    let (first, rows) = (writing.next()?, 1 + writing.count());
    Some(Transaction {
        rows,
        held,
        alone: (rows == 1 && tried).then_some(first.key),
    })
}

/// Which of these go in which transaction, by their places. Nothing is twice in one: the later one goes with another.
/// And those that lock no watched row keep nobody's locked while they are noted.
fn parts(wanted: &[&Wanted]) -> Vec<(Part, Vec<usize>)> {
    let mut met: HashMap<Key, usize> = HashMap::new();
    let mut parts: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, one) in wanted.iter().enumerate() {
        let nth = met.entry(one.key).or_default();
        let part = Part {
            act: one.act,
            epoch: one.epoch,
            watched_id: one.key.watched_id,
        };
        parts
            .entry((*nth, part, !one.writes))
            .or_default()
            .push(place);
        *nth += 1;
    }
    let parts = parts.into_iter();
    parts.map(|((_, part, _), places)| (part, places)).collect()
}

/// What one transaction has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    act: Act,
    epoch: Uuid,
    watched_id: i32,
}

impl Part {
    /// The answers, `None` for what must be tried in smaller company, and the time that row locks were held.
    async fn run(
        self,
        pool: &Pool,
        settings: &RecordSettings,
        wanted: &[&Wanted],
    ) -> Result<(Vec<Option<Recording>>, Duration), StoreError> {
        let act = self.act.name();
        let proposals: Vec<&str> = wanted.iter().map(|one| one.json.as_str()).collect();
        let proposals = format!("[{}]", proposals.join(","));
        let settings = json(self.act, settings)?;
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&self.epoch, Type::UUID),
            (&self.watched_id, Type::INT4),
            (&proposals, Type::TEXT),
        ];
        let statement = match self.act {
            Act::Record => {
                parameters.push((&settings, Type::TEXT));
                RECORD
            }
            Act::Forget => FORGET,
        };
        let rows = bare(pool, act, async |client| {
            direct::query(client, statement, &parameters).await
        })
        .await?;
        let query = |source| StoreError::Query { act, source };
        let mut answers = HashMap::new();
        let mut held = Duration::ZERO;
        for row in &rows {
            let (id, ms): (Uuid, f64) = (
                row.try_get("instance_id").map_err(query)?,
                row.try_get("held_ms").map_err(query)?,
            );
            held = held.max(Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default());
            answers.insert(id, answer(act, row)?);
        }
        let answer = |one: &&Wanted| {
            answers
                .remove(&one.key.instance_id)
                .ok_or_else(|| no_answer(act))
        };
        if wanted.len() > 1 {
            debug!(records = wanted.len(), ?held, "recorded together");
        }
        let answers: Result<_, _> = wanted.iter().map(answer).collect();
        answers.map(|answers| (answers, held))
    }
}

/// `None` for what must be tried in smaller company.
fn answer(act: &'static str, row: &Row) -> Result<Option<Recording>, StoreError> {
    let query = |source| StoreError::Query { act, source };
    let told: &str = row.try_get("outcome").map_err(query)?;
    let (told, refusal) = match told.split_once(": ") {
        Some((told, refusal)) => (told, Some(refusal.to_owned())),
        None => (told, None),
    };
    let outcome = match told {
        "together" => return Ok(None),
        "written" => Recorded::Written,
        "right" => Recorded::Right,
        "overridden" => Recorded::Overridden,
        "unwritable" => Recorded::Unwritable,
        "busy" => Recorded::Busy,
        "gone" | "forgotten" => Recorded::Gone,
        "unwatched" => Recorded::Unwatched,
        "epoch" => Recorded::EpochEnded,
        "version" => Recorded::Overtaken("version"),
        "change" => Recorded::Overtaken("change"),
        other => {
            return Err(StoreError::Answer {
                act,
                what: format!("outcome {other:?} is not known"),
            });
        }
    };
    Ok(Some(Recording {
        outcome,
        refusal,
        from: row.try_get("from_status").map_err(query)?,
        reaction_ms: row.try_get("reaction_ms").map_err(query)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: u128, writes: bool) -> Wanted {
        Wanted {
            act: Act::Record,
            epoch: Uuid::nil(),
            key: Key {
                watched_id: 1,
                instance_id: Uuid::from_u128(id),
            },
            writes,
            json: String::new(),
        }
    }

    fn of_one(outcome: Recorded) -> Vec<Option<Recording>> {
        vec![Some(Recording {
            outcome,
            from: None,
            reaction_ms: None,
            refusal: None,
        })]
    }

    #[test]
    fn the_time_of_a_transaction_is_the_servers_and_of_one_row_if_its_write_alone_was_tried() {
        let (one, other, reads) = (wanted(1, true), wanted(2, true), wanted(3, false));
        let (held, took) = (Duration::from_millis(3), Duration::from_secs(9));
        let ended = |recordings| Ok((recordings, held));
        let known = transaction(&[&one], &ended(of_one(Recorded::Overridden)), took).unwrap();
        assert_eq!((known.rows, known.held), (1, held));
        assert_eq!(known.alone, Some(one.key));
        let untried = transaction(&[&one], &ended(of_one(Recorded::Busy)), took).unwrap();
        assert_eq!(untried.alone, None);
        let both = [of_one(Recorded::Written), of_one(Recorded::Written)].concat();
        let both = transaction(&[&one, &other], &ended(both), took).unwrap();
        assert_eq!((both.rows, both.alone), (2, None));
        let none = transaction(&[&reads], &ended(of_one(Recorded::Right)), took);
        assert_eq!(none, None);
        let failed = transaction(&[&one], &Err(no_answer("record")), took);
        assert_eq!(failed, None, "it says nothing of the row");
    }

    #[test]
    fn those_that_write_go_by_themselves_and_nobody_is_twice_in_a_transaction() {
        let all = [
            wanted(1, false),
            wanted(2, true),
            wanted(3, false),
            wanted(4, true),
            wanted(2, true),
        ];
        let all: Vec<&Wanted> = all.iter().collect();
        let places: Vec<_> = parts(&all).into_iter().map(|(_, places)| places).collect();
        assert_eq!(places, [vec![1, 3], vec![0, 2], vec![4]]);
    }
}
