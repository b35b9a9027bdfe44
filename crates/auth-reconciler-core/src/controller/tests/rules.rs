//! The change log as the queue: what a read answers for, and what a term leaves to the next one.

use super::log::{begun, brought, next_log_read, nothing_found, read_nothing, recorded, rest};
use super::steps::{asked, became, failed, next_all, probed, proposals, read, reads, snapshot};
use super::*;
use crate::Answer;
use crate::container::Container;
use crate::queue::PATIENCE;
use crate::record::Recorded;

fn puts_off(commands: &[Command]) -> bool {
    let puts_off = |command: &Command| matches!(command, Command::PutOff { .. });
    commands.iter().any(puts_off)
}

fn reads_log(commands: &[Command]) -> bool {
    let reads = |command: &Command| matches!(command, Command::Read { log: Some(_), .. });
    commands.iter().any(reads)
}

/// The term that has begun meanwhile finds it by itself.
#[test]
fn what_was_read_in_an_earlier_term_is_not_put_off_in_this_one() {
    let mut controller = serving(settings());
    begun(&mut controller, 3, ms(1));
    controller.handle(lost(), ms(2));
    controller.handle(led(2), ms(2));
    rest(&mut controller, ms(2));
    recorded(&mut controller, 3, Recorded::Busy, ms(3));
    let told = rest(&mut controller, ms(3));
    assert!(!puts_off(&told), "{told:?}");
}

#[test]
fn what_waits_to_be_put_off_when_a_term_ends_is_left_to_the_next() {
    let mut controller = serving(settings());
    begun(&mut controller, 3, ms(1));
    begun(&mut controller, 4, ms(1));
    recorded(&mut controller, 3, Recorded::Busy, ms(2));
    assert!(puts_off(&rest(&mut controller, ms(2))));
    recorded(&mut controller, 4, Recorded::Busy, ms(3));
    controller.handle(lost(), ms(4));
    controller.handle(led(2), ms(4));
    rest(&mut controller, ms(4));
    controller.handle(Input::PutOff(Ok(true)), ms(5));
    let told = rest(&mut controller, ms(5));
    assert!(!puts_off(&told), "{told:?}");
}

/// Each read names all of them.
#[test]
fn of_those_that_may_not_begin_yet_few_rest_at_once() {
    let mut limited = settings();
    limited.limits = Limits::with_slots(128, 1, ms(500));
    let mut controller = serving(limited);
    let all: Vec<u128> = (1..=70).collect();
    let bring_all = |controller: &mut Controller, now| {
        controller.handle(rang(key(1)), now);
        let (batch, _) = next_log_read(controller, now);
        controller.handle(brought(batch, &all, false, now), now);
        rest(controller, now)
    };
    assert_eq!(
        bring_all(&mut controller, ms(1)).len(),
        70,
        "they are probed"
    );
    for number in 1..=70 {
        recorded(&mut controller, number, Recorded::Written, ms(2));
    }
    assert!(puts_off(&bring_all(&mut controller, ms(3))));
    controller.handle(Input::PutOff(Ok(true)), ms(4));
    let (_, log) = next_log_read(&mut controller, ms(4));
    assert_eq!(log.under_way.len(), 64);
}

/// Else one hanging API after the other would give way, each after the patience.
#[test]
fn a_long_log_has_all_that_hang_give_way_at_once() {
    let mut controller = serving(settings());
    controller.handle(rang(key(1)), ms(1));
    let (batch, _) = next_log_read(&mut controller, ms(1));
    controller.handle(brought(batch, &[1, 2, 3, 4], true, ms(1)), ms(1));
    assert_eq!(rest(&mut controller, ms(1)).len(), 4, "they are probed");
    let told = rest(&mut controller, ms(1) + PATIENCE);
    let ends = |command: &&Command| matches!(command, Command::EndProbe { .. });
    assert_eq!(told.iter().filter(ends).count(), 4, "{told:?}");
}

/// It rings for itself if it was committed; else it leaves nothing to read.
#[test]
fn for_the_end_of_a_transaction_that_nobody_rang_for_nothing_is_read() {
    let mut controller = serving(settings());
    for at in 1..=3 {
        read_nothing(&mut controller, 9_000, &[77], ms(at));
    }
    controller.handle(found(1, false, false, &[]), ms(4));
    assert_eq!(nothing_found(&mut controller, 9_000, &[], ms(4)), 9_000);
    let told = rest(&mut controller, ms(4));
    assert!(!reads_log(&told), "{told:?}");
}

