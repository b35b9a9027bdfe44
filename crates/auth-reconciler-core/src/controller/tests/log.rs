//! The change log as the queue: when it is read, what is taken out of it, and what is put off.

use super::steps::{became, probed, proposals, snapshot};
use super::*;
use crate::Answer;
use crate::record::Recorded;

/// The next read; nothing else is to be done but to say something and the term's own work.
fn next_read(controller: &mut Controller, now: Moment) -> (u64, Vec<Key>, Option<LogRead>) {
    loop {
        match controller.next(now) {
            Some(Command::Read { batch, keys, log }) => return (batch, keys, log),
            Some(Command::Say(_) | Command::Do { .. }) => {}
            other => panic!("no read: {other:?}"),
        }
    }
}

/// The read that is to be next, which is of the log alone: what of it.
pub(super) fn next_log_read(controller: &mut Controller, now: Moment) -> (u64, LogRead) {
    let (batch, keys, log) = next_read(controller, now);
    assert_eq!(keys, []);
    (batch, log.expect("the log is read"))
}

/// A batch that brought these, each with one change, whose id is its own number.
pub(super) fn brought(batch: u64, numbers: &[u128], more: bool, now: Moment) -> Input {
    let instances = numbers.iter().map(|number| {
        let id = i64::try_from(*number).expect("fits");
        TakenInstance {
            key: key(*number),
            unread: vec![id],
            snapshot: Ok(snapshot(id)),
        }
    });
    let taken = Taken {
        instances: instances.collect(),
        more,
        ..nothing()
    };
    Input::Read(ReadBatch {
        batch,
        at: now,
        snapshots: Vec::new(),
        log: Some(Ok(taken)),
    })
}

pub(super) fn rest(controller: &mut Controller, now: Moment) -> Vec<Command> {
    let all = std::iter::from_fn(|| controller.next(now));
    all.filter(|command| !matches!(command, Command::Say(_)))
        .collect()
}

/// Rung for, and brought by the log.
pub(super) fn begun(controller: &mut Controller, number: u128, now: Moment) {
    controller.handle(rang(key(number)), now);
    let (batch, _) = next_log_read(controller, now);
    controller.handle(brought(batch, &[number], false, now), now);
    let told = rest(controller, now);
    assert!(matches!(told[..], [Command::Probe(_)]), "{told:?}");
}

pub(super) fn recorded(controller: &mut Controller, number: u128, outcome: Recorded, now: Moment) {
    controller.handle(probed(key(number), Some(Answer::Ready), now), now);
    assert_eq!(proposals(rest(controller, now)).len(), 1);
    let input = Input::Recorded {
        recordings: vec![became(key(number), outcome)],
        transactions: Vec::new(),
    };
    controller.handle(input, now);
}

#[test]
fn a_ring_has_the_log_read_once_and_what_it_brings_is_reconciled_at_once() {
    let mut controller = serving(settings());
    begun(&mut controller, 1, ms(1));
    recorded(&mut controller, 1, Recorded::Written, ms(2));
    assert_eq!(rest(&mut controller, ms(2)), [], "nothing is left to read");
}

/// A read passes it over while it is under way: what changed meanwhile would be lost without another.
#[test]
fn after_the_end_of_one_that_was_passed_over_the_log_is_read_again() {
    let mut controller = serving(settings());
    begun(&mut controller, 1, ms(1));
    controller.handle(rang(key(1)), ms(2));
    let (batch, log) = next_log_read(&mut controller, ms(2));
    assert_eq!(log.under_way, [key(1)]);
    controller.handle(brought(batch, &[], false, ms(2)), ms(2));
    recorded(&mut controller, 1, Recorded::Written, ms(3));
    let (_, log) = next_log_read(&mut controller, ms(3));
    assert_eq!(log.under_way, []);
}

#[test]
fn what_was_read_and_not_answered_for_is_put_off_and_passed_over_until_it_is() {
    let mut controller = serving(settings());
    begun(&mut controller, 3, ms(1));
    recorded(&mut controller, 3, Recorded::Busy, ms(2));
    let put_off = Command::PutOff {
        epoch: epoch(1),
        changes: vec![3],
    };
    assert_eq!(rest(&mut controller, ms(2)), [put_off]);
    controller.handle(rang(key(4)), ms(3));
    let (batch, log) = next_log_read(&mut controller, ms(3));
    assert_eq!(log.under_way, [key(3)]);
    controller.handle(brought(batch, &[], false, ms(3)), ms(3));
    controller.handle(Input::PutOff(Ok(true)), ms(4));
    let (batch, log) = next_log_read(&mut controller, ms(4));
    assert_eq!(log.under_way, [], "what is new of it is to be read");
    controller.handle(brought(batch, &[], false, ms(4)), ms(4));
    let due = controller.deadline(ms(4)).expect("it is looked at again");
    assert!(due < ms(200), "{due:?}");
    assert_eq!(next_read(&mut controller, due).1, [key(3)]);
}

