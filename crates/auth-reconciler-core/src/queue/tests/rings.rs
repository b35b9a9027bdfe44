//! Any role may ring: a run that only rings led to and that reads nothing new leaves everything as it was.

use super::*;

/// A ring and its run, which reads nothing new.
fn rung_for_nothing(queue: &mut Queue<u32>, now: Moment) -> usize {
    queue.ring(1, Cause::Account, now);
    let mut runs = 0;
    while let Some(Command::Start { key, wake }) = queue.next(now) {
        assert!(wake.rung, "nothing but a ring: {wake:?}");
        queue.finish(&key, Next::AsBefore, now);
        runs += 1;
    }
    runs
}

#[test]
fn rings_for_nothing_neither_bring_a_deadline_forward_nor_put_it_off_nor_spend_anything() {
    let mut queue = Queue::new(Limits::with_slots(4, 2, ms(1_000)));
    queue.wake(1, Cause::Insert, ms(0));
    started(&mut queue, ms(0));
    let due = Next::At {
        due: ms(60_000),
        hold_drift: false,
    };
    queue.finish(&1, due, ms(0));
    for now in 1..500 {
        assert_eq!(rung_for_nothing(&mut queue, ms(now)), 1);
        assert_eq!(queue.deadline(), Some(ms(60_000)));
    }
    // One look of the burst is left for what really happens.
    queue.wake(1, Cause::Account, ms(501));
    assert_eq!(started(&mut queue, ms(501)), [(1, Cause::Account)]);
    queue.finish(&1, due, ms(501));
    // Now a ring waits for the pace, and takes nobody's place.
    assert_eq!(rung_for_nothing(&mut queue, ms(502)), 0);
    assert_eq!(queue.deadline(), Some(ms(1_000)));
    assert_eq!(rung_for_nothing(&mut queue, ms(1_000)), 1);
    assert_eq!(queue.deadline(), Some(ms(60_000)));
    assert_eq!(started(&mut queue, ms(60_000)), [(1, Cause::Backoff)]);
}

#[test]
fn what_is_more_than_a_ring_is_no_ring() {
    for ring_first in [true, false] {
        let mut queue = queue(4);
        if ring_first {
            queue.ring(1, Cause::Account, ms(0));
        }
        queue.wake(1, Cause::Started, ms(0));
        queue.ring(1, Cause::Account, ms(0));
        let start = queue.next(ms(0));
        assert!(
            matches!(start, Some(Command::Start { wake, .. }) if !wake.rung),
            "{start:?}"
        );
    }
}

#[test]
fn a_ring_during_a_run_leads_to_another_run_whatever_the_first_one_ends_with() {
    let ends = [
        Next::AsBefore,
        Next::Settled,
        Next::At {
            due: ms(60_000),
            hold_drift: true,
        },
    ];
    for end in ends {
        let mut queue = queue(4);
        queue.wake(1, Cause::Insert, ms(0));
        started(&mut queue, ms(0));
        queue.ring(1, Cause::ApiKey, ms(1));
        queue.finish(&1, end, ms(2));
        assert_eq!(started(&mut queue, ms(2)), [(1, Cause::ApiKey)], "{end:?}");
    }
}

#[test]
fn a_ring_resets_no_pace_whatever_it_calls_itself() {
    let mut queue = Queue::new(Limits::with_slots(4, 1, ms(1_000)));
    queue.wake(1, Cause::Insert, ms(0));
    started(&mut queue, ms(0));
    queue.finish(&1, Next::Settled, ms(0));
    queue.ring(1, Cause::Started, ms(1));
    assert_eq!(started(&mut queue, ms(1)), []);
    assert_eq!(queue.deadline(), Some(ms(1_000)));
    queue.wake(1, Cause::Started, ms(2));
    assert_eq!(started(&mut queue, ms(2)), [(1, Cause::Started)]);
}