/// It began where the changes of that table were passed.
#[test]
fn a_read_that_was_under_way_when_a_table_was_found_says_nothing_of_where_the_next_begins() {
    let mut controller = serving(settings());
    for at in 1..=2 {
        read_nothing(&mut controller, 5_000, &[], ms(at));
    }
    controller.handle(rang(key(1)), ms(3));
    let (batch, log) = next_log_read(&mut controller, ms(3));
    assert_eq!(log.after, 5_000);
    let backlog = Backlog {
        tables: [1, 2].into(),
        ..Backlog::default()
    };
    let wanted = Wanted {
        unsettled: false,
        put_off: false,
        every_row: false,
    };
    let result = Ok(backlog);
    controller.handle(done(1, Done::Scanned { wanted, result }), ms(4));
    let seen = LogSeen {
        last_id: 5_000,
        in_progress: Some(Vec::new()),
        ..LogSeen::default()
    };
    let read = ReadBatch {
        batch,
        at: ms(4),
        snapshots: Vec::new(),
        log: Some(Ok(Taken { seen, ..nothing() })),
    };
    controller.handle(Input::Read(read), ms(4));
    assert_eq!(nothing_found(&mut controller, 5_000, &[], ms(5)), 0);
    assert_eq!(read_nothing(&mut controller, 5_000, &[], ms(6)), 0);
}

/// What a read brings that nobody rang for is no excuse for whoever rings for nothing.
#[test]
fn a_flood_for_nothing_keeps_to_its_pace_whatever_other_reads_bring() {
    let mut controller = serving(settings());
    loop {
        controller.handle(rang(key(1)), ms(1));
        let Some(Command::Read { batch, .. }) = controller.next(ms(1)) else {
            break;
        };
        controller.handle(brought(batch, &[], false, ms(1)), ms(1));
    }
    controller.handle(found(1, false, false, &[]), ms(1));
    let (batch, _) = next_log_read(&mut controller, ms(1));
    controller.handle(brought(batch, &[9], false, ms(1)), ms(1));
    let told = rest(&mut controller, ms(1));
    assert!(!reads_log(&told), "{told:?}");
}

#[test]
fn one_for_which_a_batch_had_no_room_is_read_with_the_next() {
    let mut wide = settings();
    wide.limits = Limits::with_slots(512, 60, ms(500));
    let mut controller = serving(wide);
    for number in 1..=300 {
        controller.wake(key(number), Cause::Operator, ms(1));
    }
    for count in [256, 44] {
        let batches = reads(&next_all(&mut controller, ms(1)));
        let [(batch, keys)] = batches.as_slice() else {
            panic!("{batches:?}");
        };
        assert_eq!(keys.len(), count);
        let snapshots = keys.iter().map(|key| (*key, snapshot(1))).collect();
        controller.handle(read(*batch, snapshots, ms(1)), ms(1));
        let told = controller.out.iter();
        let asked = |command: &&Command| matches!(command, Command::Probe(_));
        assert_eq!(told.filter(asked).count(), count);
    }
}

/// The row, or the table, went between the read and the record.
#[test]
fn a_row_that_is_gone_is_read_again_at_once_and_of_a_table_that_is_gone_the_tables_are_listed() {
    let mut controller = serving(settings());
    begun(&mut controller, 1, ms(1));
    recorded(&mut controller, 1, Recorded::Gone, ms(2));
    let reads = reads(&next_all(&mut controller, ms(2)));
    assert!(reads.iter().any(|(_, keys)| *keys == [key(1)]), "{reads:?}");

    let mut controller = serving(settings());
    begun(&mut controller, 1, ms(1));
    recorded(&mut controller, 1, Recorded::Unwatched, ms(2));
    let told = work(&next_all(&mut controller, ms(2)));
    let scans = |work: &Work| matches!(work, Work::Scan(wanted) if wanted.put_off);
    assert!(told.iter().any(scans), "{told:?}");
}

/// Who rang in a transaction that names no row: whatever is being probed may have been written.
#[test]
fn after_a_ring_that_names_nobody_whatever_is_being_probed_is_read_again() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(read(1, vec![(key(1), failed(1))], ms(1)), ms(1));
    next_all(&mut controller, ms(1));
    let rang = Notified {
        rang: true,
        ..Notified::default()
    };
    controller.handle(Input::Notified(rang), ms(2));
    let reads = reads(&next_all(&mut controller, ms(2)));
    assert!(reads.iter().any(|(_, keys)| *keys == [key(1)]), "{reads:?}");
}

#[test]
fn a_ring_for_everything_has_looks_at_every_row_owed() {
    let mut controller = serving(settings());
    let rang = Notified {
        resync: true,
        ..Notified::default()
    };
    controller.handle(Input::Notified(rang), ms(1));
    let told = work(&commands(&mut controller, ms(1)));
    assert!(told.contains(&scan(false, true)), "{told:?}");
}

