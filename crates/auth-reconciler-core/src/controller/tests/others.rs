//! What others can cost us: whoever rings, and whoever holds a lock on the log.

use super::log::{
    begun, brought, brought_too_early, next_log_read, nothing_found, read_nothing, recorded, rest,
};
use super::steps::{failed, next_all, read};
use super::*;
use crate::record::Recorded;

/// A read of the log that somebody's lock has ended.
fn held(batch: u64, now: Moment) -> Input {
    Input::Read(ReadBatch {
        batch,
        at: now,
        snapshots: Vec::new(),
        log: Some(Err(failure(FailureKind::Busy))),
    })
}

const LEAVE: Command = Command::Leave { end_session: false };

/// Its term would end, and everything be looked for anew, because somebody reindexes the log.
#[test]
fn a_log_that_somebody_holds_for_a_moment_is_read_again_in_the_same_term() {
    let mut controller = serving(settings());
    controller.handle(rang(key(1)), ms(1));
    let mut now = ms(1);
    for _ in 0..3 {
        let (batch, _) = next_log_read(&mut controller, now);
        controller.handle(held(batch, now + ms(20)), now + ms(20));
        assert_eq!(rest(&mut controller, now + ms(20)), [], "not at once");
        now = controller
            .deadline(now + ms(20))
            .expect("it is tried again");
    }
    let (batch, _) = next_log_read(&mut controller, now);
    controller.handle(brought(batch, &[1], false, now), now);
    assert!(controller.running.contains_key(&key(1)));
}

#[test]
fn a_log_that_somebody_holds_for_long_ends_the_term() {
    let mut controller = serving(settings());
    controller.handle(rang(key(1)), ms(1));
    let mut now = ms(1);
    let left = (0..100).any(|_| {
        let (batch, _) = next_log_read(&mut controller, now);
        controller.handle(held(batch, now + ms(20)), now + ms(20));
        let left = rest(&mut controller, now + ms(20)).contains(&LEAVE);
        now = controller.deadline(now).unwrap_or(now);
        left
    });
    assert!(left && now > ms(500) && now < ms(10_000), "{now:?}");
}

/// A probe of an established failure may hang, and with each ring its row is read again: any role may ring.
#[test]
fn whoever_rings_on_has_rows_that_are_being_probed_read_at_the_pace_of_the_log() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(read(1, vec![(key(1), failed(1))], ms(1)), ms(1));
    next_all(&mut controller, ms(1));
    let mut batches = 0;
    for _ in 0..2_000 {
        controller.handle(rang(key(1)), ms(2));
        for command in next_all(&mut controller, ms(2)) {
            let Command::Read { batch, keys, log } = command else {
                continue;
            };
            batches += 1;
            let snapshots = keys.into_iter().map(|key| (key, Ok(failed(1))));
            let read = ReadBatch {
                batch,
                at: ms(2),
                snapshots: snapshots.collect(),
                log: log.map(|_| Ok(nothing())),
            };
            controller.handle(Input::Read(read), ms(2));
        }
    }
    assert!(
        (1..=512).contains(&batches),
        "{batches} reads at one moment"
    );
}

/// Else whoever rings in words that nobody understands has all of these probed four times a second.
#[test]
fn a_ring_for_a_scan_does_not_have_looked_at_what_is_put_off_and_remembered() {
    let mut controller = serving(settings());
    begun(&mut controller, 3, ms(1));
    recorded(&mut controller, 3, Recorded::Busy, ms(2));
    commands(&mut controller, ms(2));
    let scan = Notified {
        rang: true,
        scan: true,
        ..Notified::default()
    };
    controller.handle(Input::Notified(scan), ms(3));
    assert_eq!(scans(&commands(&mut controller, ms(3))), [false]);
    controller.handle(found(1, false, false, &[]), ms(4));
    // Of one whose table was not there nothing is remembered.
    controller.wake(key(5), Cause::Operator, ms(4));
    commands(&mut controller, ms(4));
    controller.end_run(key(5), Outcome::UnknownTable, ms(5));
    assert_eq!(scans(&commands(&mut controller, ms(5))), [true]);
}

