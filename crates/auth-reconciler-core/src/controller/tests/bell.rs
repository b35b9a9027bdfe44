//! The doorbell: when nobody has to ring, and what is read for that.

use super::log::{begun, brought, next_log_read, nothing_found, recorded, rest};
use super::steps::{failed, next_all, read, reads};
use super::*;
use crate::record::Recorded;

fn bell(commands: &[Command]) -> Vec<Work> {
    let all = work(commands).into_iter();
    all.filter(|work| matches!(work, Work::Hush | Work::Resound | Work::AwaitSilent))
        .collect()
}

/// There is one ring after the other.
fn rung_twice(controller: &mut Controller) -> Vec<Command> {
    controller.handle(rang(key(1)), ms(1));
    let (batch, _) = next_log_read(controller, ms(1));
    controller.handle(rang(key(2)), ms(1));
    controller.handle(brought(batch, &[1], false, ms(1)), ms(1));
    next_all(controller, ms(1))
}

/// A batch of the log that brings nothing.
fn brought_nothing(controller: &mut Controller, now: Moment) {
    let (batch, _) = next_log_read(controller, now);
    controller.handle(brought(batch, &[], false, now), now);
}

/// Nobody rings, two changes are being probed, and this batch of the log is being read because of that.
fn silent() -> (Controller, u64) {
    let mut controller = serving(settings());
    let told = rung_twice(&mut controller);
    assert_eq!(bell(&told), [Work::Hush]);
    let log_reads = |command: &&Command| matches!(command, Command::Read { log: Some(_), .. });
    let batches: Vec<u64> = reads(&told).iter().map(|(batch, _)| *batch).collect();
    assert_eq!(told.iter().filter(log_reads).count(), 1, "{told:?}");
    controller.handle(done(1, Done::Hushed(Ok(true))), ms(1));
    controller.handle(brought(batches[0], &[2], false, ms(1)), ms(1));
    let [(batch, _)] = reads(&next_all(&mut controller, ms(1)))[..] else {
        panic!("a read that has brought something is followed by another");
    };
    (controller, batch)
}

/// The leader before it may have had writers keep silent, and have ended before it read what they wrote.
#[test]
fn a_term_begins_with_a_wait_for_those_who_were_silent_and_a_read() {
    let mut controller = Controller::new(settings());
    commands(&mut controller, ms(0));
    controller.handle(led(1), ms(0));
    let told = bell(&commands(&mut controller, ms(0)));
    assert_eq!(told, [], "the first scan would find the same");
    controller.handle(found(1, true, false, &[]), ms(0));
    let told = rest(&mut controller, ms(0));
    assert_eq!(bell(&told), [Work::AwaitSilent]);
    let [(batch, _)] = reads(&told)[..] else {
        panic!("no read: {told:?}");
    };
    controller.handle(brought(batch, &[], false, ms(0)), ms(0));
    // One that does not end, as a transaction that was prepared, is waited for again; it may be another one by now.
    for all in [false, true] {
        controller.handle(done(1, Done::Awaited(Ok(all))), ms(1));
        let told = rest(&mut controller, ms(1));
        let again = if all { vec![] } else { vec![Work::AwaitSilent] };
        assert_eq!(bell(&told), again);
        let [(batch, _)] = reads(&told)[..] else {
            panic!("no read: {told:?}");
        };
        controller.handle(brought(batch, &[], false, ms(1)), ms(1));
    }
    assert_eq!(bell(&rest(&mut controller, ms(2))), []);
}

#[test]
fn one_change_now_and_then_rings_and_costs_nothing_more() {
    let mut controller = serving(settings());
    for number in 1..4 {
        begun(&mut controller, number, ms(1));
        recorded(&mut controller, number, Recorded::Written, ms(2));
        assert_eq!(rest(&mut controller, ms(2)), []);
    }
}

/// Any role may ring.
#[test]
fn rings_that_bring_nothing_have_nobody_keep_silent() {
    let mut controller = serving(settings());
    for _ in 0..3 {
        controller.handle(rang(key(1)), ms(1));
        let (batch, _) = next_log_read(&mut controller, ms(1));
        controller.handle(rang(key(1)), ms(1));
        controller.handle(brought(batch, &[], false, ms(1)), ms(1));
        let told = rest(&mut controller, ms(1));
        assert_eq!(bell(&told), []);
        let [(batch, _)] = reads(&told)[..] else {
            panic!("no read: {told:?}");
        };
        controller.handle(brought(batch, &[], false, ms(1)), ms(1));
    }
}

/// Nobody tells of what is committed then.
#[test]
fn while_nobody_rings_the_log_is_read_until_it_brings_nothing_and_once_more_when_all_ring() {
    let (mut controller, batch) = silent();
    controller.handle(brought(batch, &[], false, ms(2)), ms(2));
    assert_eq!(bell(&rest(&mut controller, ms(2))), [Work::Resound]);
    controller.handle(done(1, Done::Resounds(Ok(true))), ms(3));
    assert_eq!(bell(&rest(&mut controller, ms(3))), [Work::AwaitSilent]);
    controller.handle(done(1, Done::Awaited(Ok(true))), ms(4));
    brought_nothing(&mut controller, ms(4));
    assert_eq!(rest(&mut controller, ms(4)), []);
}