/// It is by the database's clock, and an API may take seconds to answer.
#[test]
fn an_answer_counts_from_when_it_came_and_not_from_when_the_row_was_read() {
    let mut controller = serving(settings());
    asked(&mut controller, key(1), ms(1));
    let answer = Some(Answer::NotConnected);
    controller.handle(probed(key(1), answer, ms(2_001)), ms(2_001));
    let proposals = proposals(next_all(&mut controller, ms(2_001)));
    let since = proposals.iter().find_map(|proposal| {
        let memory = &proposal.verdict.as_ref()?.memory;
        memory.not_ready_since
    });
    let read_at = snapshot(1).facts.now;
    assert_eq!(since, Some(read_at + chrono::TimeDelta::seconds(2)));
}

/// An engine that did not answer may have had something to say of one that is otherwise done with.
#[test]
fn one_whose_engine_did_not_answer_is_looked_at_again_soon() {
    for unanswered in [false, true] {
        let mut controller = Controller::new(Settings {
            has_engine: true,
            ..settings()
        });
        controller.handle(led(1), ms(0));
        let in_sight = EngineNews {
            status: Some(EngineStatus::InSight),
            ..EngineNews::default()
        };
        controller.handle(Input::Engine(in_sight), ms(0));
        controller.handle(found(1, true, false, &[]), ms(0));
        controller.wake(key(1), Cause::Operator, ms(1));
        let (batch, _) = reads(&next_all(&mut controller, ms(1))).remove(0);
        controller.handle(read(batch, vec![(key(1), snapshot(1))], ms(1)), ms(1));
        next_all(&mut controller, ms(1));
        let inspected = Inspected {
            key: key(1),
            container: Container::Unknown,
            sighting: None,
            address: None,
            has_shown_ours: true,
            unanswered,
        };
        controller.handle(Input::Inspected(Box::new(inspected)), ms(2));
        next_all(&mut controller, ms(2));
        controller.handle(probed(key(1), Some(Answer::Ready), ms(3)), ms(3));
        let proposed = proposals(next_all(&mut controller, ms(3)));
        assert_eq!(proposed.len(), 1);
        let facts = &proposed[0].snapshot.facts;
        assert!(facts.engine_has_shown_ours, "as the engine was found");
        assert!(
            !facts.followed,
            "nobody follows a container of which none knows"
        );
        let recorded = Input::Recorded {
            recordings: vec![became(key(1), Recorded::Written)],
            transactions: Vec::new(),
        };
        controller.handle(recorded, ms(4));
        next_all(&mut controller, ms(4));
        let due = controller.queue.deadline(Claim::default());
        assert_eq!(due.is_some_and(|due| due < ms(200)), unanswered, "{due:?}");
    }
}

/// Something else asked for it, as the end of its container: then it is no answer to whoever writes ever on.
#[test]
fn a_hold_of_foreign_writes_puts_off_no_look_that_something_else_has_asked_for() {
    for (woken, looks) in [
        (Cause::Died, true),
        (Cause::Operator, true),
        (Cause::Drift, false),
        (Cause::Backoff, false),
    ] {
        let mut controller = serving(settings());
        controller.wake(key(1), woken, ms(1));
        next_all(&mut controller, ms(1));
        let mut held = failed(1);
        held.facts.changes[0].cause = Cause::Drift;
        let recorded = held.facts.recorded.as_mut().expect("a verdict");
        recorded.corrections.contested = 1;
        recorded.corrections.hold_until = Some(held.facts.now + chrono::TimeDelta::seconds(30));
        controller.handle(read(1, vec![(key(1), held)], ms(1)), ms(1));
        let told = next_all(&mut controller, ms(1));
        let probes = told
            .iter()
            .any(|command| matches!(command, Command::Probe(_)));
        assert_eq!(probes, looks, "{woken}: {told:?}");
    }
}

/// A trigger of the table replaces the value: that is tried again, and no later than the verdict itself would be.
#[test]
fn one_that_was_overridden_is_tried_again_at_its_own_time_or_after_the_longest_pause() {
    let longest = settings().policy.backoff.max;
    for (answer, soon) in [(Answer::Ready, false), (Answer::NotConnected, true)] {
        let mut controller = serving(settings());
        asked(&mut controller, key(1), ms(1));
        controller.handle(probed(key(1), Some(answer), ms(2)), ms(2));
        assert_eq!(proposals(next_all(&mut controller, ms(2))).len(), 1);
        let recorded = Input::Recorded {
            recordings: vec![became(key(1), Recorded::Overridden)],
            transactions: Vec::new(),
        };
        controller.handle(recorded, ms(2));
        next_all(&mut controller, ms(2));
        let due = controller.queue.deadline(Claim::default()).expect("a try");
        if soon {
            assert!(due < longest / 2, "{due:?}");
        } else {
            assert_eq!(due, ms(2) + longest);
        }
    }
}
