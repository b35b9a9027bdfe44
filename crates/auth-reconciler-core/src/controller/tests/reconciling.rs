//! Reconciliations: who is next, what is told to those under way, and what follows from their end.

use super::*;
use crate::answer::Shortage;
use crate::problem::{COLUMN_ADDED, FOREIGN_LOCK, LOG_REFUSES, NOT_ASKED};

/// Has `key` reconciled.
pub(super) fn begin(controller: &mut Controller, key: Key, now: Moment) {
    controller.wake(key, Cause::ApiKey, now);
    assert_eq!(reconciled_keys(commands(controller, now)), [key]);
}

#[test]
fn an_event_leads_to_one_reconciliation_of_its_key_and_one_more_for_what_came_meanwhile() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    let run = &controller.running[&key(1)];
    assert_eq!((run.epoch, run.wake.cause), (epoch(1), Cause::ApiKey));
    for _ in 0..3 {
        controller.wake(key(1), Cause::Account, ms(2));
        assert_eq!(commands(&mut controller, ms(2)), [], "never twice at once");
    }
    controller.end_run(key(1), Outcome::Final, ms(3));
    let next = commands(&mut controller, ms(3));
    assert_eq!(reconciled_keys(next), [key(1)]);
    controller.end_run(key(1), Outcome::Final, ms(4));
    assert_eq!(commands(&mut controller, ms(4)), []);
    assert_eq!((controller.armed(), controller.in_flight()), (0, 0));
}

#[test]
fn a_ring_for_a_table_that_is_not_served_has_the_tables_listed_anew() {
    let mut controller = serving(settings());
    let elsewhere = Key {
        watched_id: 2,
        ..key(1)
    };
    controller.handle(rang(elsewhere), ms(1));
    let read = commands(&mut controller, ms(1));
    assert_eq!(work(&read), [scan(false, false)]);
    assert_eq!(reconciled_keys(read), []);
}

#[test]
fn what_happens_to_its_container_before_it_is_asked_is_known_when_it_is() {
    let mut controller = serving(Settings {
        has_engine: true,
        ..settings()
    });
    begin(&mut controller, key(1), FIRST_SIGHT);
    let died = EngineNews {
        instances: [(key(1).instance_id, Cause::Died)].into(),
        ..EngineNews::default()
    };
    controller.handle(Input::Engine(died), FIRST_SIGHT);
    assert_eq!(
        commands(&mut controller, FIRST_SIGHT),
        [],
        "nobody is asked"
    );
    assert_eq!(controller.running[&key(1)].stop, Some(Stop::Overtaken));
}

#[test]
fn a_reconciliation_goes_on_over_the_end_of_its_term_and_its_refusal_ends_no_later_one() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    controller.handle(lost(), ms(2));
    controller.handle(led(2), ms(2));
    controller.handle(found(2, true, false, &[(key(1), Cause::ApiKey)]), ms(3));
    let begun = commands(&mut controller, ms(3));
    assert_eq!(reconciled_keys(begun), [], "it still runs");
    controller.end_run(key(1), Outcome::EpochEnded, ms(4));
    let next = reconciled_keys(commands(&mut controller, ms(4)));
    assert_eq!(next, [key(1)], "the scan has found it again");
    assert_eq!(controller.running[&key(1)].epoch, epoch(2));
    controller.end_run(key(1), Outcome::EpochEnded, ms(5));
    let said = commands(&mut controller, ms(5));
    let left = said.contains(&Command::Leave { end_session: false });
    assert!(left, "another process has taken over: {said:?}");
}

#[test]
fn a_transient_failure_is_repeated_with_growing_pauses_and_said_once() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    let (mut now, mut pauses, mut news) = (ms(1), Vec::new(), 0);
    for _ in 0..20 {
        let failed = Outcome::Failed(failure(FailureKind::Unclear));
        controller.end_run(key(1), failed, now);
        let said = commands(&mut controller, now);
        let is_news =
            |notice: &&Notice| matches!(notice, Notice::ReconcileFailed { news: true, .. });
        news += notices(&said).iter().filter(is_news).count();
        let due = controller.deadline(now).expect("it is repeated");
        pauses.push(due - now);
        now = due;
        assert_eq!(reconciled_keys(commands(&mut controller, now)), [key(1)]);
    }
    assert_eq!(news, 1);
    assert!(pauses.first() < pauses.last(), "{pauses:?}");
    controller.end_run(key(1), Outcome::Final, now);
    assert_eq!(controller.armed(), 0);
}

#[test]
fn an_error_that_nothing_mends_ends_the_process() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    let last = failure(FailureKind::Final("migrate"));
    controller.end_run(key(1), Outcome::Failed(last.clone()), ms(2));
    let end = Command::End(Ending::CannotGoOn {
        advice: "migrate",
        failure: last,
    });
    assert_eq!(commands(&mut controller, ms(2)), [end]);
}

#[test]
fn a_table_that_is_gone_has_the_tables_listed_anew() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    let gone = Outcome::Failed(failure(FailureKind::NoTable));
    controller.end_run(key(1), gone, ms(2));
    let next = commands(&mut controller, ms(2));
    let wanted = Wanted {
        unsettled: false,
        put_off: true,
        every_row: false,
    };
    assert_eq!(work(&next), [Work::Scan(wanted)]);
    assert_eq!(notices(&next), [], "the scan tells what is the matter");
}

