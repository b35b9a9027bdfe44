//! How long what stands is kept: streaks, the second after a beginning, a new life.

use super::containers::sighting;
use super::*;

#[test]
fn one_that_was_ready_stands_until_enough_misses_over_enough_time() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    let mut verdict = ask(&after(&ready, facts(at(100_000))), REFUSED);
    let mut now = at(100_000);
    let first_miss = now;
    while now - first_miss < TimeDelta::seconds(10) {
        assert_eq!(
            verdict.status,
            Some(AuthStatus::ClientReady),
            "unchanged at {now}"
        );
        assert_eq!(verdict.reason, Reason::ApiUnresponsive);
        now += TimeDelta::from_std(verdict.retry.expect("not final")).expect("in range");
        verdict = ask(&after(&verdict, facts(now)), REFUSED);
    }
    assert_eq!(verdict.status, Some(AuthStatus::Failed));
    assert!(verdict.memory.misses >= 3);
    // Two looks far apart are long enough, but not often enough.
    let once = ask(&after(&ready, facts(at(100_000))), REFUSED);
    let twice = ask(&after(&once, facts(at(200_000))), REFUSED);
    assert_eq!(twice.status, Some(AuthStatus::ClientReady));
    let thrice = ask(&after(&twice, facts(at(300_000))), REFUSED);
    assert_eq!(thrice.status, Some(AuthStatus::Failed));
}

#[test]
fn no_more_misses_are_told_than_are_asked_for() {
    let mut verdict = ask(&facts(at(0)), Answer::Ready);
    for look in 1..=8 {
        verdict = ask(&after(&verdict, facts(at(100_000 + look * 100))), REFUSED);
        assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
        let counted = verdict.message.contains(&format!("({look} of 3 misses"));
        assert_eq!(counted, look < 3, "{}", verdict.message);
        assert_eq!(
            verdict.message.contains("another instance has answered"),
            look >= 3,
            "{}",
            verdict.message
        );
    }
}

#[test]
fn a_key_that_is_refused_where_nobody_is_a_witness_is_asked_about_again() {
    let refused = Answer::Rejected { code: 403 };
    let few = |now, witness_at| {
        let way = Way {
            few: true,
            witness_at,
            asked_at: witness_at,
            ..Way::default()
        };
        Facts { way, ..facts(now) }
    };
    let mut verdict = ask(&facts(at(0)), Answer::Ready);
    for look in 1..=8 {
        let now = at(look * 20_000);
        verdict = ask(&after(&verdict, few(now, None)), refused.clone());
        assert_eq!(verdict.status == Some(AuthStatus::Failed), look >= 3);
        assert!(
            verdict.retry.is_some(),
            "somebody in between lets it through again"
        );
    }
    // Once another was answered meanwhile, it is the key.
    let now = at(200_000);
    let proven = ask(&after(&verdict, few(now, Some(now))), refused);
    assert_eq!(proven.reason, Reason::ApiKeyRejected);
    assert_eq!(proven.retry, None);
    let back = ask(&after(&verdict, few(now, None)), Answer::Ready);
    assert_eq!(back.status, Some(AuthStatus::ClientReady));
}

#[test]
fn an_answer_between_misses_breaks_the_streak() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    let missed = ask(&after(&ready, facts(at(100_000))), REFUSED);
    let missed = ask(&after(&missed, facts(at(160_000))), REFUSED);
    let again = ask(&after(&missed, facts(at(170_000))), Answer::Ready);
    let verdict = ask(&after(&again, facts(at(300_000))), REFUSED);
    assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
    assert_eq!(verdict.memory.misses, 1);
}

#[test]
fn not_connected_is_pending_then_failed_with_the_remedy() {
    let first = ask(&facts(at(100_000)), Answer::NotConnected);
    assert_eq!(
        (first.status, first.reason),
        (Some(AuthStatus::Pending), Reason::TelegramConnecting)
    );
    let early = repeated(facts(at(100_000)), &Answer::NotConnected, at(115_000));
    assert_eq!(early.status, Some(AuthStatus::Pending));
    let late = repeated(facts(at(100_000)), &Answer::NotConnected, at(140_000));
    assert_eq!(
        (late.status, late.reason),
        (Some(AuthStatus::Failed), Reason::TelegramNotConnected)
    );
    assert!(late.message.contains("restart"), "{}", late.message);
    assert!(late.retry.is_some(), "somebody may restart it");
}

#[test]
fn an_error_of_telegram_is_a_hiccup_once() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    let once = ask(&after(&ready, facts(at(100_000))), Answer::ProviderError);
    assert_eq!(
        (once.status, once.reason),
        (Some(AuthStatus::ClientReady), Reason::TelegramError)
    );
    let soon = ask(&after(&once, facts(at(100_050))), Answer::ProviderError);
    assert_eq!(
        soon.status,
        Some(AuthStatus::ClientReady),
        "a second has not gone by"
    );
    let twice = ask(&after(&soon, facts(at(101_000))), Answer::ProviderError);
    assert_eq!(twice.status, Some(AuthStatus::Failed));
    let back = ask(&after(&twice, facts(at(105_000))), Answer::Ready);
    assert_eq!(back.status, Some(AuthStatus::ClientReady));
}