/// Else each read of the log would walk past all of them while its API is waited for.
#[test]
fn one_with_very_many_changes_has_them_put_off_as_soon_as_they_are_read() {
    for (count, put_off) in [(1_000, false), (1_001, true)] {
        let mut controller = serving(settings());
        controller.handle(rang(key(1)), ms(1));
        let (batch, _) = next_log_read(&mut controller, ms(1));
        let ids: Vec<i64> = (1..=count).collect();
        let mut many = snapshot(1);
        (many.changes, many.unread) = (ids.clone(), ids.clone());
        let taken = TakenInstance {
            key: key(1),
            unread: ids.clone(),
            snapshot: Ok(many),
        };
        let read = ReadBatch {
            batch,
            at: ms(1),
            snapshots: Vec::new(),
            log: Some(Ok(Taken {
                instances: vec![taken],
                ..nothing()
            })),
        };
        controller.handle(Input::Read(read), ms(1));
        let told = rest(&mut controller, ms(1));
        let asked = told.iter().any(|told| matches!(told, Command::Probe(_)));
        let command = Command::PutOff {
            epoch: epoch(1),
            changes: ids,
        };
        assert!(asked && told.contains(&command) == put_off, "{count}");
    }
}

#[test]
fn one_that_may_not_put_off_any_more_leads_no_more() {
    let mut controller = serving(settings());
    begun(&mut controller, 3, ms(1));
    recorded(&mut controller, 3, Recorded::Busy, ms(2));
    rest(&mut controller, ms(2));
    controller.handle(Input::PutOff(Ok(false)), ms(3));
    let told = rest(&mut controller, ms(3));
    assert!(
        told.contains(&Command::Leave { end_session: false }),
        "{told:?}"
    );
}

#[test]
fn a_backlog_is_taken_as_there_is_room_and_a_share_of_it_from_its_newest_end() {
    let mut controller = serving(settings());
    controller.handle(rang(key(1)), ms(1));
    let (batch, log) = next_log_read(&mut controller, ms(1));
    assert_eq!((log.oldest, log.newest), (3, 1), "there are four slots");
    controller.handle(brought(batch, &[1, 2, 3, 9], true, ms(1)), ms(1));
    let probes = rest(&mut controller, ms(1));
    assert_eq!(probes.len(), 4, "{probes:?}");
    // No room, no read; with each end there is one, in turn from either end.
    recorded(&mut controller, 2, Recorded::Written, ms(2));
    let (batch, log) = next_log_read(&mut controller, ms(2));
    let first = (log.oldest, log.newest);
    controller.handle(brought(batch, &[4], true, ms(2)), ms(2));
    rest(&mut controller, ms(2));
    recorded(&mut controller, 4, Recorded::Written, ms(3));
    let (_, log) = next_log_read(&mut controller, ms(3));
    let second = (log.oldest, log.newest);
    assert_eq!([first, second], [(0, 1), (1, 0)]);
}

#[test]
fn retries_leave_a_slot_to_the_log_even_where_there_is_but_one() {
    let mut one = settings();
    one.limits = Limits::with_slots(1, 60, ms(500));
    let mut controller = serving(one);
    for number in 5..9 {
        controller.wake(key(number), Cause::Backoff, ms(1));
    }
    controller.handle(rang(key(1)), ms(1));
    let (batch, _) = next_log_read(&mut controller, ms(1));
    controller.handle(brought(batch, &[1], false, ms(1)), ms(1));
    assert!(controller.running.contains_key(&key(1)));
}

/// Row 1 is recorded at 2 ms, its pace of one look in 500 ms is spent by that, and the log brings it again at 3 ms.
pub(super) fn brought_too_early() -> Controller {
    let mut limited = settings();
    limited.limits = Limits::with_slots(4, 1, ms(500));
    let mut controller = serving(limited);
    begun(&mut controller, 1, ms(1));
    recorded(&mut controller, 1, Recorded::Written, ms(2));
    controller.handle(rang(key(1)), ms(3));
    let (batch, _) = next_log_read(&mut controller, ms(3));
    controller.handle(brought(batch, &[1], false, ms(3)), ms(3));
    controller
}

/// Its pace is spent. Else somebody who writes ever on had it read ever on.
#[test]
fn one_that_may_not_begin_yet_is_put_off_and_rests_before_it_is_brought_again() {
    let mut controller = brought_too_early();
    let put_off = Command::PutOff {
        epoch: epoch(1),
        changes: vec![1],
    };
    assert_eq!(rest(&mut controller, ms(3)), [put_off]);
    controller.handle(Input::PutOff(Ok(true)), ms(4));
    let (batch, log) = next_log_read(&mut controller, ms(4));
    assert_eq!(log.under_way, [key(1)]);
    controller.handle(brought(batch, &[], false, ms(4)), ms(4));
    let due = controller.deadline(ms(4)).expect("it has waited");
    assert_eq!(next_read(&mut controller, due).1, [key(1)]);
}

