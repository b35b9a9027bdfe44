//! Who is recorded with whom, and who waits for a write that takes long.

use super::steps::{asked, next_all, probed, reads, snapshot};
use super::*;
use crate::controller::records::Records;
use crate::queue::PATIENCE;
use crate::record::{Proposal, Transaction};
use crate::verdict::{Plan, Policy, plan};

const SECOND: Duration = Duration::from_secs(1);

/// A proposal for a row of this table, which it writes or not.
fn proposal(watched_id: i32, number: u128, writes: bool) -> Proposal {
    let mut snapshot = snapshot(1);
    let row = snapshot.facts.row.as_mut().expect("a row");
    row.api_key = Ok(None);
    let Plan::Settle(verdict) = plan(&Policy::default(), &snapshot.facts, 0.0) else {
        panic!("one without a key needs no probe");
    };
    let row = snapshot.facts.row.as_mut().expect("a row");
    row.auth_status = Some(if writes { "failed" } else { "pending" }.to_owned());
    let proposal = Proposal {
        epoch: epoch(1),
        key: Key {
            watched_id,
            ..key(number)
        },
        snapshot,
        verdict: Some(verdict),
        cause: Cause::Insert,
        waited: Duration::ZERO,
    };
    assert_eq!(proposal.writes(), writes);
    proposal
}

fn records(lanes: usize, waiting: &[(i32, u128, bool)]) -> Records {
    let mut records = Records::with_lanes(lanes);
    for (watched_id, number, writes) in waiting {
        records.want(proposal(*watched_id, *number, *writes), ms(0));
    }
    records
}

/// The numbers of the next batch.
fn next(records: &mut Records, now: Moment) -> Option<Vec<u128>> {
    let batch = records.begin(now)?;
    Some(
        batch
            .iter()
            .map(|one| one.key.instance_id.as_u128())
            .collect(),
    )
}

fn ended(records: &mut Records, watched_id: i32, number: u128) {
    let key = Key {
        watched_id,
        ..key(number)
    };
    records.ended(Some(&key), &[]);
}

/// A batch of rows of the first table has ended; it was one transaction, which took as long at the server.
fn took(records: &mut Records, numbers: &[u128], held: Duration) {
    let transaction = Transaction {
        rows: numbers.len(),
        held,
        alone: match numbers {
            [number] => Some(key(*number)),
            _ => None,
        },
    };
    records.ended(Some(&key(numbers[0])), &[transaction]);
}

#[test]
fn a_batch_is_of_one_table_and_writes_or_does_not_and_the_oldest_goes_first() {
    let waiting = [
        (1, 1, true),
        (2, 2, true),
        (1, 3, false),
        (1, 4, true),
        (2, 5, true),
        (1, 6, false),
    ];
    let mut records = records(3, &waiting);
    for (table, batch) in [(1, [1, 4]), (2, [2, 5]), (1, [3, 6])] {
        assert_eq!(next(&mut records, ms(0)).as_deref(), Some(&batch[..]));
        assert_eq!(next(&mut records, ms(0)), None, "one at a time");
        ended(&mut records, table, batch[1]);
    }
}

#[test]
fn a_batch_that_takes_long_keeps_only_those_who_would_write_to_its_table() {
    let mut records = records(3, &[(1, 1, true)]);
    assert_eq!(next(&mut records, ms(0)), Some(vec![1]));
    for one in [(1, 2, true), (2, 3, true), (1, 4, false)] {
        records.want(proposal(one.0, one.1, one.2), ms(0));
    }
    let late = PATIENCE;
    assert_eq!(next(&mut records, late - ms(1)), None);
    assert_eq!(records.deadline(late - ms(1)), Some(late));
    assert_eq!(next(&mut records, late), Some(vec![3]));
    ended(&mut records, 2, 3);
    assert_eq!(next(&mut records, late), Some(vec![4]));
    ended(&mut records, 1, 4);
    assert_eq!(next(&mut records, late), None, "it would take as long");
    assert_eq!(records.deadline(late), None, "nothing happens by the clock");
    ended(&mut records, 1, 1);
    assert_eq!(next(&mut records, late), Some(vec![2]));
}

#[test]
fn no_more_batches_are_under_way_than_there_are_lanes() {
    for lanes in 1..=4 {
        let waiting: Vec<_> = (1..=6)
            .map(|number| (number, number as u128, true))
            .collect();
        let mut records = records(lanes, &waiting);
        let mut now = ms(0);
        for number in 1..=lanes {
            assert_eq!(next(&mut records, now), Some(vec![number as u128]));
            now += PATIENCE;
        }
        assert_eq!(next(&mut records, now), None, "{lanes}");
        assert_eq!(records.deadline(now), None);
        ended(&mut records, 1, 1);
        assert!(next(&mut records, now).is_some());
    }
}

