//! One reconciliation, from its read to its record.

use chrono::{DateTime, Utc};

use super::*;
use crate::container::Container;
use crate::facts::{Change, Facts, Row, Way};
use crate::key::ApiKey;
use crate::record::{Recorded, Recording, Transaction};
use crate::snapshot::Snapshot;
use crate::{Answer, AuthStatus};

fn time() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
}

/// A row with a key, of which a change is in the log.
pub(super) fn snapshot(change: i64) -> Box<Snapshot> {
    Box::new(Snapshot {
        facts: Facts {
            now: time(),
            row: Some(Row {
                provider: Some("telegram".to_owned()),
                serves_api: true,
                api_key: ApiKey::parse("a-key"),
                port: Some(4001),
                auth_status: Some("pending".to_owned()),
                put_aside: false,
            }),
            changes: vec![Change {
                cause: Cause::ApiKey,
                at: time(),
            }],
            recorded: None,
            container: Container::Unknown,
            sighting: None,
            engine_has_shown_ours: false,
            way: Way::default(),
            followed: false,
            paused: None,
        },
        changes: vec![change],
        unread: vec![change],
        version: None,
        generation: change,
        unwritable_for: None,
    })
}

/// The reads among the commands: each with the number of its batch.
pub(super) fn reads(commands: &[Command]) -> Vec<(u64, Vec<Key>)> {
    let reads = commands.iter().filter_map(|command| {
        let Command::Read { batch, keys, .. } = command else {
            return None;
        };
        Some((*batch, keys.clone()))
    });
    reads.collect()
}

pub(super) fn next_all(controller: &mut Controller, now: Moment) -> Vec<Command> {
    std::iter::from_fn(|| controller.next(now)).collect()
}

pub(super) fn read(batch: u64, snapshots: Vec<(Key, Box<Snapshot>)>, at: Moment) -> Input {
    Input::Read(ReadBatch {
        batch,
        at,
        snapshots: snapshots
            .into_iter()
            .map(|(key, snapshot)| (key, Ok(snapshot)))
            .collect(),
        log: None,
    })
}

pub(super) fn probed(key: Key, answer: Option<Answer>, at: Moment) -> Input {
    Input::Probed(Box::new(Probed {
        key,
        answer,
        at,
        tried: String::new(),
    }))
}

pub(super) fn became(key: Key, outcome: Recorded) -> (Key, Result<Recording, Failure>) {
    let recording = Recording {
        outcome,
        from: None,
        reaction_ms: None,
        refusal: None,
    };
    (key, Ok(recording))
}

pub(super) fn proposals(commands: Vec<Command>) -> Vec<crate::record::Proposal> {
    let records = commands.into_iter().filter_map(|command| {
        let Command::Record(proposals) = command else {
            return None;
        };
        Some(proposals)
    });
    records.flatten().collect()
}

/// Its probe is out.
pub(super) fn asked(controller: &mut Controller, key: Key, now: Moment) {
    controller.wake(key, Cause::ApiKey, now);
    let batches = reads(&next_all(controller, now));
    let (batch, keys) = batches.first().expect("a read").clone();
    assert_eq!(keys, [key]);
    controller.handle(read(batch, vec![(key, snapshot(1))], now), now);
    let told = next_all(controller, now);
    let asks = |command: &Command| matches!(command, Command::Probe(probe) if probe.key == key);
    assert!(told.iter().any(asks), "{told:?}");
}

