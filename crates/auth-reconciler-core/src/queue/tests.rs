//! What the queue promises, one promise a test.

use super::*;

mod lanes;
mod share;

const BURST: u32 = 1_000;

fn ms(value: u64) -> Moment {
    Duration::from_millis(value)
}

fn queue(slots: usize) -> Queue<u32> {
    Queue::new(Limits::with_slots(slots, BURST, ms(1)))
}

/// Everything that may start at `now`.
fn started(queue: &mut Queue<u32>, now: Moment) -> Vec<(u32, Cause)> {
    let mut keys = Vec::new();
    while let Some(command) = queue.next(Claim::default(), now) {
        match command {
            Command::Start { key, wake } => keys.push((key, wake.cause)),
            Command::GiveWay { key } => panic!("nobody need give way, {key} was asked to"),
        }
    }
    keys
}

#[test]
fn doubles_merge_under_the_greatest_cause_and_since_the_first() {
    let mut queue = queue(4);
    queue.wake(1, Cause::Drift, ms(10));
    queue.wake(1, Cause::Account, ms(20));
    queue.wake(1, Cause::Drift, ms(30));
    let wake = Wake {
        cause: Cause::Account,
        since: ms(10),
    };
    assert_eq!(
        queue.next(Claim::default(), ms(30)),
        Some(Command::Start { key: 1, wake })
    );
    assert_eq!(queue.next(Claim::default(), ms(30)), None);
    queue.finish(&1, Next::Settled, ms(40));
    assert_eq!(
        (
            queue.next(Claim::default(), ms(40)),
            queue.deadline(Claim::default())
        ),
        (None, None)
    );
}

#[test]
fn a_wake_during_a_run_is_kept_and_runs_after_it() {
    let mut queue = queue(4);
    queue.wake(1, Cause::ApiKey, ms(0));
    assert_eq!(started(&mut queue, ms(0)), [(1, Cause::ApiKey)]);
    queue.wake(1, Cause::Account, ms(5));
    assert_eq!(started(&mut queue, ms(5)), [], "never twice at once");
    queue.finish(&1, Next::Settled, ms(10));
    assert_eq!(started(&mut queue, ms(10)), [(1, Cause::Account)]);
}

/// The run that an operator asks for takes the deadline with it, which a held foreign write would wait for.
#[test]
fn a_foreign_write_during_a_run_is_kept_though_an_earlier_run_has_held_them_back() {
    let mut queue = queue(4);
    queue.wake(1, Cause::Drift, ms(0));
    started(&mut queue, ms(0));
    let hold = Next::At {
        due: ms(60_000),
        hold_drift: true,
    };
    queue.finish(&1, hold, ms(10));
    queue.wake(1, Cause::Drift, ms(20));
    assert_eq!(started(&mut queue, ms(20)), [], "held");
    queue.wake(1, Cause::Operator, ms(30));
    assert_eq!(started(&mut queue, ms(30)), [(1, Cause::Operator)]);
    queue.wake(1, Cause::Drift, ms(40));
    queue.finish(&1, Next::Settled, ms(50));
    assert_eq!(started(&mut queue, ms(50)), [(1, Cause::Drift)]);
}

#[test]
fn of_two_deadlines_the_earlier_wins_and_an_event_takes_both() {
    let mut queue = queue(4);
    queue.wake(1, Cause::ApiKey, ms(0));
    started(&mut queue, ms(0));
    let due = |at| Next::At {
        due: ms(at),
        hold_drift: false,
    };
    queue.finish(&1, due(100), ms(1));
    assert_eq!(queue.deadline(Claim::default()), Some(ms(100)));
    assert_eq!(started(&mut queue, ms(99)), []);
    assert_eq!(started(&mut queue, ms(100)), [(1, Cause::Backoff)]);
    queue.finish(&1, due(300), ms(110));
    queue.wake(1, Cause::Account, ms(200));
    assert_eq!(started(&mut queue, ms(200)), [(1, Cause::Account)]);
    queue.finish(&1, Next::Settled, ms(210));
    assert_eq!(
        queue.deadline(Claim::default()),
        None,
        "the run answered for the deadline"
    );
}