#[test]
fn not_yet_right_after_an_account_write_proves_nothing() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    for not_yet in [Answer::NotConnected, REFUSED] {
        let just_written = changed(facts(at(100_003)), Cause::Account, 100_000);
        let verdict = ask(&after(&ready, just_written), not_yet.clone());
        assert_eq!(
            verdict.status,
            Some(AuthStatus::ClientReady),
            "the last verdict stands"
        );
        let wait = verdict.retry.expect("looks again");
        assert!(
            wait >= Duration::from_millis(5) && wait <= Duration::from_millis(20),
            "{wait:?}"
        );
        assert_eq!(verdict.memory.misses, 0, "no evidence counts for nothing");
        // The knowledge of the write outlives the run that read it.
        let soon = ask(&after(&verdict, facts(at(100_200))), not_yet.clone());
        assert!(soon.retry.expect("looks again") <= Duration::from_millis(20));
        let later = ask(&after(&verdict, facts(at(100_600))), not_yet.clone());
        assert!(later.retry.expect("looks again") >= Duration::from_millis(50));
        assert_eq!(later.status, Some(AuthStatus::ClientReady));
    }
    let too_late = changed(facts(at(102_000)), Cause::Account, 100_000);
    let verdict = ask(&after(&ready, too_late), Answer::NotConnected);
    assert_eq!(
        verdict.status,
        Some(AuthStatus::Pending),
        "after a second it is evidence"
    );
}

#[test]
fn a_new_key_begins_a_new_life() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    for cause in [Cause::ApiKey, Cause::Port, Cause::Insert, Cause::Assigned] {
        let fresh = changed(facts(at(100_001)), cause, 100_000);
        let mut unready = after(&ready, fresh);
        unready.row.as_mut().expect("row").auth_status = Some("pending".to_owned());
        let verdict = ask(&unready, REFUSED);
        assert_eq!(verdict.memory.ready_at, None, "{cause}");
        let verdict = ask(&after(&verdict, facts(at(101_500))), REFUSED);
        assert_eq!(
            (verdict.status, verdict.reason),
            (Some(AuthStatus::Pending), Reason::ApiStarting)
        );
        // Silence is no evidence that one that calls itself ready is not.
        let ready = ask(
            &after(&ready, changed(facts(at(100_001)), cause, 100_000)),
            REFUSED,
        );
        assert_eq!(ready.status, Some(AuthStatus::ClientReady), "{cause}");
    }
    // The backoff begins anew, too.
    let tired = repeated(facts(at(0)), &REFUSED, at(3_600_000));
    let woken = changed(facts(at(4_000_001)), Cause::ApiKey, 4_000_000);
    assert_eq!(
        ask(&after(&tired, woken), REFUSED).retry,
        Some(Duration::from_millis(50))
    );
}

/// The manager saves a key before the container that it starts has read it.
#[test]
fn a_key_that_is_refused_right_after_it_was_written_is_asked_about_again() {
    let refused = Answer::Rejected { code: 401 };
    for cause in [Cause::Insert, Cause::ApiKey, Cause::Account] {
        let written = changed(facts(at(100_050)), cause, 100_000);
        let early = ask(&written, refused.clone());
        assert_eq!(
            (early.status, early.reason),
            (Some(AuthStatus::Pending), Reason::ApiStarting),
            "{cause}"
        );
        let wait = early.retry.expect("asked again");
        assert!(wait <= Duration::from_millis(60), "{cause}: {wait:?}");
        assert!(early.message.contains("401"), "{}", early.message);
        let ready = ask(&after(&early, facts(at(100_110))), Answer::Ready);
        assert_eq!(ready.status, Some(AuthStatus::ClientReady), "{cause}");
        let late = ask(&after(&early, facts(at(101_001))), refused.clone());
        assert_eq!(
            (late.status, late.retry),
            (Some(AuthStatus::Failed), None),
            "{cause}"
        );
    }
}

/// Here the engine tells of the beginning.
#[test]
fn a_key_that_is_refused_right_after_a_start_is_asked_about_again() {
    let refused = Answer::Rejected { code: 403 };
    let runs = |now, started| Facts {
        container: Container::Running,
        sighting: Some(sighting("a", "running", started)),
        ..facts(now)
    };
    let ready = ask(&runs(at(0), 0), Answer::Ready);
    let early = ask(&after(&ready, runs(at(100_000), 99_000)), refused.clone());
    let starting = (Some(AuthStatus::Pending), Reason::ApiStarting);
    assert_eq!((early.status, early.reason), starting);
    assert!(early.retry.is_some());
    let world = after(&early, runs(at(101_100), 99_000));
    let late = ask(&world, refused.clone());
    assert_eq!(
        (late.status, late.reason, late.retry),
        (Some(AuthStatus::Failed), Reason::ApiKeyRejected, None)
    );
    // The engine's word needs no witness; the refusal may be somebody's in between.
    let way = Way {
        doubt_since: Some(at(101_000)),
        ..Way::default()
    };
    let doubted = ask(&Facts { way, ..world }, refused);
    assert_eq!((doubted.status, doubted.reason), starting);
    assert!(doubted.retry.is_some());
}