#[test]
fn one_that_is_woken_is_read_asked_and_recorded_and_nothing_is_left() {
    let mut controller = serving(settings());
    asked(&mut controller, key(1), ms(1));
    controller.handle(probed(key(1), Some(Answer::Ready), ms(3)), ms(3));
    let proposed = proposals(next_all(&mut controller, ms(3)));
    let [proposal] = proposed.as_slice() else {
        panic!("{proposed:?}");
    };
    let verdict = proposal.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
    assert_eq!((proposal.epoch, proposal.waited), (epoch(1), ms(2)));
    let recorded = vec![became(key(1), Recorded::Written)];
    controller.handle(
        Input::Recorded {
            recordings: recorded,
            transactions: Vec::new(),
        },
        ms(4),
    );
    let said = next_all(&mut controller, ms(4));
    assert!(
        matches!(said[..], [Command::Say(Notice::Recorded { .. })]),
        "{said:?}"
    );
    assert_eq!((controller.in_flight(), controller.armed()), (0, 0));
}

#[test]
fn what_is_wanted_while_a_batch_is_read_goes_with_the_next() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::ApiKey, ms(1));
    let first = reads(&next_all(&mut controller, ms(1)));
    assert_eq!(first, [(1, vec![key(1)])], "at once, and alone");
    for number in 2..=4 {
        controller.wake(key(number), Cause::ApiKey, ms(1));
        assert_eq!(reads(&next_all(&mut controller, ms(1))), []);
    }
    controller.handle(read(1, vec![(key(1), snapshot(1))], ms(2)), ms(2));
    let next = reads(&next_all(&mut controller, ms(2)));
    assert_eq!(next, [(2, vec![key(2), key(3), key(4)])]);
}

#[test]
fn verdicts_go_to_the_record_together_and_one_that_is_refused_takes_no_other_with_it() {
    let mut controller = serving(settings());
    for number in 1..=3 {
        asked(&mut controller, key(number), ms(1));
    }
    controller.handle(probed(key(1), Some(Answer::Ready), ms(2)), ms(2));
    assert_eq!(proposals(next_all(&mut controller, ms(2))).len(), 1);
    for number in [2, 3] {
        controller.handle(probed(key(number), Some(Answer::Ready), ms(2)), ms(2));
        assert_eq!(proposals(next_all(&mut controller, ms(2))), []);
    }
    let recorded = vec![became(key(1), Recorded::Right)];
    controller.handle(
        Input::Recorded {
            recordings: recorded,
            transactions: Vec::new(),
        },
        ms(3),
    );
    let next = proposals(next_all(&mut controller, ms(3)));
    let keys: Vec<Key> = next.iter().map(|proposal| proposal.key).collect();
    assert_eq!(keys, [key(2), key(3)]);
    let failed = (key(2), Err(failure(FailureKind::Unclear)));
    let recorded = vec![failed, became(key(3), Recorded::Written)];
    controller.handle(
        Input::Recorded {
            recordings: recorded,
            transactions: Vec::new(),
        },
        ms(4),
    );
    assert_eq!(controller.armed(), 1, "the one that failed is tried again");
    assert_eq!(controller.in_flight(), 0);
}

/// What happened to its container while it was asked makes whatever was answered worth nothing.
#[test]
fn a_verdict_is_dropped_if_something_happened_to_the_container_meanwhile() {
    let mut controller = serving(settings());
    asked(&mut controller, key(1), ms(1));
    let died = EngineNews {
        instances: [(key(1).instance_id, Cause::Died)].into(),
        ..EngineNews::default()
    };
    controller.handle(Input::Engine(died), ms(2));
    let stop = Command::EndProbe {
        key: key(1),
        stop: Stop::Overtaken,
    };
    assert_eq!(next_all(&mut controller, ms(2)), [stop]);
    // The answer had come before it was told.
    controller.handle(probed(key(1), Some(Answer::Ready), ms(2)), ms(2));
    let next = next_all(&mut controller, ms(2));
    assert_eq!(reads(&next).len(), 1, "it is looked at again at once");
    assert_eq!(proposals(next), []);
}