#[test]
fn slots_are_bounded_and_retries_leave_room() {
    let mut queue = queue(8);
    for key in 0..20 {
        queue.wake(key, Cause::Backoff, ms(0));
    }
    assert_eq!(
        started(&mut queue, ms(0)).len(),
        6,
        "retries hold three quarters"
    );
    for key in 100..120 {
        queue.wake(key, Cause::ApiKey, ms(1));
    }
    assert_eq!(
        started(&mut queue, ms(1)),
        [(100, Cause::ApiKey), (101, Cause::ApiKey)]
    );
    assert_eq!(queue.running(), 8);
}

#[test]
fn first_looks_go_before_retries_that_waited_longer() {
    let mut queue = queue(1);
    queue.wake(1, Cause::Backoff, ms(0));
    queue.wake(2, Cause::Backoff, ms(0));
    queue.wake(3, Cause::ApiKey, ms(5));
    assert_eq!(started(&mut queue, ms(5)), [(3, Cause::ApiKey)]);
    // A retry for which something new happens moves up.
    queue.wake(2, Cause::Account, ms(6));
    queue.finish(&3, Next::Settled, ms(7));
    assert_eq!(started(&mut queue, ms(7)), [(2, Cause::Account)]);
}

#[test]
fn a_long_run_gives_way_to_a_first_look_after_the_patience_and_only_once() {
    let mut queue = queue(2);
    queue.wake(1, Cause::Backoff, ms(0));
    queue.wake(2, Cause::ApiKey, ms(0));
    started(&mut queue, ms(0));
    queue.wake(3, Cause::ApiKey, ms(100));
    queue.wake(4, Cause::ApiKey, ms(100));
    assert_eq!(queue.next(Claim::default(), ms(100)), None);
    assert_eq!(
        queue.deadline(Claim::default()),
        Some(ms(250)),
        "the queue says when to ask"
    );
    assert_eq!(
        queue.next(Claim::default(), ms(250)),
        Some(Command::GiveWay { key: 1 }),
        "retries first"
    );
    assert_eq!(
        queue.next(Claim::default(), ms(250)),
        Some(Command::GiveWay { key: 2 })
    );
    assert_eq!(queue.next(Claim::default(), ms(250)), None);
    assert_eq!(
        queue.deadline(Claim::default()),
        None,
        "nobody is asked twice"
    );
    let again = Next::At {
        due: ms(300),
        hold_drift: false,
    };
    queue.finish(&1, again, ms(260));
    assert_eq!(started(&mut queue, ms(260)), [(3, Cause::ApiKey)]);
}

#[test]
fn a_storm_of_hanging_instances_delays_a_fresh_one_by_patience_not_by_time_outs() {
    let mut queue = queue(64);
    for key in 0..200 {
        queue.wake(key, Cause::Insert, ms(0));
    }
    let fresh = 1_000;
    queue.wake(fresh, Cause::ApiKey, ms(0));
    let mut now = ms(0);
    loop {
        while let Some(command) = queue.next(Claim::default(), now) {
            match command {
                Command::Start { key, .. } if key == fresh => {
                    assert!(now <= ms(1_000), "started only after {now:?}");
                    return;
                }
                Command::Start { .. } => {}
                // Every one of them hangs until it is asked.
                Command::GiveWay { key } => {
                    let due = now + ms(20);
                    queue.finish(
                        &key,
                        Next::At {
                            due,
                            hold_drift: false,
                        },
                        now,
                    );
                }
            }
        }
        now = queue
            .deadline(Claim::default())
            .expect("the fresh one still waits");
    }
}

#[test]
fn held_drift_waits_for_the_end_of_the_hold_and_other_causes_do_not() {
    let mut queue = queue(4);
    queue.wake(1, Cause::Drift, ms(0));
    started(&mut queue, ms(0));
    queue.wake(1, Cause::Drift, ms(1));
    let hold = Next::At {
        due: ms(1_000),
        hold_drift: true,
    };
    queue.finish(&1, hold, ms(2));
    assert_eq!(
        started(&mut queue, ms(2)),
        [],
        "kept drift of the run is held, too"
    );
    for moment in 3..500 {
        queue.wake(1, Cause::Drift, ms(moment));
        assert_eq!(started(&mut queue, ms(moment)), []);
    }
    queue.wake(1, Cause::Account, ms(500));
    assert_eq!(started(&mut queue, ms(500)), [(1, Cause::Account)]);
    queue.finish(&1, hold, ms(501));
    assert_eq!(started(&mut queue, ms(1_000)), [(1, Cause::Backoff)]);
    queue.finish(&1, Next::Settled, ms(1_001));
    queue.wake(1, Cause::Drift, ms(1_002));
    assert_eq!(
        started(&mut queue, ms(1_002)),
        [(1, Cause::Drift)],
        "the hold is over"
    );
}

