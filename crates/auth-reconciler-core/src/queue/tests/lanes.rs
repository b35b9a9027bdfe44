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

/// Whoever joins a fleet that waits costs no walk along all of it; that would take minutes here.
#[test]
fn a_whole_fleet_may_wait() {
    const FLEET: u32 = 200_000;
    let mut queue = queue(1);
    for key in 0..FLEET {
        queue.wake(key, Cause::Insert, ms(0));
    }
    assert_eq!(queue.waiting(), FLEET as usize);
}

/// One deadline is of its run, the other of its pace.
#[test]
fn whichever_of_two_deadlines_comes_first_is_armed_first() {
    for (due, earlier) in [(500, 500), (5_000, 1_000)] {
        let mut queue = Queue::new(Limits::with_slots(1, 1, ms(1_000)));
        queue.wake(1, Cause::Account, ms(0));
        assert_eq!(started(&mut queue, ms(0)), [(1, Cause::Account)]);
        let next = Next::At {
            due: ms(due),
            hold_drift: false,
        };
        queue.finish(&1, next, ms(1));
        queue.wake(1, Cause::Account, ms(10));
        assert_eq!(started(&mut queue, ms(10)), [], "its pace");
        assert_eq!(queue.deadline(Claim::default()), Some(ms(earlier)));
        assert_eq!(queue.armed(), 1);
    }
}