/// A row is slow, and the others of its table are not.
#[test]
fn whose_write_was_slow_goes_alone_and_keeps_nobody_until_it_is_quick() {
    let mut records = records(3, &[]);
    for number in 1..=2 {
        records.want(proposal(1, number, true), ms(0));
        assert_eq!(next(&mut records, ms(0)), Some(vec![number]));
        took(&mut records, &[number], 5 * SECOND);
    }
    for number in 1..=3 {
        records.want(proposal(1, number, true), ms(0));
    }
    assert_eq!(
        next(&mut records, ms(5_000)),
        Some(vec![3]),
        "who is not slow goes first"
    );
    assert_eq!(
        next(&mut records, ms(5_000)),
        Some(vec![1]),
        "and the slow one beside it"
    );
    assert_eq!(next(&mut records, ms(5_000)), None);
    ended(&mut records, 1, 3);
    records.want(proposal(1, 4, true), ms(0));
    assert_eq!(
        next(&mut records, ms(7_000)),
        Some(vec![4]),
        "of the same table, while the slow one lasts"
    );
    ended(&mut records, 1, 4);
    assert_eq!(
        next(&mut records, ms(7_001)),
        None,
        "one slow one at a time"
    );
    ended(&mut records, 1, 1);
    assert_eq!(next(&mut records, ms(10_000)), Some(vec![2]));
    // Somebody held its row, which says nothing of it.
    ended(&mut records, 1, 2);
    records.want(proposal(1, 2, true), ms(0));
    records.want(proposal(1, 5, true), ms(0));
    assert_eq!(next(&mut records, ms(10_000)), Some(vec![5]));
    assert_eq!(next(&mut records, ms(10_000)), Some(vec![2]));
    // It was quick this time, and is like any other from then on.
    took(&mut records, &[2], ms(1));
    took(&mut records, &[5], ms(1));
    records.want(proposal(1, 5, true), ms(0));
    records.want(proposal(1, 2, true), ms(0));
    assert_eq!(next(&mut records, ms(10_001)), Some(vec![5]));
    assert_eq!(next(&mut records, ms(10_001)), None, "no longer beside it");
    took(&mut records, &[5], ms(1));
    assert_eq!(next(&mut records, ms(10_001)), Some(vec![2]));
}

/// The way to the server, a session that had to be waited for, a lock: the transaction itself was quick.
#[test]
fn what_delays_a_batch_elsewhere_is_laid_to_nobody() {
    let mut records = records(3, &[(1, 1, true)]);
    assert_eq!(next(&mut records, ms(0)), Some(vec![1]));
    took(&mut records, &[1], ms(2));
    for number in 1..=2 {
        records.want(proposal(1, number, true), ms(0));
    }
    assert_eq!(next(&mut records, 9 * SECOND), Some(vec![1, 2]));
}

/// A server that is slow in general, or one row among them: that is seen when they go one by one.
#[test]
fn a_batch_of_several_that_took_long_makes_none_of_them_slow() {
    let mut records = records(3, &[(1, 1, true), (1, 2, true)]);
    assert_eq!(next(&mut records, ms(0)), Some(vec![1, 2]));
    took(&mut records, &[1, 2], 5 * SECOND);
    for number in 1..=3 {
        records.want(proposal(1, number, true), ms(0));
    }
    for number in 1..=3 {
        let now = 5 * SECOND;
        assert_eq!(next(&mut records, now), Some(vec![number]), "in their turn");
        assert_eq!(next(&mut records, now), None, "and none beside it");
        took(&mut records, &[number], ms(2));
    }
}

/// It waits for the one under way, and not for all that came before it and may sleep as well.
#[test]
fn where_rows_go_one_by_one_a_fresh_one_goes_before_those_that_wait_and_the_oldest_is_not_forgotten()
 {
    let mut records = records(3, &[(1, 1, true)]);
    assert_eq!(next(&mut records, ms(0)), Some(vec![1]));
    took(&mut records, &[1], 5 * SECOND);
    for number in 2..=9 {
        // The last two were woken together.
        records.want(proposal(1, number, true), ms(number.min(8) as u64));
    }
    let mut order: Vec<u128> = Vec::new();
    while let Some(batch) = next(&mut records, 5 * SECOND) {
        order.extend(&batch);
        took(&mut records, &batch, 100 * ms(1));
    }
    assert_eq!(order, [8, 9, 7, 2, 6, 5, 4, 3]);
}

/// As mostly: whoever came first goes first.
#[test]
fn where_rows_go_together_the_oldest_goes_first() {
    let mut records = records(3, &[]);
    for number in 1..=9 {
        records.want(proposal(1, number, true), ms(number as u64));
    }
    let all = next(&mut records, ms(10)).expect("a batch");
    assert!((2..9).contains(&all.len()), "{all:?}");
    assert_eq!(all[0], 1);
}

/// What is slow is no measure of how many of the others may be locked at once.
#[test]
fn what_one_table_takes_bounds_no_batch_of_another() {
    let mut records = records(3, &[(1, 1, true)]);
    assert_eq!(next(&mut records, ms(0)), Some(vec![1]));
    took(&mut records, &[1], 5 * SECOND);
    for number in 10..=13 {
        records.want(proposal(1, number, true), ms(0));
        records.want(proposal(2, number + 10, true), ms(0));
    }
    assert_eq!(
        next(&mut records, ms(5_000)),
        Some(vec![10]),
        "one at a time"
    );
    ended(&mut records, 1, 10);
    assert_eq!(next(&mut records, ms(5_001)), Some(vec![20, 21, 22, 23]));
}

/// Else a table with a trigger that sleeps would take every slot, and nobody else could even begin.
#[test]
fn whoever_waits_for_a_slow_write_gives_his_slot_to_a_first_look() {
    let mut controller = serving(settings());
    for number in 1..=4 {
        asked(&mut controller, key(number), ms(number as u64));
        controller.handle(
            probed(key(number), Some(crate::Answer::Ready), ms(4)),
            ms(4),
        );
        next_all(&mut controller, ms(4));
    }
    for number in 5..=6 {
        controller.wake(key(number), Cause::ApiKey, ms(5));
    }
    assert_eq!(
        reads(&next_all(&mut controller, ms(6))),
        [],
        "every slot is taken"
    );
    let begun = reads(&next_all(&mut controller, ms(10) + 2 * PATIENCE));
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0].1, [key(5), key(6)]);
    assert_eq!(controller.armed(), 2, "those who gave way come again");
}
