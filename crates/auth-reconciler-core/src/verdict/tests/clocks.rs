//! Clocks that jump, numbers at their end, and moments that nobody meant.

use super::*;
use crate::container::Container;

const HOUR: i64 = 3_600_000;

/// Ready at two hours, and asked in vain since, at these moments in ms.
fn missed(at_ms: &[i64]) -> Verdict {
    let mut verdict = ask(&facts(at(2 * HOUR)), Answer::Ready);
    for now in at_ms {
        verdict = ask(&after(&verdict, facts(at(*now))), REFUSED);
    }
    verdict
}

/// Looks again each time after the wait that was asked for, until it is failed; returns how long that took, in ms.
fn failed_after(mut world: Facts, answer: &Answer) -> i64 {
    let began = world.now;
    loop {
        let verdict = ask(&world, answer.clone());
        let took = (world.now - began).num_milliseconds();
        if verdict.status == Some(AuthStatus::Failed) {
            return took;
        }
        assert!(
            took < 200_000,
            "it would stand until the clock has caught up"
        );
        let wait = TimeDelta::from_std(verdict.retry.expect("not final")).expect("in range");
        world = after(&verdict, facts(world.now + wait));
    }
}

#[test]
fn with_the_clock_set_back_nothing_waits_until_it_has_caught_up() {
    let silent = missed(&[3 * HOUR]);
    let took = failed_after(after(&silent, facts(at(HOUR))), &REFUSED);
    assert!(
        (10_000..80_000).contains(&took),
        "the streak began anew: {took} ms"
    );
    let connecting = ask(&facts(at(3 * HOUR)), Answer::NotConnected);
    let took = failed_after(after(&connecting, facts(at(HOUR))), &Answer::NotConnected);
    assert!((30_000..100_000).contains(&took), "{took} ms");
}

#[test]
fn after_a_machine_slept_it_takes_as_many_misses_as_ever() {
    let slept = 50 * HOUR;
    let twice = missed(&[3 * HOUR, slept]);
    assert_eq!(twice.status, Some(AuthStatus::ClientReady));
    let thrice = missed(&[3 * HOUR, slept, slept + 200]);
    assert_eq!(thrice.status, Some(AuthStatus::Failed));
}

/// A statement is as old as the transaction around it: it may have run before what was recorded, and come after it.
#[test]
fn a_change_that_is_not_answered_for_came_after_whatever_was_recorded() {
    let ready = ask(&facts(at(2 * HOUR)), Answer::Ready);
    for cause in [Cause::ApiKey, Cause::Port, Cause::Provider, Cause::Insert] {
        let mut anew = after(&ready, changed(facts(at(2 * HOUR + 50)), cause, HOUR));
        anew.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
        let verdict = ask(&anew, REFUSED);
        assert_eq!(
            verdict.memory.ready_at, None,
            "{cause}: ready with another key"
        );
        let later = repeated(
            after(&verdict, facts(at(2 * HOUR + 2_000))),
            &REFUSED,
            at(3 * HOUR),
        );
        assert_eq!(later.status, Some(AuthStatus::Pending), "{cause}");
    }
}

#[test]
fn numbers_at_their_end_stay_there() {
    let contested = Corrections {
        spent: u32::MAX,
        contested: u32::MAX,
        ..Corrections::default()
    };
    for reason in [
        Reason::ApiUnresponsive,
        Reason::TelegramConnecting,
        Reason::TelegramError,
    ] {
        for answer in [REFUSED, Answer::NotConnected, Answer::ProviderError] {
            let mut worn = changed(facts(at(HOUR)), Cause::Drift, HOUR - 1);
            worn.recorded = Some(Recorded {
                status: Some(AuthStatus::Pending),
                reason: Some(reason),
                attempts: u32::MAX,
                misses: u32::MAX,
                first_miss_at: Some(at(0)),
                corrections: contested,
                ..Recorded::default()
            });
            let verdict = ask(&worn, answer.clone());
            let retry = verdict.retry.expect("not final");
            assert!(
                retry <= POLICY().backoff.max,
                "{reason}, {answer:?}: {retry:?}"
            );
            assert!(verdict.memory.corrections.is_contested());
        }
    }
    let spent = Corrections {
        spent: u32::MAX,
        window_start: Some(at(HOUR)),
        ..Corrections::default()
    };
    assert!(
        spent
            .after_look(true, u32::MAX, at(HOUR), 0.0)
            .is_contested()
    );
}