#[test]
fn what_is_short_is_told_the_database_once_and_again_with_the_echo_if_that_failed() {
    let mut controller = serving(settings());
    begin(&mut controller, key(1), ms(1));
    let short = Outcome::NotAsked(Shortage::Descriptors);
    controller.end_run(key(1), short, ms(2));
    let said = commands(&mut controller, ms(2));
    let note = Work::NoteTrouble(Note {
        problem: NOT_ASKED,
        trouble: Some(Trouble::NotAsked(vec![Shortage::Descriptors])),
    });
    assert_eq!(work(&said), std::slice::from_ref(&note));
    assert!(matches!(
        notices(&said)[..],
        [Notice::NotAsked { news: true, .. }]
    ));
    controller.handle(done(1, Done::NotedTrouble(false)), ms(3));
    assert_eq!(work(&commands(&mut controller, ms(3))), []);
    controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), ms(4));
    assert_eq!(work(&commands(&mut controller, ms(4))), [note]);
    controller.handle(done(1, Done::NotedTrouble(true)), ms(5));
    let due = controller.deadline(ms(5)).expect("it is tried again");
    assert_eq!(reconciled_keys(commands(&mut controller, due)), [key(1)]);
    controller.end_run(key(1), Outcome::Final, due);
    let said = commands(&mut controller, due);
    assert_eq!(notices(&said), [Notice::AllAsked]);
    let over = Work::NoteTrouble(Note {
        problem: NOT_ASKED,
        trouble: None,
    });
    assert_eq!(work(&said), [over]);
}

#[test]
fn a_fault_is_said_when_it_begins_and_ends_and_then_every_row_is_looked_at() {
    let mut controller = serving(settings());
    let fault = |problem: &str| Fault {
        problem: problem.to_owned(),
        why: "of a table".to_owned(),
    };
    let mut echo = |faults: Vec<Fault>| {
        controller.handle(
            done(1, Done::Echoed(Ok(Echo { faults, last_id: 0 }))),
            ms(1),
        );
        let said = commands(&mut controller, ms(1));
        let scans = work(&said)
            .into_iter()
            .find(|work| matches!(work, Work::Scan(_)));
        if let Some(Work::Scan(wanted)) = &scans {
            let Wanted {
                unsettled,
                every_row,
                put_off: _,
            } = *wanted;
            controller.handle(found(1, unsettled, every_row, &[]), ms(1));
            commands(&mut controller, ms(1));
            let round = Round::default();
            controller.handle(done(1, Done::WorkedOff(round)), ms(1));
        }
        (notices(&said), scans)
    };
    let gone = fault("TableGone");
    let begun = (vec![Notice::Fault(gone.clone())], Some(scan(false, false)));
    assert_eq!(echo(vec![gone.clone()]), begun);
    assert_eq!(echo(vec![gone.clone()]), (vec![], None), "said once");
    let over = (vec![Notice::FaultOver(gone)], Some(scan(false, true)));
    assert_eq!(echo(vec![]), over);
    let column = fault(COLUMN_ADDED);
    let begun = (vec![Notice::Fault(column.clone())], Some(scan(false, true)));
    let why = "what was read without it was read wrong";
    assert_eq!(echo(vec![column]), begun, "{why}");
}

#[test]
fn a_lock_that_somebody_else_holds_is_said_when_it_begins_and_ends_and_leads_to_no_look() {
    let mut controller = serving(settings());
    let held = Fault {
        problem: FOREIGN_LOCK.to_owned(),
        why: "by a session".to_owned(),
    };
    let mut echo = |faults: Vec<Fault>| {
        controller.handle(
            done(1, Done::Echoed(Ok(Echo { faults, last_id: 0 }))),
            ms(1),
        );
        let said = commands(&mut controller, ms(1));
        assert!(!work(&said).iter().any(|work| matches!(work, Work::Scan(_))));
        notices(&said)
    };
    assert_eq!(echo(vec![held.clone()]), [Notice::Fault(held.clone())]);
    assert_eq!(echo(vec![held.clone()]), []);
    assert_eq!(echo(vec![]), [Notice::FaultOver(held)]);
}

#[test]
fn a_log_that_takes_no_changes_is_said_when_it_begins_and_ends() {
    let mut controller = serving(settings());
    let mut round = |hindered: Vec<Hindrance>, later: bool| {
        let round = Round {
            later,
            hindered,
            ..Round::default()
        };
        controller.handle(done(1, Done::WorkedOff(round)), ms(1));
        let said = commands(&mut controller, ms(1));
        (notices(&said), work(&said))
    };
    let full = || Hindrance::Unlogged("disk full".to_owned());
    let hindrance = full();
    let said = |news| Notice::Hindered {
        hindrance: hindrance.clone(),
        news,
    };
    let begun = vec![Work::NoteTrouble(Note {
        problem: LOG_REFUSES,
        trouble: Some(Trouble::LogRefuses("disk full".to_owned())),
    })];
    assert_eq!(round(vec![full()], true), (vec![said(true)], begun));
    assert_eq!(round(vec![full()], true).0, [said(false)]);
    assert_eq!(round(vec![], true).0, [], "a table was locked");
    assert_eq!(round(vec![], false).0, [Notice::LogAgain]);
    assert_eq!(round(vec![], false).0, []);
}

