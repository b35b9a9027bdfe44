//! Where a limit lies: just before it, and at it.

use super::*;

const NOW: i64 = 1_000_000;

/// One that was ready and has been silent since so many ms, as often as it takes.
fn silent_for(ms: i64, way: Way) -> Facts {
    let mut silent = facts(at(NOW));
    silent.row.as_mut().expect("row").auth_status = Some("client_ready".to_owned());
    silent.recorded = Some(Recorded {
        status: Some(AuthStatus::ClientReady),
        reason: Some(Reason::ApiUnresponsive),
        ready_at: Some(at(0)),
        misses: 5,
        first_miss_at: Some(at(NOW - ms)),
        ..Recorded::default()
    });
    Facts { way, ..silent }
}

fn weighed(policy: &Policy, facts: &Facts, answer: &Answer) -> Conclusion {
    conclude(policy, facts, telegram(), answer, facts.now, 0.0)
}

fn failed(conclusion: Conclusion) -> bool {
    recorded(conclusion).status == Some(AuthStatus::Failed)
}

/// Whoever was answered in the moment of the first miss may have been so before the way was cut.
#[test]
fn a_witness_is_answered_after_the_first_miss_and_before_the_probe_is_sent() {
    for (witness_at, believed) in [
        (NOW - 20_000, false),
        (NOW - 19_999, true),
        (NOW, true),
        (NOW + 1, false),
    ] {
        let way = Way {
            witness_at: Some(at(witness_at)),
            ..Way::default()
        };
        let found = weighed(&POLICY(), &silent_for(20_000, way), &REFUSED);
        assert_eq!(failed(found), believed, "{witness_at}");
    }
}

#[test]
fn misses_count_once_they_have_lasted_for_the_window() {
    let way = Way {
        witness_at: Some(at(NOW)),
        ..Way::default()
    };
    for (ms, enough) in [(9_999, false), (10_000, true)] {
        let found = weighed(&POLICY(), &silent_for(ms, way), &REFUSED);
        assert_eq!(failed(found), enough, "{ms}");
    }
}

/// Without a witness silence is believed only where the settings say after what time, and then.
#[test]
fn a_doubt_is_over_when_the_settings_say_so_and_else_never() {
    let limit = Some(Duration::from_secs(60));
    for (believe_silence_after, doubted_for, believed) in [
        (limit, 59_999, false),
        (limit, 60_000, true),
        (None, 900_000, false),
    ] {
        let policy = Policy {
            believe_silence_after,
            ..POLICY()
        };
        let way = Way {
            asked_at: Some(at(NOW - 10_000)),
            doubt_since: Some(at(NOW - doubted_for)),
            ..Way::default()
        };
        let found = weighed(&policy, &silent_for(20_000, way), &REFUSED);
        if believed {
            assert!(failed(found));
        } else {
            assert_eq!(found, Conclusion::Doubted, "{doubted_for}");
        }
    }
}

/// A doubt that has just ended speaks against a refusal for two minutes.
#[test]
fn a_refusal_is_final_again_two_minutes_after_a_doubt() {
    for (ms, last) in [(119_999, false), (120_000, true)] {
        let way = Way {
            doubt_ended: Some(at(NOW - ms)),
            ..Way::default()
        };
        let world = Facts {
            way,
            ..facts(at(NOW))
        };
        let found = weighed(&POLICY(), &world, &Answer::Rejected { code: 403 });
        assert_eq!(recorded(found).retry.is_none(), last, "{ms}");
    }
}

/// One that was heard a moment ago is somewhere, though its container was never seen.
#[test]
fn silence_of_one_that_nobody_sees_is_waited_out_for_half_a_minute() {
    for (ms, waits) in [(29_999, true), (30_000, false)] {
        let mut unseen = silent_for(ms, Way::default());
        unseen.container = Container::NeverSeen;
        unseen.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
        if let Some(recorded) = &mut unseen.recorded {
            recorded.status = Some(AuthStatus::Pending);
            recorded.reason = Some(Reason::ApiStarting);
            recorded.ready_at = None;
        }
        let found = recorded(weighed(&POLICY(), &unseen, &REFUSED));
        let reason = if waits {
            Reason::ApiStarting
        } else {
            Reason::AwaitingContainer
        };
        assert_eq!(
            (found.reason, found.retry.is_some()),
            (reason, waits),
            "{ms}"
        );
    }
}

#[test]
fn steps_after_an_account_write_are_short_for_400_ms() {
    for (ms, short) in [(399, true), (400, false)] {
        let written = changed(facts(at(NOW)), Cause::Account, NOW - ms);
        let found = recorded(weighed(&POLICY(), &written, &Answer::NotConnected));
        let step = found.retry.expect("not final");
        assert_eq!(step < Duration::from_millis(50), short, "{ms}: {step:?}");
    }
}

#[test]
fn the_first_second_is_over_after_a_second() {
    for (ms, evidence) in [(999, false), (1_000, true)] {
        let written = changed(facts(at(NOW)), Cause::ApiKey, NOW - ms);
        let found = recorded(weighed(&POLICY(), &written, &Answer::NotConnected));
        assert_eq!(found.memory.not_ready_since.is_some(), evidence, "{ms}");
    }
}

/// What was no evidence counted for nothing; what comes before its deadline is the first miss all the same.
#[test]
fn the_first_miss_is_counted_however_early_it_comes() {
    let mut early = silent_for(0, Way::default());
    if let Some(recorded) = &mut early.recorded {
        recorded.misses = 0;
        recorded.first_miss_at = None;
        recorded.next_attempt_at = Some(at(NOW + 1_000));
    }
    let found = recorded(weighed(&POLICY(), &early, &REFUSED));
    assert_eq!(
        (found.memory.misses, found.memory.first_miss_at),
        (1, Some(at(NOW)))
    );
}