#[test]
fn moments_that_nobody_meant_neither_stop_nor_hurry_anybody() {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    for moment in [first, last] {
        for answer in [
            REFUSED,
            Answer::NotConnected,
            Answer::ProviderError,
            Answer::Ready,
        ] {
            let mut odd = facts(at(HOUR));
            odd.container = Container::Running;
            odd.recorded = Some(Recorded {
                status: Some(AuthStatus::ClientReady),
                reason: Some(Reason::ApiUnresponsive),
                ready_at: Some(moment),
                started_at: Some(moment),
                account_at: Some(moment),
                misses: 2,
                first_miss_at: Some(moment),
                next_attempt_at: Some(moment),
                corrections: Corrections {
                    contested: 2,
                    hold_until: Some(moment),
                    window_start: Some(moment),
                    ..Corrections::default()
                },
                ..Recorded::default()
            });
            let foreign = changed(odd.clone(), Cause::Drift, HOUR);
            assert!(
                matches!(plan(&POLICY(), &foreign, 0.0), Plan::Probe { .. }),
                "no hold lasts for ever"
            );
            let verdict = ask(&odd, answer.clone());
            if answer == Answer::Ready {
                assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
            } else {
                let retry = verdict.retry.expect("not final");
                assert!(retry <= POLICY().backoff.max, "{moment}: {retry:?}");
                assert!(!retry.is_zero(), "{moment}");
            }
        }
    }
}

/// "Not connected" is said in its own words, whatever became of our way to others.
#[test]
fn a_fault_of_our_own_voids_no_answer_that_was_one() {
    let first = ask(&facts(at(HOUR)), Answer::NotConnected);
    let mut later = after(&first, facts(at(HOUR + 40_000)));
    later.way = Way {
        void_until: Some(at(HOUR + 20_000)),
        ..Way::default()
    };
    let found = conclude(
        &POLICY(),
        &later,
        telegram(),
        &Answer::NotConnected,
        later.now,
        0.0,
    );
    assert_eq!(recorded(found).status, Some(AuthStatus::Failed));
}

/// A probe may take seconds: what it met is told of when it was met, not of when the row was read.
#[test]
fn an_answer_is_of_the_moment_at_which_it_came() {
    let read = facts(at(HOUR));
    let came = at(HOUR + 4_700);
    let answered = |answer| recorded(conclude(&POLICY(), &read, telegram(), &answer, came, 0.0));
    assert_eq!(answered(Answer::Ready).memory.ready_at, Some(came));
    let said = answered(Answer::NotConnected).memory;
    assert_eq!(said.not_ready_since, Some(came));
    let next = came + TimeDelta::milliseconds(50);
    assert_eq!(said.next_attempt_at, Some(next));
}

#[test]
fn the_budget_and_the_slow_fight_know_a_clock_that_was_set_back() {
    let spent = Corrections {
        spent: 9,
        window_start: Some(at(3 * HOUR)),
        ..Corrections::default()
    };
    let fresh = spent.after_look(true, 10, at(HOUR), 0.0);
    assert_eq!((fresh.spent, fresh.window_start), (1, Some(at(HOUR))));
    let fight = Corrections::default().noted(40, at(3 * HOUR));
    assert!(fight.is_slow_fight(at(3 * HOUR)) && !fight.is_slow_fight(at(HOUR)));
}
