//! Terms: how they begin and end, and what is kept over their end.

use super::*;
use crate::standby;

fn standby(leader: Option<standby::Seen>) -> Input {
    Input::StandsBy(Sight {
        foreign: Some(Vec::new()),
        leader: Some(leader),
    })
}

#[test]
fn it_begins_by_connecting_and_leads_once_it_is_told() {
    let mut controller = Controller::new(settings());
    let connect = Command::Connect { after: ms(0) };
    assert_eq!(commands(&mut controller, ms(0)), [connect]);
    assert_eq!(controller.deadline(ms(0)), None);
    controller.handle(led(1), ms(5));
    let first = [scan(true, false), Work::NoteEngine(None)];
    assert_eq!(work(&commands(&mut controller, ms(5))), first);
    assert_eq!(controller.deadline(ms(5)), Some(ms(5) + ECHO));
}

#[test]
fn why_there_is_no_listener_is_said_once_for_what_mends_it() {
    let mut controller = Controller::new(settings());
    commands(&mut controller, ms(0));
    let mut news = |error: &str, advice| {
        let failure = Failure {
            error: error.to_owned(),
            advice,
            ..failure(FailureKind::Passing)
        };
        controller.handle(Input::NotLed(failure), ms(0));
        let said = commands(&mut controller, ms(0));
        let [
            Command::Say(Notice::NoListener { news, .. }),
            Command::Connect { .. },
        ] = said.as_slice()
        else {
            panic!("{said:?}");
        };
        *news
    };
    let wait = Some("the server is starting or stopping");
    assert!(news("in recovery mode", wait));
    assert!(!news("not yet accepting connections", wait));
    assert!(news("no such role", Some("create it")), "another");
    assert!(news("odd", None) && news("odder", None) && !news("odd", None));
}

#[test]
fn who_stood_by_does_not_say_that_nobody_hears() {
    let mut controller = Controller::new(settings());
    let mut stood_by = |input| {
        controller.handle(input, ms(0));
        let said = commands(&mut controller, ms(0));
        said.iter().find_map(|command| {
            if let Command::Say(Notice::NoListener { stood_by, .. }) = command {
                Some(*stood_by)
            } else {
                None
            }
        })
    };
    let no_listener = || Input::NotLed(failure(FailureKind::Passing));
    assert_eq!(stood_by(no_listener()), Some(false), "nobody is known");
    assert_eq!(stood_by(standby(None)), None);
    assert_eq!(stood_by(no_listener()), Some(true));
    assert_eq!(stood_by(no_listener()), Some(true), "not seen since");
    assert_eq!(stood_by(led(1)), None);
    assert_eq!(stood_by(lost()), None);
    assert_eq!(stood_by(no_listener()), Some(false), "it led itself");
}

#[test]
fn a_mistake_in_the_settings_ends_it_at_the_start_and_what_passes_is_waited_for() {
    let mut controller = Controller::new(settings());
    commands(&mut controller, ms(0));
    controller.handle(Input::NotLed(failure(FailureKind::Passing)), ms(0));
    let said = commands(&mut controller, ms(0));
    let [
        Command::Say(Notice::NoListener { .. }),
        Command::Connect { .. },
    ] = said.as_slice()
    else {
        panic!("{said:?}");
    };
    let unclear = failure(FailureKind::Unclear);
    controller.handle(Input::NotLed(unclear.clone()), ms(0));
    let end = Command::End(Ending::NotStarted(unclear.clone()));
    assert_eq!(commands(&mut controller, ms(0)), [end]);

    let mut controller = serving(settings());
    controller.handle(lost(), ms(1));
    commands(&mut controller, ms(1));
    controller.handle(Input::NotLed(unclear), ms(1));
    let said = commands(&mut controller, ms(1));
    assert!(
        matches!(said.last(), Some(Command::Connect { .. })),
        "{said:?}"
    );
    let last = failure(FailureKind::Final("migrate"));
    controller.handle(Input::NotLed(last.clone()), ms(1));
    let end = Command::End(Ending::CannotGoOn {
        advice: "migrate",
        failure: last,
    });
    assert_eq!(commands(&mut controller, ms(1)), [end]);
}

#[test]
fn the_pause_before_a_listener_grows_until_a_term_has_served() {
    let mut controller = serving(settings());
    let mut pauses = Vec::new();
    for _ in 0..40 {
        controller.handle(lost(), ms(1));
        let pause = commands(&mut controller, ms(1))
            .into_iter()
            .find_map(|command| {
                let Command::Connect { after } = command else {
                    return None;
                };
                Some(after)
            });
        pauses.push(pause.expect("it connects again"));
        controller.handle(led(2), ms(1));
    }
    assert_eq!(pauses[0], ms(0), "none after a term that served");
    assert!(pauses[1] >= RECONNECT.min && pauses[1] < pauses[8]);
    assert_eq!(pauses[39], RECONNECT.max);
    controller.handle(found(2, true, false, &[]), ms(1));
    commands(&mut controller, ms(1));
    controller.handle(lost(), ms(1));
    let again = commands(&mut controller, ms(1));
    assert!(
        again.contains(&Command::Connect { after: ms(0) }),
        "{again:?}"
    );
}