/// Somebody in between refuses everybody, and lets the first one through again: that one is a witness.
#[test]
fn a_refusal_that_ends_for_one_instance_first_is_no_word_of_the_others() {
    let refused = Answer::Rejected { code: 403 };
    let ready = ask(&facts(at(0)), Answer::Ready);
    // The doubt has ended, and they are looked at again and again; there are witnesses all the time.
    let way = |now: i64, others: i64, ended: Option<i64>| Way {
        witness_at: Some(at(now - 1)),
        asked_at: Some(at(now - 2)),
        refused_at: Some(at(others)),
        doubt_ended: ended.map(at),
        ..Way::default()
    };
    for ended in [None, Some(100_000)] {
        let mut world = after(&ready, facts(at(100_001)));
        let mut now = 100_001;
        while now < 400_000 {
            world.way = way(now, now.min(200_000), ended);
            let verdict = ask(&world, refused.clone());
            let lately = now < 200_000 + 120_000;
            let silent = now >= 110_001 && verdict.memory.misses >= 3;
            assert_eq!(
                verdict.status == Some(AuthStatus::Failed),
                silent,
                "as one that is silent: {now}, {verdict:?}"
            );
            let Some(wait) = verdict.retry else {
                assert!(!lately, "final at {now}");
                break;
            };
            let back = ask(&after(&verdict, facts(at(now + 1))), Answer::Ready);
            assert_eq!(back.status, Some(AuthStatus::ClientReady));
            now += i64::try_from(wait.as_micros().div_ceil(1_000)).expect("in range");
            world = after(&verdict, facts(at(now)));
        }
        assert!(now < 400_000, "refused alone for minutes: the key it is");
    }
}

/// A refusal is final where it is the instance's own, whatever failed it before; just after a doubt it is not, and others
/// are asked.
#[test]
fn a_refusal_is_final_unless_a_doubt_has_just_ended() {
    let refused = Answer::Rejected { code: 401 };
    let ended = |ms: i64| Way {
        witness_at: Some(at(ms)),
        doubt_ended: Some(at(ms)),
        ..Way::default()
    };
    let lately = Facts {
        way: ended(100_000),
        ..facts(at(100_000))
    };
    let rejected = ask(&facts(at(0)), refused.clone());
    let silent = repeated(
        after(&ask(&facts(at(0)), Answer::Ready), facts(at(60_000))),
        &REFUSED,
        at(80_000),
    );
    assert_eq!(silent.status, Some(AuthStatus::Failed));
    for (before, when) in [
        (None, facts(at(100_000))),
        (Some(&rejected), facts(at(100_000))),
        (Some(&silent), facts(at(100_000))),
        (None, lately.clone()),
        (Some(&silent), lately.clone()),
    ] {
        let world = before.map_or_else(|| when.clone(), |before| after(before, when.clone()));
        let verdict = ask(&world, refused.clone());
        assert_eq!(verdict.status, Some(AuthStatus::Failed));
        let last = when.way == Way::default();
        assert_eq!(verdict.retry.is_none(), last, "{before:?}");
        assert_eq!(verdict.wants_witness, !last, "{before:?}");
    }
}

/// The first miss may be an accident; where the first is to count, others are asked at once.
#[test]
fn others_are_asked_from_the_second_miss_on_or_where_one_is_enough() {
    for (misses, wanted) in [(1, [true, true]), (2, [false, true]), (3, [false, true])] {
        let policy = Policy { misses, ..POLICY() };
        let ready = ask(&facts(at(0)), Answer::Ready);
        let mut world = after(&ready, facts(at(100_000)));
        let found = [200_000, 200_100].map(|now| {
            world.now = at(now);
            let verdict = recorded(conclude(
                &policy,
                &world,
                telegram(),
                &REFUSED,
                at(now),
                0.0,
            ));
            world = after(&verdict, world.clone());
            verdict.wants_witness
        });
        assert_eq!(found, wanted, "{misses} misses");
    }
}

/// Between 5 and 20 ms, spread by chance.
#[test]
fn the_short_steps_after_an_account_write_are_spread() {
    let written = changed(facts(at(5)), Cause::Account, 0);
    for (chance, micros) in [(0.0, 5_000), (0.5, 12_500), (1.0, 20_000)] {
        let found = conclude(
            &POLICY(),
            &written,
            telegram(),
            &Answer::NotConnected,
            at(5),
            chance,
        );
        let step = Duration::from_micros(micros);
        assert_eq!(recorded(found).retry, Some(step), "{chance}");
    }
}
