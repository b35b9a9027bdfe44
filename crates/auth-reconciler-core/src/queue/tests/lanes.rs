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

/// What was read of it answers for whatever it waited for.
#[test]
fn one_that_begins_with_what_was_read_waits_no_longer_and_does_not_begin_twice() {
    for waits_for in [Cause::Account, Cause::Backoff] {
        let mut queue = queue(4);
        queue.wake(1, waits_for, ms(0));
        let wake = queue.begin(&1, Cause::Other, ms(1)).expect("it begins");
        assert_eq!(
            (wake.cause, wake.since),
            (waits_for.max(Cause::Other), ms(0))
        );
        assert_eq!(queue.waiting(), 0, "{waits_for}");
        assert_eq!(queue.begin(&1, Cause::Account, ms(1)), None, "it runs");
        queue.finish(&1, Next::Settled, ms(2));
        assert_eq!(started(&mut queue, ms(2)), []);
    }
}

#[test]
fn a_foreign_write_that_was_read_waits_for_the_end_of_a_hold_and_nothing_else_does() {
    let mut queue = queue(4);
    queue.begin(&1, Cause::Other, ms(0)).expect("it begins");
    let next = Next::At {
        due: ms(500),
        hold_drift: true,
    };
    queue.finish(&1, next, ms(1));
    assert_eq!(queue.begin(&1, Cause::Drift, ms(2)), None);
    assert!(queue.begin(&1, Cause::Account, ms(2)).is_some());
}

/// Its instance converges, and is looked at again anyway.
#[test]
fn a_retry_gives_way_before_a_first_look_that_runs_for_longer() {
    let mut queue = queue(2);
    queue.wake(1, Cause::Created, ms(0));
    assert_eq!(started(&mut queue, ms(0)), [(1, Cause::Created)]);
    queue.wake(2, Cause::Backoff, ms(1));
    assert_eq!(started(&mut queue, ms(1)), [(2, Cause::Backoff)]);
    queue.wake(3, Cause::Created, ms(2));
    let next = queue.next(Claim::default(), ms(1) + PATIENCE);
    assert_eq!(next, Some(Command::GiveWay { key: 2 }));
}

/// It has its name and its time of what asked, and its place of a retry: else hanging ones would displace each other.
#[test]
fn what_asked_for_a_run_that_came_to_nothing_is_told_with_the_one_that_follows() {
    let mut queue = queue(4);
    let again = Next::At {
        due: ms(50),
        hold_drift: false,
    };
    for key in 1..=4 {
        queue.wake(key, Cause::Died, ms(u64::from(key)));
    }
    assert_eq!(started(&mut queue, ms(5)).len(), 4);
    for key in 1..=4 {
        queue.carry(&key);
        queue.finish(&key, again, ms(6));
    }
    for key in 1..=3 {
        let wake = Wake {
            cause: Cause::Died,
            since: ms(u64::from(key)),
        };
        let next = queue.next(Claim::default(), ms(50));
        assert_eq!(next, Some(Command::Start { key, wake }));
    }
    let next = queue.next(Claim::default(), ms(50));
    assert_eq!(next, None, "retries hold three quarters");
    // Something new of one that waits is told together with it.
    queue.wake(4, Cause::Output, ms(60));
    let wake = Wake {
        cause: Cause::Died,
        since: ms(4),
    };
    let next = queue.next(Claim::default(), ms(60));
    assert_eq!(next, Some(Command::Start { key: 4, wake }));
}

#[test]
fn what_was_answered_for_or_is_forgotten_is_told_no_more() {
    for clears in [false, true] {
        let mut queue = queue(4);
        queue.wake(1, Cause::Died, ms(0));
        assert_eq!(started(&mut queue, ms(0)), [(1, Cause::Died)]);
        queue.carry(&1);
        if clears {
            let again = Next::At {
                due: ms(50),
                hold_drift: false,
            };
            queue.finish(&1, again, ms(1));
            queue.clear();
        } else {
            queue.finish(&1, Next::Settled, ms(1));
        }
        queue.wake(1, Cause::Output, ms(2));
        let wake = Wake {
            cause: Cause::Output,
            since: ms(2),
        };
        let next = queue.next(Claim::default(), ms(2));
        assert_eq!(next, Some(Command::Start { key: 1, wake }), "{clears}");
    }
}

/// Else it would wait for a moment that nobody has armed any more.
#[test]
fn a_hold_ends_with_the_run_that_something_else_has_asked_for() {
    let mut queue = queue(1);
    queue.wake(1, Cause::Drift, ms(0));
    assert_eq!(started(&mut queue, ms(0)), [(1, Cause::Drift)]);
    let hold = Next::At {
        due: ms(1_000),
        hold_drift: true,
    };
    queue.finish(&1, hold, ms(1));
    queue.wake(1, Cause::Account, ms(2));
    assert_eq!(started(&mut queue, ms(2)), [(1, Cause::Account)]);
    queue.finish(&1, Next::Settled, ms(3));
    queue.wake(1, Cause::Drift, ms(4));
    assert_eq!(started(&mut queue, ms(4)), [(1, Cause::Drift)]);
}
