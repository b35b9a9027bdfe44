//! Who waits where, and what is kept of what came during a run.

use super::*;

#[test]
fn whoever_waits_is_counted_whatever_for() {
    let mut queue = queue(1);
    queue.wake(9, Cause::Account, ms(0));
    assert_eq!(started(&mut queue, ms(0)), [(9, Cause::Account)]);
    assert_eq!(queue.waiting(), 0);
    for (key, cause) in [
        (1, Cause::Account),
        (2, Cause::Drift),
        (3, Cause::Backoff),
        (4, Cause::Resync),
        (5, Cause::Insert),
    ] {
        queue.wake(key, cause, ms(1));
    }
    assert_eq!((queue.waiting(), queue.running()), (5, 1));
}

/// Else whoever is woken again and again would wait for ever.
#[test]
fn a_retry_that_is_woken_again_keeps_its_place() {
    let mut queue = queue(1);
    queue.wake(9, Cause::Account, ms(0));
    assert_eq!(started(&mut queue, ms(0)), [(9, Cause::Account)]);
    for (key, cause) in [(1, Cause::Backoff), (2, Cause::Backoff), (1, Cause::Resync)] {
        queue.wake(key, cause, ms(1));
    }
    queue.finish(&9, Next::Settled, ms(2));
    assert_eq!(started(&mut queue, ms(2)), [(1, Cause::Resync)]);
}

/// What came while it ran: whether it leads to another run at once, though the run says that foreign writes are held.
#[test]
fn a_hold_that_a_run_begins_keeps_back_foreign_writes_alone() {
    for (cause, at_once) in [
        (Cause::Account, true),
        (Cause::Operator, true),
        (Cause::Started, true),
        (Cause::Drift, false),
        (Cause::Backoff, false),
    ] {
        let mut queue = queue(1);
        queue.wake(1, Cause::Other, ms(0));
        assert_eq!(started(&mut queue, ms(0)), [(1, Cause::Other)]);
        queue.wake(1, cause, ms(1));
        let next = Next::At {
            due: ms(500),
            hold_drift: true,
        };
        queue.finish(&1, next, ms(2));
        let right = if at_once { vec![(1, cause)] } else { vec![] };
        assert_eq!(started(&mut queue, ms(2)), right, "{cause}");
    }
}

/// A fleet that was busy at once is forgotten when it is quiet, though others are looked at ever on.
#[test]
fn a_fleet_that_was_busy_is_forgotten_once_it_is_quiet() {
    let mut queue = queue(10_000);
    for key in 0..5_000 {
        queue.wake(key, Cause::Insert, ms(0));
    }
    assert_eq!(started(&mut queue, ms(0)).len(), 5_000);
    for key in 0..5_000 {
        queue.finish(&key, Next::Settled, ms(1));
    }
    for key in 10_000..21_000 {
        let now = ms(3_600_000 + u64::from(key));
        queue.wake(key, Cause::Insert, now);
        started(&mut queue, now);
        queue.finish(&key, Next::Settled, now);
    }
    let kept = queue.entries.len();
    assert!(kept < 4_000, "{kept}");
}