/// What happened to a container is in no fence, so it counts up to the moment in which the record is sent.
#[test]
fn a_verdict_is_dropped_if_something_happens_to_the_container_while_it_waits_for_a_batch() {
    let mut controller = serving(settings());
    for of in [1, 2] {
        asked(&mut controller, key(of), ms(1));
    }
    controller.handle(probed(key(1), Some(Answer::Ready), ms(2)), ms(2));
    assert_eq!(proposals(next_all(&mut controller, ms(2))).len(), 1);
    controller.handle(probed(key(2), Some(Answer::Ready), ms(3)), ms(3));
    assert_eq!(proposals(next_all(&mut controller, ms(3))), [], "it waits");
    let died = EngineNews {
        instances: [(key(2).instance_id, Cause::Died)].into(),
        ..EngineNews::default()
    };
    controller.handle(Input::Engine(died), ms(4));
    next_all(&mut controller, ms(4));
    let recorded = Input::Recorded {
        recordings: vec![became(key(1), Recorded::Written)],
        transactions: Vec::new(),
    };
    controller.handle(recorded, ms(5));
    let next = next_all(&mut controller, ms(5));
    assert_eq!(reads(&next), [(3, vec![key(2)])], "it is looked at again");
    assert_eq!(proposals(next), []);
}

/// As [`snapshot`], of one whose failure is established and recorded.
pub(super) fn failed(change: i64) -> Box<Snapshot> {
    let mut ours = snapshot(change);
    ours.facts.recorded = Some(crate::facts::Recorded {
        status: Some(AuthStatus::Failed),
        established: true,
        ..crate::facts::Recorded::default()
    });
    ours.facts.changes[0].cause = Cause::Operator;
    if let Some(row) = &mut ours.facts.row {
        row.auth_status = Some("failed".to_owned());
    }
    ours
}

const OVERWRITTEN: Command = Command::EndProbe {
    key: key(1),
    stop: Stop::Overwritten,
};

/// The snapshot may be older than the write of which is rung while it is on its way.
#[test]
fn a_foreign_write_that_is_rung_for_before_the_probe_has_the_row_read_again_beside_it() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(rang(key(1)), ms(2));
    next_all(&mut controller, ms(2));
    controller.handle(read(1, vec![(key(1), failed(1))], ms(3)), ms(3));
    let told = next_all(&mut controller, ms(3));
    let asks = |command: &Command| matches!(command, Command::Probe(_));
    assert!(told.iter().any(asks), "{told:?}");
    assert_eq!(reads(&told), [(2, vec![key(1)])], "it is read once more");
    // It was written over: the probe, which may hang, is not waited for.
    controller.handle(read(2, vec![(key(1), snapshot(2))], ms(4)), ms(4));
    assert!(next_all(&mut controller, ms(4)).contains(&OVERWRITTEN));
}

#[test]
fn whoever_goes_on_ringing_puts_off_no_foreign_write_and_has_nothing_read_twice_in_a_batch() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.handle(read(1, vec![(key(1), failed(1))], ms(2)), ms(2));
    next_all(&mut controller, ms(2));
    controller.handle(rang(key(1)), ms(3));
    assert_eq!(
        reads(&next_all(&mut controller, ms(3))),
        [(2, vec![key(1)])]
    );
    for _ in 0..3 {
        controller.handle(rang(key(1)), ms(4));
        next_all(&mut controller, ms(4));
    }
    controller.handle(read(2, vec![(key(1), snapshot(2))], ms(5)), ms(5));
    let told = next_all(&mut controller, ms(5));
    assert!(told.contains(&OVERWRITTEN), "{told:?}");
    assert_eq!(reads(&told), [(3, vec![key(1)])], "for all of those rings");
}

/// In a doubt such a one would be asked again and again, and have the tables listed anew each time.
#[test]
fn one_of_a_table_that_is_served_no_longer_is_not_waited_for_in_a_doubt() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::Operator, ms(1));
    next_all(&mut controller, ms(1));
    controller.end_run(key(1), Outcome::Doubted("nowhere".to_owned()), ms(2));
    assert!(controller.in_doubt());
    next_all(&mut controller, ms(2));
    controller.wake(key(1), Cause::Operator, ms(3));
    next_all(&mut controller, ms(3));
    controller.end_run(key(1), Outcome::UnknownTable, ms(4));
    assert!(!controller.in_doubt());
}