#[test]
fn what_is_owed_is_worked_off_piece_by_piece_and_what_cannot_be_done_now_with_the_next_echo() {
    let mut controller = serving(settings());
    controller.handle(found(1, false, false, &[]), ms(1));
    assert_eq!(work(&commands(&mut controller, ms(1))), [Work::WorkOff]);
    let piece = Round {
        keys: vec![key(5)],
        more: true,
        ..Round::default()
    };
    controller.handle(done(1, Done::WorkedOff(piece)), ms(2));
    let next = commands(&mut controller, ms(2));
    assert_eq!(work(&next), [Work::WorkOff]);
    assert_eq!(reconciled_keys(next), [key(5)]);
    let later = Round {
        later: true,
        ..Round::default()
    };
    controller.handle(done(1, Done::WorkedOff(later)), ms(3));
    assert_eq!(work(&commands(&mut controller, ms(3))), []);
    controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), ms(4));
    assert_eq!(work(&commands(&mut controller, ms(4))), [Work::WorkOff]);
}

#[test]
fn what_is_in_the_way_of_what_is_owed_is_said_once_while_it_lasts() {
    let mut controller = serving(settings());
    controller.handle(found(1, false, false, &[]), ms(1));
    commands(&mut controller, ms(1));
    let mut news = Vec::new();
    let mut now = ms(1);
    for minutes in [0, 1, 1, 3] {
        now += ECHO * minutes;
        let hindered = Round {
            later: true,
            hindered: vec![Hindrance::Unlogged("the disk is full".to_owned())],
            ..Round::default()
        };
        controller.handle(done(1, Done::WorkedOff(hindered)), now);
        let said = notices(&commands(&mut controller, now));
        news.extend(said.into_iter().filter_map(|notice| {
            let Notice::Hindered { news, .. } = notice else {
                return None;
            };
            Some(news)
        }));
        controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), now);
        commands(&mut controller, now);
    }
    assert_eq!(news, [true, false, false, true], "once more after its end");
}

#[test]
fn the_output_of_a_container_is_followed_and_an_end_that_came_too_late_has_nothing_to_tell() {
    let mut controller = serving(Settings {
        has_engine: true,
        ..settings()
    });
    begin(&mut controller, key(1), FIRST_SIGHT);
    let follow = Some(Output {
        life: follow::Life {
            container: "c1".to_owned(),
            started_at: None,
        },
        profile: &crate::profile::PROFILES[0],
    });
    let again = Outcome::Again {
        after: ms(50),
        hold_drift: false,
        wants_witness: false,
        follow,
        unsure: false,
    };
    controller.end_run(key(1), again, FIRST_SIGHT);
    let said = commands(&mut controller, FIRST_SIGHT);
    let [Command::Follow { serial, .. }] = said.as_slice() else {
        panic!("{said:?}");
    };
    let unreadable = |serial| {
        Input::Engine(EngineNews {
            ended: vec![FollowerEnded {
                key: key(1),
                serial,
                unreadable: Some("501".to_owned()),
            }],
            ..EngineNews::default()
        })
    };
    controller.handle(unreadable(serial + 1), FIRST_SIGHT);
    assert_eq!(commands(&mut controller, FIRST_SIGHT), []);
    controller.handle(unreadable(*serial), FIRST_SIGHT);
    let told = commands(&mut controller, FIRST_SIGHT);
    assert!(
        told.contains(&Command::Unfollow { key: key(1) }),
        "{told:?}"
    );
    let said = notices(&told);
    assert!(
        matches!(said[..], [Notice::Unreadable { first: true, .. }]),
        "{said:?}"
    );
}

/// Its container may have ended, and nothing else would tell: an event of it may have come before that could be asked.
#[test]
fn one_whose_container_was_not_shown_is_looked_at_again_soon_and_then_ever_more_rarely() {
    let again = Outcome::Again {
        after: Duration::from_secs(60),
        hold_drift: false,
        wants_witness: false,
        follow: None,
        unsure: true,
    };
    for outcome in [again, Outcome::Unsure] {
        let mut controller = serving(settings());
        begin(&mut controller, key(1), ms(1));
        let (mut now, mut pauses) = (ms(1), Vec::new());
        for _ in 0..20 {
            controller.end_run(key(1), outcome.clone(), now);
            commands(&mut controller, now);
            // The echo is not of it.
            let due = controller
                .queue
                .deadline(Claim::default())
                .expect("it is looked at again");
            pauses.push(due - now);
            now = due;
            assert_eq!(reconciled_keys(commands(&mut controller, now)), [key(1)]);
        }
        assert!(pauses[0] < ms(100), "{pauses:?}");
        assert!(pauses[19] > 10 * pauses[0], "{pauses:?}");
    }
}
