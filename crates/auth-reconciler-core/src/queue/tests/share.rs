//! How the slots are shared with whoever waits in the log.

use super::*;

/// As while more of the log is left than there are slots.
fn more(slots: usize) -> Claim {
    Claim {
        reserved: 0,
        waiting: slots,
    }
}

/// Else a container that died would wait for the end of a long log.
#[test]
fn the_log_keeps_no_first_look_waiting_once_it_has_its_share() {
    let mut queue = queue(16);
    for key in 0..16 {
        queue.begin(&key, Cause::Other, ms(0)).expect("it begins");
    }
    queue.wake(100, Cause::Created, ms(1));
    assert_eq!(queue.next(more(16), ms(1)), None, "there is no slot");
    queue.finish(&0, Next::Settled, ms(2));
    let next = queue.next(more(16), ms(2));
    let starts = matches!(next, Some(Command::Start { key: 100, .. }));
    assert!(starts, "{next:?}");
}

#[test]
fn first_looks_leave_the_log_its_share() {
    for (slots, share) in [(2, 1), (4, 1), (16, 2), (64, 8)] {
        let mut queue = queue(slots);
        for key in 0..100 {
            queue.wake(key, Cause::Created, ms(0));
        }
        while queue.next(more(slots), ms(0)).is_some() {}
        assert_eq!(queue.free(), share, "of {slots}");
        for key in 1_000..1_000 + u32::try_from(share).expect("fits") {
            queue.begin(&key, Cause::Other, ms(0)).expect("it begins");
        }
        queue.finish(&0, Next::Settled, ms(1));
        assert!(queue.next(more(slots), ms(1)).is_some(), "of {slots}");
    }
}

/// Else what is converging, or was busy for a moment, would wait for the end of a long log.
#[test]
fn retries_have_a_share_beside_a_long_log_and_no_more() {
    let mut queue = queue(16);
    for key in 0..16 {
        queue.begin(&key, Cause::Other, ms(0)).expect("it begins");
    }
    for key in 100..120 {
        queue.wake(key, Cause::Backoff, ms(1));
    }
    let mut begun = 0;
    for key in 0..6 {
        queue.finish(&key, Next::Settled, ms(2));
        match queue.next(more(16), ms(2)) {
            Some(_) => begun += 1,
            None => drop(queue.begin(&(200 + key), Cause::Other, ms(2))),
        }
    }
    assert_eq!(begun, 2, "an eighth");
}

/// A read of the log is under way, and what it brings is to begin at once.
#[test]
fn places_that_are_spoken_for_are_left_free() {
    let mut queue = queue(4);
    for key in 0..4 {
        queue.wake(key, Cause::Created, ms(0));
    }
    let claim = Claim {
        reserved: 3,
        waiting: 0,
    };
    let begun = std::iter::from_fn(|| queue.next(claim, ms(0))).count();
    assert_eq!((begun, queue.free()), (1, 3));
}

#[test]
fn where_there_is_one_place_a_first_look_does_not_wait_for_the_end_of_a_long_log() {
    let mut queue = queue(1);
    queue.wake(1, Cause::Created, ms(0));
    let next = queue.next(more(1), ms(0));
    assert!(matches!(next, Some(Command::Start { .. })), "{next:?}");
}

#[test]
fn the_share_of_the_log_is_its_own_again_once_what_it_brought_has_ended() {
    let mut queue = queue(16);
    for key in 0..2 {
        queue.begin(&key, Cause::Other, ms(0)).expect("it begins");
        queue.finish(&key, Next::Settled, ms(1));
    }
    for key in 100..200 {
        queue.wake(key, Cause::Created, ms(1));
    }
    while queue.next(more(16), ms(1)).is_some() {}
    assert_eq!(queue.free(), 2);
}