/// A batch that began before the reconciliation may be older than what led to it.
#[test]
fn a_snapshot_of_an_earlier_batch_is_not_taken() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::ApiKey, ms(1));
    next_all(&mut controller, ms(1));
    controller.wake(key(2), Cause::ApiKey, ms(2));
    next_all(&mut controller, ms(2));
    let stale = vec![(key(1), snapshot(1)), (key(2), snapshot(2))];
    controller.handle(read(1, stale, ms(3)), ms(3));
    let next = next_all(&mut controller, ms(3));
    assert_eq!(reads(&next), [(2, vec![key(2)])]);
}

#[test]
fn a_probe_that_is_to_give_way_before_it_is_sent_knows_it_from_the_beginning() {
    let mut controller = serving(settings());
    controller.wake(key(1), Cause::ApiKey, ms(1));
    next_all(&mut controller, ms(1));
    controller.ask_to_end(key(1), Stop::GiveWay);
    controller.handle(read(1, vec![(key(1), snapshot(1))], ms(2)), ms(2));
    let told = next_all(&mut controller, ms(2));
    let gives_way = |command: &Command| matches!(command, Command::Probe(probe) if probe.stop == Some(Stop::GiveWay));
    assert!(told.iter().any(gives_way), "{told:?}");
    controller.handle(probed(key(1), None, ms(3)), ms(3));
    assert_eq!(controller.armed(), 1, "it comes again");
}

/// Rows that are written are locked from the first to the last of a batch.
#[test]
fn a_batch_of_records_takes_the_oldest_and_no_more_rows_than_it_may_lock() {
    let mut settings = settings();
    settings.limits = Limits::with_slots(64, 60, ms(500));
    let mut controller = serving(settings);
    for number in 1..=40 {
        asked(&mut controller, key(number), ms(1));
    }
    for number in 1..=40 {
        controller.handle(probed(key(number), Some(Answer::Ready), ms(2)), ms(2));
    }
    let recorded = |proposals: &[crate::record::Proposal], time| Input::Recorded {
        recordings: proposals
            .iter()
            .map(|proposal| became(proposal.key, Recorded::Written))
            .collect(),
        transactions: vec![Transaction {
            rows: proposals.len(),
            held: time,
            alone: None,
        }],
    };
    let first = proposals(next_all(&mut controller, ms(2)));
    assert!((2..20).contains(&first.len()), "{}", first.len());
    assert_eq!(first[0].key, key(1));
    // Slow ones make the next batch a smaller one.
    controller.handle(recorded(&first, Duration::from_secs(1)), ms(3));
    let second = proposals(next_all(&mut controller, ms(3)));
    assert!(second.len() < first.len(), "{}", second.len());
}

#[test]
fn asked_to_stop_it_brings_what_is_under_way_to_its_record_and_begins_nothing() {
    let mut controller = serving(settings());
    asked(&mut controller, key(1), ms(1));
    controller.handle(Input::Stop, ms(2));
    controller.wake(key(2), Cause::ApiKey, ms(2));
    assert_eq!(next_all(&mut controller, 2 * ECHO), [], "nothing new");
    controller.handle(probed(key(1), Some(Answer::Ready), ms(3)), ms(3));
    assert_eq!(proposals(next_all(&mut controller, ms(3))).len(), 1);
    let recorded = vec![became(key(1), Recorded::EpochEnded)];
    let input = Input::Recorded {
        recordings: recorded,
        transactions: Vec::new(),
    };
    controller.handle(input, ms(4));
    let told = next_all(&mut controller, ms(4));
    let connects = |command: &Command| matches!(command, Command::Connect { .. });
    assert!(!told.iter().any(connects), "{told:?}");
    assert_eq!(controller.in_flight(), 0);
}
