//! Foreign writes against the budget, and clocks that jump.

use super::*;

#[test]
fn foreign_writes_are_corrected_within_a_budget_and_then_held() {
    let mut verdict = ask(&facts(at(0)), Answer::Ready);
    for turn in 1..=10 {
        let drift = after(
            &verdict,
            changed(facts(at(turn * 100)), Cause::Drift, turn * 100),
        );
        assert!(matches!(plan(&POLICY(), &drift, 0.0), Plan::Probe { .. }));
        verdict = ask(&drift, Answer::Ready);
        assert_eq!(verdict.status, Some(AuthStatus::ClientReady));
    }
    assert!(verdict.memory.corrections.is_contested());
    assert_eq!(
        verdict.retry,
        Some(Duration::from_secs(1)),
        "the end of the hold is armed though the state is final"
    );
    assert_eq!(verdict.trouble_after, Some(Duration::ZERO));
    let held = after(&verdict, changed(facts(at(1_500)), Cause::Drift, 1_500));
    assert_eq!(
        plan(&POLICY(), &held, 0.0),
        Plan::Defer { until: at(2_000) }
    );
    // Another cause is not held.
    let other = changed(held, Cause::Account, 1_501);
    assert!(matches!(plan(&POLICY(), &other, 0.0), Plan::Probe { .. }));
    // A quiet hold is peace.
    let quiet = ask(&after(&verdict, facts(at(2_000))), Answer::Ready);
    assert_eq!((quiet.retry, quiet.trouble_after), (None, None));
}

/// Several writes may have been read at once; each counts where a slow fight is counted.
#[test]
fn each_foreign_write_that_a_look_found_is_remembered() {
    let mut written = facts(at(5_000));
    for ms in [1_000, 2_000, 3_000] {
        written = changed(written, Cause::Drift, ms);
    }
    written = changed(written, Cause::Account, 4_000);
    let recent = ask(&written, Answer::Ready).memory.corrections.recent;
    let now = Some(at(5_000));
    assert_eq!(recent[..4], [now, now, now, None]);
}

#[test]
fn hands_off_means_no_budget_either() {
    let mut unsupported = facts(at(0));
    unsupported.row.as_mut().expect("row").provider = Some("smoke".to_owned());
    for turn in 0..50 {
        let verdict = settled(&changed(unsupported.clone(), Cause::Drift, turn));
        assert!(!verdict.memory.corrections.is_contested());
        unsupported = after(&verdict, unsupported);
    }
}

#[test]
fn a_database_clock_that_is_set_back_neither_silences_nor_hurries_anybody() {
    let hour = 3_600_000;
    let account = changed(facts(at(hour)), Cause::Account, hour);
    let first = ask(&account, Answer::NotConnected);
    // A fail-over to a server whose clock is an hour behind.
    let mut back = facts(at(0));
    for _ in 0..40 {
        let verdict = ask(&after(&first, back.clone()), Answer::NotConnected);
        let retry = verdict.retry.expect("not final");
        assert!(retry >= POLICY().backoff.min, "{retry:?}");
        assert!(retry <= POLICY().backoff.max, "{retry:?}");
        back.now += TimeDelta::seconds(1);
    }
    // Contested an hour ahead.
    let mut state = Corrections::default();
    for _ in 0..20 {
        state = state.after_look(true, 10, at(hour), 0.0);
    }
    assert!(state.held(at(hour)).is_some());
    assert_eq!(state.held(at(0)), None);
    let again = state.after_look(true, 10, at(0), 0.0);
    assert!(again.held(at(0)).is_some(), "contested by the clock of now");
}