#[test]
fn a_result_of_an_earlier_term_is_dropped() {
    let mut controller = serving(settings());
    controller.handle(
        Input::Notified(Notified {
            scan: true,
            ..Notified::default()
        }),
        ms(1),
    );
    assert_eq!(
        work(&commands(&mut controller, ms(1))),
        [scan(false, false)]
    );
    controller.handle(lost(), ms(2));
    commands(&mut controller, ms(2));
    controller.handle(led(2), ms(3));
    commands(&mut controller, ms(3));
    let late = [(key(1), Cause::ApiKey)];
    controller.handle(found(1, false, false, &late), ms(4));
    controller.handle(done(1, Done::Compared(Ok(vec![key(2)]))), ms(4));
    controller.handle(done(1, Done::FoundReady(Some(vec![key(3)]))), ms(4));
    let round = Round {
        keys: vec![key(4)],
        ..Round::default()
    };
    controller.handle(done(1, Done::WorkedOff(round)), ms(4));
    controller.handle(done(1, Done::Echoed(Err("no echo".to_owned()))), ms(4));
    assert_eq!(commands(&mut controller, ms(4)), [], "nothing comes of it");
    controller.handle(found(2, true, false, &late), ms(5));
    let begun = commands(&mut controller, ms(5));
    assert_eq!(reconciled_keys(begun), [key(1)], "of its own scan it does");
}

/// A change could not be logged, and the listener that was told of it is lost: nothing else knows of it.
#[test]
fn a_resync_owed_survives_the_loss_of_the_listener() {
    let both = Notified {
        resync: true,
        lost: Some("it was cut".to_owned()),
        ..Notified::default()
    };
    let before = Notified {
        resync: true,
        ..Notified::default()
    };
    let alone = vec![Input::Notified(both)];
    let apart = vec![Input::Notified(before.clone()), lost()];
    // It was heard and not fetched when the term ended.
    let after = vec![lost(), Input::Notified(before)];
    for told in [alone, apart, after] {
        let mut controller = serving(settings());
        for input in told {
            controller.handle(input, ms(1));
        }
        commands(&mut controller, ms(1));
        controller.handle(led(2), ms(2));
        let first = work(&commands(&mut controller, ms(2)));
        assert!(first.contains(&scan(true, true)), "{first:?}");
    }
}

#[test]
fn a_look_at_every_row_is_owed_until_all_of_them_are_logged_whichever_term_finds_out() {
    let mut controller = serving(settings());
    let resync = Notified {
        resync: true,
        ..Notified::default()
    };
    controller.handle(Input::Notified(resync), ms(1));
    assert_eq!(work(&commands(&mut controller, ms(1))), [scan(false, true)]);
    controller.handle(lost(), ms(2));
    controller.handle(led(2), ms(3));
    assert!(work(&commands(&mut controller, ms(3))).contains(&scan(true, false)));
    let wanted = Wanted {
        unsettled: false,
        put_off: false,
        every_row: true,
    };
    let result = Err(failure(FailureKind::Passing));
    controller.handle(done(1, Done::Scanned { wanted, result }), ms(4));
    controller.handle(found(2, true, false, &[]), ms(5));
    // With the next echo, for it is not rung for again.
    controller.handle(done(2, Done::Echoed(Ok(Echo::default()))), ms(6));
    let next = work(&commands(&mut controller, ms(6)));
    assert!(next.contains(&scan(false, true)), "{next:?}");
}

#[test]
fn no_second_scan_while_one_runs_and_none_is_lost() {
    let mut controller = serving(settings());
    let ring = || {
        Input::Notified(Notified {
            scan: true,
            ..Notified::default()
        })
    };
    controller.handle(ring(), ms(1));
    assert_eq!(
        work(&commands(&mut controller, ms(1))),
        [scan(false, false)]
    );
    for moment in 2..2_000 {
        controller.handle(ring(), ms(moment));
        assert_eq!(work(&commands(&mut controller, ms(moment))), []);
    }
    // One for all that rang before it began, and one for what rang since, at the pace of rings.
    let mut scans = 0;
    for moment in 2_000..4_000 {
        controller.handle(found(1, false, false, &[]), ms(moment));
        let next = work(&commands(&mut controller, ms(moment)));
        scans += usize::from(next.contains(&scan(false, false)));
    }
    assert!((1..=2).contains(&scans), "{scans} scans");
}