#[test]
fn looks_beyond_the_burst_are_paced_and_none_is_lost() {
    let mut queue = Queue::new(Limits::with_slots(4, 5, ms(500)));
    let mut looks = Vec::new();
    let mut now = ms(0);
    while now < ms(10_000) {
        queue.wake(1, Cause::Account, now);
        for (key, _) in started(&mut queue, now) {
            looks.push(now);
            queue.finish(&key, Next::Settled, now);
        }
        now += ms(1);
    }
    assert_eq!(
        looks[..5],
        [ms(0), ms(1), ms(2), ms(3), ms(4)],
        "the burst is free"
    );
    assert!(
        looks.len() <= 5 + 20,
        "{} looks in ten seconds",
        looks.len()
    );
    // The last wake came after the last look, and is not forgotten.
    let due = queue.deadline(Claim::default()).expect("a look is owed");
    assert_eq!(started(&mut queue, due).len(), 1);
}

#[test]
fn clear_forgets_what_waits_and_keeps_what_runs() {
    let mut queue = queue(1);
    queue.wake(1, Cause::ApiKey, ms(0));
    started(&mut queue, ms(0));
    queue.wake(1, Cause::Account, ms(1));
    queue.wake(2, Cause::ApiKey, ms(1));
    queue.clear();
    assert_eq!((queue.waiting(), queue.armed(), queue.running()), (0, 0, 1));
    queue.wake(1, Cause::Resync, ms(2));
    assert_eq!(started(&mut queue, ms(2)), [], "still one run a key");
    queue.finish(&1, Next::Settled, ms(3));
    assert_eq!(started(&mut queue, ms(3)), [(1, Cause::Resync)]);
}

#[test]
fn memory_is_bounded_by_the_keys_that_are_in_use() {
    let mut queue = queue(4);
    for key in 0..100_000 {
        let now = ms(u64::from(key) * 10);
        queue.wake(key, Cause::Insert, now);
        assert_eq!(started(&mut queue, now).len(), 1);
        queue.finish(&key, Next::Settled, now);
    }
    assert!(
        queue.entries.len() < 3_000,
        "{} entries",
        queue.entries.len()
    );
}

#[test]
fn finishing_what_does_not_run_does_nothing() {
    let mut queue = queue(1);
    queue.finish(
        &1,
        Next::At {
            due: ms(1),
            hold_drift: false,
        },
        ms(0),
    );
    assert_eq!(
        (queue.deadline(Claim::default()), queue.running()),
        (None, 0)
    );
}

#[test]
fn a_start_of_the_container_is_not_held_back_by_what_the_life_before_spent() {
    let mut queue = Queue::new(Limits::with_slots(1, 2, ms(1_000)));
    let mut now = ms(0);
    let starts = |queue: &mut Queue<u32>, cause, now| {
        queue.wake(1, cause, now);
        let starts = started(queue, now).len();
        queue.finish(&1, Next::Settled, now);
        starts
    };
    for goes_on in [Cause::Started, Cause::Unpaused, Cause::Started] {
        assert_eq!(starts(&mut queue, goes_on, now), 1, "{goes_on}");
        assert_eq!(starts(&mut queue, Cause::Output, now), 1);
        assert_eq!(starts(&mut queue, Cause::Output, now), 0, "it is spent");
        // It stops, which waits, and goes on at once.
        assert_eq!(starts(&mut queue, Cause::Died, now), 0);
        now += ms(10);
    }
}

/// However many instances hang, there is room for those of which something is new.
#[test]
fn retries_leave_a_quarter_of_the_places_and_one_at_least() {
    for (slots, retries) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 3),
        (8, 6),
        (64, 48),
        (4_096, 3_072),
    ] {
        let mut queue = Queue::new(Limits::with_slots(slots, BURST, ms(1)));
        for key in 0..slots + 10 {
            queue.wake(key, Cause::Backoff, ms(0));
        }
        let started = std::iter::from_fn(|| queue.next(Claim::default(), ms(0))).count();
        assert_eq!(started, retries, "of {slots}");
        let first = slots + 100;
        queue.wake(first, Cause::Insert, ms(0));
        assert_eq!(
            queue.next(Claim::default(), ms(0)).is_some(),
            slots > 1,
            "of {slots}"
        );
    }
}