/// Somebody put it off who is gone, or this process while it was served before.
#[test]
fn of_a_table_that_was_not_served_what_was_put_off_is_found() {
    let mut controller = serving(settings());
    let scanned = || {
        let wanted = Wanted {
            unsettled: false,
            put_off: false,
            every_row: false,
        };
        let backlog = Backlog {
            tables: [1, 2].into(),
            ..Backlog::default()
        };
        let result = Ok(backlog);
        done(1, Done::Scanned { wanted, result })
    };
    controller.handle(scanned(), ms(1));
    assert_eq!(scans(&commands(&mut controller, ms(1))), [true]);
    controller.handle(scanned(), ms(2));
    assert!(scans(&commands(&mut controller, ms(2))).is_empty(), "once");
}

/// Of each scan, whether it finds what was put off.
fn scans(commands: &[Command]) -> Vec<bool> {
    let wanted = work(commands).into_iter().filter_map(|work| {
        let Work::Scan(wanted) = work else {
            return None;
        };
        Some(wanted.put_off)
    });
    wanted.collect()
}

#[test]
fn ten_holds_of_the_log_in_a_row_are_borne_and_a_read_of_it_ends_the_row() {
    let mut controller = serving(settings());
    let mut now = ms(1);
    let mut holds = |controller: &mut Controller, count: usize| {
        let mut left = 0;
        for _ in 0..count {
            let (batch, _) = next_log_read(controller, now);
            controller.handle(held(batch, now), now);
            left += usize::from(rest(controller, now).contains(&LEAVE));
            now = controller.deadline(now).unwrap_or(now);
        }
        (left, now)
    };
    controller.handle(rang(key(1)), ms(1));
    let (left, at) = holds(&mut controller, 10);
    assert_eq!(left, 0);
    let (batch, _) = next_log_read(&mut controller, at);
    controller.handle(brought(batch, &[], false, at), at);
    controller.handle(rang(key(1)), at);
    assert_eq!(holds(&mut controller, 10).0, 0, "it was read in between");
    assert_eq!(holds(&mut controller, 1).0, 1, "the eleventh");
}

/// The ring is answered by the first read that can be made, and by whatever that one finds that it still owes.
#[test]
fn a_ring_outlasts_a_hold_of_the_log() {
    let mut controller = serving(settings());
    for moment in 1..=3 {
        read_nothing(&mut controller, 9_000, &[77], ms(moment));
    }
    controller.handle(rang(key(1)), ms(4));
    let (batch, _) = next_log_read(&mut controller, ms(4));
    controller.handle(held(batch, ms(4)), ms(4));
    rest(&mut controller, ms(4));
    let now = controller.deadline(ms(4)).expect("it is tried again");
    assert_eq!(nothing_found(&mut controller, 9_000, &[], now), 9_000);
    // The transaction that was under way has ended, and its changes may lie before.
    assert_eq!(nothing_found(&mut controller, 9_000, &[], now), 0);
}

/// Else it would be called for the same moment again and again.
#[test]
fn whatever_is_due_at_a_moment_is_done_at_that_moment() {
    // It is put off, and rests.
    let mut controller = brought_too_early();
    rest(&mut controller, ms(3));
    controller.handle(Input::PutOff(Ok(true)), ms(4));
    let (batch, _) = next_log_read(&mut controller, ms(4));
    controller.handle(brought(batch, &[], false, ms(4)), ms(4));
    let mut now = ms(4);
    for _ in 0..6 {
        rest(&mut controller, now);
        let Some(due) = controller.deadline(now) else {
            break;
        };
        assert!(due > now, "{due:?}");
        now = due;
    }
    assert!(now >= ms(503), "{now:?}");
}