#[test]
fn first_looks_wait_a_bounded_time_for_the_engine() {
    let waits = |told: Option<EngineStatus>| {
        let mut controller = Controller::new(Settings {
            has_engine: true,
            ..settings()
        });
        controller.handle(led(1), ms(0));
        controller.handle(found(1, true, false, &[(key(1), Cause::ApiKey)]), ms(1));
        let begun = reconciled_keys(commands(&mut controller, ms(1)));
        assert_eq!(begun, [], "the engine may be about to answer");
        assert_eq!(controller.deadline(ms(1)), Some(FIRST_SIGHT));
        if told.is_some() {
            let news = EngineNews {
                status: told,
                ..EngineNews::default()
            };
            controller.handle(Input::Engine(news), ms(2));
            reconciled_keys(commands(&mut controller, ms(2)))
        } else {
            assert_eq!(reconciled_keys(commands(&mut controller, ms(499))), []);
            reconciled_keys(commands(&mut controller, FIRST_SIGHT))
        }
    };
    assert_eq!(waits(None), [key(1)]);
    assert_eq!(waits(Some(EngineStatus::InSight)), [key(1)]);
    let out_of_sight = EngineStatus::OutOfSight("refused".to_owned());
    assert_eq!(waits(Some(out_of_sight)), [key(1)]);
}

#[test]
fn an_echo_is_due_by_the_clock_and_one_that_is_not_heard_ends_the_term_and_its_session() {
    let mut controller = serving(settings());
    assert_eq!(work(&commands(&mut controller, ECHO)), [Work::Echo]);
    assert_eq!(
        work(&commands(&mut controller, 2 * ECHO)),
        [],
        "one at a time"
    );
    controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), 2 * ECHO);
    assert_eq!(controller.deadline(2 * ECHO), Some(3 * ECHO));
    commands(&mut controller, 3 * ECHO);
    let silent = Err("no echo".to_owned());
    controller.handle(done(1, Done::Echoed(silent)), 3 * ECHO);
    let said = commands(&mut controller, 3 * ECHO);
    assert!(
        said.contains(&Command::Leave { end_session: true }),
        "{said:?}"
    );
}

#[test]
fn a_list_is_compared_after_the_one_before_it_and_finds_what_ran_meanwhile() {
    let mut controller = serving(Settings {
        has_engine: true,
        ..settings()
    });
    controller.wake(key(7), Cause::ApiKey, FIRST_SIGHT);
    let begun = commands(&mut controller, FIRST_SIGHT);
    assert_eq!(reconciled_keys(begun), [key(7)]);
    let list = |id: &str| EngineNews {
        status: Some(EngineStatus::InSight),
        list: Some(vec![(Uuid::from_u128(7), listed(id))]),
        ..EngineNews::default()
    };
    controller.handle(Input::Engine(list("a")), FIRST_SIGHT);
    let compare = |id: &str| Work::Compare(vec![(Uuid::from_u128(7), listed(id))]);
    let first = work(&commands(&mut controller, FIRST_SIGHT));
    assert!(first.contains(&compare("a")), "{first:?}");
    for id in ["b", "c"] {
        controller.handle(Input::Engine(list(id)), FIRST_SIGHT);
        assert_eq!(work(&commands(&mut controller, FIRST_SIGHT)), []);
    }
    controller.handle(done(1, Done::Compared(Ok(Vec::new()))), FIRST_SIGHT);
    assert_eq!(
        work(&commands(&mut controller, FIRST_SIGHT)),
        [compare("c")]
    );
}

#[test]
fn a_process_that_stands_by_says_so_once_rings_and_ends_a_leader_that_does_not_move() {
    let frozen = standby::Seen {
        leader: (7, chrono::DateTime::UNIX_EPOCH),
        oldest_change: Some(1),
        oldest_due: None,
        last_sign: Some(chrono::DateTime::UNIX_EPOCH),
    };
    let mut controller = Controller::new(settings());
    commands(&mut controller, ms(0));
    controller.handle(Input::StandsBy(Sight::default()), ms(0));
    let said = [Command::Say(Notice::StandingBy), Command::WaitForLock];
    assert_eq!(commands(&mut controller, ms(0)), said);
    let mut acts = Vec::new();
    for second in (10..=50).step_by(10) {
        let now = Duration::from_secs(second);
        controller.handle(standby(Some(frozen.clone())), now);
        let said = commands(&mut controller, now);
        assert_eq!(said.last(), Some(&Command::WaitForLock));
        acts.extend(
            said.into_iter()
                .filter(|command| matches!(command, Command::RingLeader | Command::Depose { .. })),
        );
    }
    let ring = Command::RingLeader;
    let depose = Command::Depose {
        leader: frozen.leader,
        news: true,
    };
    assert_eq!(acts, [ring.clone(), ring, depose]);
    controller.handle(led(1), Duration::from_secs(60));
    let first = work(&commands(&mut controller, Duration::from_secs(60)));
    assert!(first.contains(&scan(true, false)));
}

#[test]
fn who_holds_the_lock_without_being_a_daemon_is_named_once() {
    let mut controller = Controller::new(settings());
    let held = |by: &str| {
        Input::StandsBy(Sight {
            foreign: Some(vec![by.to_owned()]),
            leader: None,
        })
    };
    let mut said = Vec::new();
    for by in ["one", "one", "other", "other"] {
        controller.handle(held(by), ms(0));
        said.extend(notices(&commands(&mut controller, ms(0))));
    }
    let named = said.into_iter().filter_map(|notice| {
        let Notice::ForeignLock(by) = notice else {
            return None;
        };
        Some(by)
    });
    assert_eq!(named.collect::<Vec<_>>(), ["one", "other"]);
}