/// Somebody rings, and the log is read, in which nothing is unread: from where on. It has seen this.
pub(super) fn read_nothing(
    controller: &mut Controller,
    last_id: i64,
    open: &[u64],
    now: Moment,
) -> i64 {
    controller.handle(rang(key(1)), now);
    nothing_found(controller, last_id, open, now)
}

pub(super) fn nothing_found(
    controller: &mut Controller,
    last_id: i64,
    open: &[u64],
    now: Moment,
) -> i64 {
    let (batch, log) = next_log_read(controller, now);
    let seen = LogSeen {
        last_id,
        in_progress: Some(open.to_vec()),
        ..LogSeen::default()
    };
    let read = ReadBatch {
        batch,
        at: now,
        snapshots: Vec::new(),
        log: Some(Ok(Taken { seen, ..nothing() })),
    };
    controller.handle(Input::Read(read), now);
    log.after
}

/// Whatever has kept it from being rung for. An echo tells how far the log has come.
#[test]
fn what_nobody_has_rung_for_is_read_after_an_echo_and_nothing_is_where_nothing_was_written() {
    let mut controller = serving(settings());
    read_nothing(&mut controller, 9, &[], ms(1));
    let echo = |last_id| {
        let faults = Vec::new();
        done(1, Done::Echoed(Ok(Echo { faults, last_id })))
    };
    controller.handle(echo(9), ms(2));
    assert_eq!(rest(&mut controller, ms(2)), [], "nothing was written");
    controller.handle(echo(10), ms(3));
    nothing_found(&mut controller, 10, &[77], ms(3));
    controller.handle(echo(10), ms(4));
    assert_eq!(
        rest(&mut controller, ms(4)),
        [],
        "a server has always some in progress"
    );
}

/// It rings when it is committed, and its changes lie where no read looks any more.
#[test]
fn once_a_transaction_of_long_ago_has_ended_the_log_is_read_from_where_its_changes_may_begin() {
    let mut controller = serving(settings());
    read_nothing(&mut controller, 9_000, &[77], ms(1));
    read_nothing(&mut controller, 9_000, &[77], ms(2));
    assert_eq!(read_nothing(&mut controller, 9_000, &[77], ms(3)), 9_000);
    assert_eq!(rest(&mut controller, ms(3)), [], "it is not waited for");
    assert_eq!(read_nothing(&mut controller, 9_000, &[], ms(4)), 9_000);
    assert_eq!(nothing_found(&mut controller, 9_000, &[], ms(4)), 0);
    assert_eq!(rest(&mut controller, ms(4)), [], "once");
}

/// Its first changes may be older than those that were answered for.
#[test]
fn all_of_the_log_is_read_again_for_a_table_that_was_not_served() {
    let mut controller = serving(settings());
    read_nothing(&mut controller, 5_000, &[], ms(1));
    read_nothing(&mut controller, 5_000, &[], ms(2));
    assert_eq!(read_nothing(&mut controller, 5_000, &[], ms(3)), 5_000);
    let backlog = Backlog {
        tables: [1, 2].into(),
        ..Backlog::default()
    };
    let wanted = Wanted {
        unsettled: false,
        put_off: false,
        every_row: false,
    };
    let scanned = Done::Scanned {
        wanted,
        result: Ok(backlog),
    };
    controller.handle(done(1, scanned), ms(4));
    assert_eq!(read_nothing(&mut controller, 5_000, &[], ms(5)), 0);
}

/// It may have begun elsewhere, and what it saw of the log may be of before a crash.
#[test]
fn what_a_read_of_an_earlier_term_has_taken_is_left_to_the_next_one() {
    let mut controller = serving(settings());
    controller.handle(rang(key(1)), ms(1));
    let (batch, _) = next_log_read(&mut controller, ms(1));
    controller.handle(lost(), ms(2));
    controller.handle(led(2), ms(2));
    controller.handle(brought(batch, &[1], false, ms(3)), ms(3));
    assert!(!controller.running.contains_key(&key(1)));
}

/// Somebody holds the log for a moment: that is said, and what it brings again is looked at. Another failure ends the term.
#[test]
fn what_could_not_be_put_off_is_brought_again() {
    for (kind, goes_on) in [(FailureKind::Busy, true), (FailureKind::Passing, false)] {
        let mut controller = serving(settings());
        begun(&mut controller, 3, ms(1));
        recorded(&mut controller, 3, Recorded::Busy, ms(2));
        rest(&mut controller, ms(2));
        controller.handle(Input::PutOff(Err(failure(kind))), ms(3));
        let told: Vec<Command> = std::iter::from_fn(|| controller.next(ms(3))).collect();
        let said = notices(&told).contains(&Notice::Busy(key(3), failure(kind)));
        assert_eq!(said, goes_on, "{told:?}");
        let is_read = |command: &Command| matches!(command, Command::Read { log: Some(_), .. });
        assert_eq!(told.iter().any(is_read), goes_on, "{told:?}");
    }
}