/// Those who were silent are waited for, the log is read, and nothing more is asked of the doorbell before an echo.
fn settles(controller: &mut Controller, now: Moment) {
    let told = rest(controller, now);
    assert_eq!(bell(&told), [Work::AwaitSilent]);
    for (batch, _) in reads(&told) {
        controller.handle(brought(batch, &[], false, now), now);
    }
    controller.handle(done(1, Done::Awaited(Ok(true))), now);
    brought_nothing(controller, now);
    assert_eq!(bell(&rest(controller, now)), []);
    controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), now);
}

/// Somebody else may have it alone for a while. When it is given back, a stranger could have writers be silent while this
/// process sleeps.
#[test]
fn the_lock_by_which_all_ring_is_asked_for_with_each_echo_until_it_is_had() {
    let mut controller = Controller::new(settings());
    commands(&mut controller, ms(0));
    let led = Input::Led {
        epoch: epoch(1),
        tables: [1].into(),
        has_sleeper_lock: false,
    };
    controller.handle(led, ms(0));
    controller.handle(found(1, true, false, &[]), ms(0));
    for (now, has_lock) in [(ms(1), false), (ms(2), true)] {
        settles(&mut controller, now);
        assert_eq!(bell(&rest(&mut controller, now)), [Work::Resound]);
        controller.handle(done(1, Done::Resounds(Ok(has_lock))), now);
    }
    settles(&mut controller, ms(3));
    assert_eq!(bell(&rest(&mut controller, ms(3))), []);
}

/// It was silent, its changes lie where no read looks any more, and nobody will ring for them.
#[test]
fn a_silent_transaction_of_long_ago_is_read_once_it_was_waited_for() {
    let mut controller = serving(settings());
    for now in [ms(1), ms(2), ms(3)] {
        super::log::read_nothing(&mut controller, 9_000, &[77], now);
    }
    controller.handle(done(1, Done::Awaited(Ok(true))), ms(4));
    assert_eq!(nothing_found(&mut controller, 9_000, &[], ms(4)), 9_000);
    assert_eq!(nothing_found(&mut controller, 9_000, &[], ms(4)), 0);
    assert_eq!(rest(&mut controller, ms(4)), [], "once");
}

/// It takes its time, and the next read is the better for it.
#[test]
fn while_a_record_is_under_way_nobody_has_to_ring_and_at_its_end_the_log_is_read() {
    let (mut controller, batch) = silent();
    controller.handle(
        super::steps::probed(key(1), Some(crate::Answer::Ready), ms(2)),
        ms(2),
    );
    controller.handle(brought(batch, &[], false, ms(2)), ms(2));
    let told = rest(&mut controller, ms(2));
    assert!(matches!(told[..], [Command::Record(_)]), "{told:?}");
    let input = Input::Recorded {
        recordings: vec![super::steps::became(key(1), Recorded::Written)],
        transactions: Vec::new(),
    };
    controller.handle(input, ms(3));
    brought_nothing(&mut controller, ms(3));
    assert_eq!(bell(&rest(&mut controller, ms(3))), [Work::Resound]);
}

/// A trigger of the manager's may sleep in it, and nobody would tell of what is committed meanwhile.
#[test]
fn a_record_that_takes_long_does_not_keep_others_silent() {
    let (mut controller, batch) = silent();
    let answer = super::steps::probed(key(1), Some(crate::Answer::Ready), ms(2));
    controller.handle(answer, ms(2));
    controller.handle(brought(batch, &[], false, ms(2)), ms(2));
    assert_eq!(bell(&rest(&mut controller, ms(2))), []);
    let due = controller.deadline(ms(2)).expect("it is not waited for");
    assert!(due <= ms(2) + queue::PATIENCE, "{due:?}");
    assert_eq!(bell(&rest(&mut controller, due)), [Work::Resound]);
}

/// Somebody may write whom it concerns that is being probed.
#[test]
fn who_is_being_probed_is_read_again_after_those_who_were_silent() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(read(1, vec![(key(1), failed(1))], ms(1)), ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(done(1, Done::Awaited(Ok(true))), ms(2));
    let reads = reads(&next_all(&mut controller, ms(2)));
    assert!(reads.iter().any(|(_, keys)| *keys == [key(1)]), "{reads:?}");
}

/// Whether writers are silent is not known then; with its session that ends.
#[test]
fn a_doorbell_that_fails_ends_the_term() {
    let failed = || failure(FailureKind::Unclear);
    for ended in [
        Done::Hushed(Err(failed())),
        Done::Resounds(Err(failed())),
        Done::Awaited(Err(failed())),
    ] {
        let mut controller = serving(settings());
        controller.handle(done(1, ended), ms(1));
        let told = rest(&mut controller, ms(1));
        assert!(
            told.contains(&Command::Leave { end_session: false }),
            "{told:?}"
        );
    }
}
