//! The verdict table, row by row, and the memory that it depends on.

use chrono::TimeDelta;

use super::*;
use crate::Cause;
use crate::answer::{Shortage, Silence};
use crate::corrections::Corrections;
use crate::facts::{Change, Recorded, Way};
use crate::key::ApiKey;

mod containers;

const POLICY: fn() -> Policy = Policy::default;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

fn row() -> Row {
    Row {
        provider: Some("telegram".to_owned()),
        serves_api: true,
        api_key: ApiKey::parse("a-key"),
        port: Some(4001),
        auth_status: Some("pending".to_owned()),
    }
}

mod pause;
mod table;

/// Facts of a quiet row long after its start.
fn facts(now: DateTime<Utc>) -> Facts {
    Facts {
        now,
        row: Some(row()),
        changes: Vec::new(),
        recorded: None,
        container: Container::Unknown,
        engine_has_shown_ours: true,
        sighting: None,
        way: Way::default(),
        followed: false,
        paused: None,
    }
}

fn changed(mut facts: Facts, cause: Cause, ms: i64) -> Facts {
    facts.changes.push(Change { cause, at: at(ms) });
    facts
}

fn after(verdict: &Verdict, mut facts: Facts) -> Facts {
    facts.recorded = Some(verdict.memory.clone());
    if let (Some(row), Some(status)) = (&mut facts.row, verdict.status) {
        row.auth_status = Some(status.as_str().to_owned());
    }
    facts
}

fn telegram() -> &'static Profile {
    Profile::of(Some("telegram")).expect("profile")
}

fn ask(facts: &Facts, answer: Answer) -> Verdict {
    recorded(concluded(facts, &answer))
}

/// Somebody else is answered all the time, unless the test says otherwise.
fn concluded(facts: &Facts, answer: &Answer) -> Conclusion {
    let mut facts = facts.clone();
    if facts.way == Way::default() {
        facts.way.witness_at = Some(facts.now);
    }
    conclude(&POLICY(), &facts, telegram(), answer, facts.now, 0.0)
}

fn recorded(conclusion: Conclusion) -> Verdict {
    match conclusion {
        Conclusion::Record(verdict) => *verdict,
        other @ (Conclusion::NotAsked(_) | Conclusion::Doubted) => {
            panic!("expected a verdict, got {other:?}")
        }
    }
}

fn settled(facts: &Facts) -> Verdict {
    match plan(&POLICY(), facts, 0.0) {
        Plan::Settle(verdict) => *verdict,
        other @ (Plan::Probe { .. } | Plan::Defer { .. } | Plan::Forget) => {
            panic!("expected a verdict without a probe, got {other:?}")
        }
    }
}

/// Asks again and again, each time after the wait that the verdict before asked for, until `until`.
fn repeated(mut facts: Facts, answer: &Answer, until: DateTime<Utc>) -> Verdict {
    loop {
        let verdict = ask(&facts, answer.clone());
        let wait = TimeDelta::from_std(verdict.retry.expect("not final")).expect("in range");
        facts = after(
            &verdict,
            Facts {
                now: facts.now + wait,
                changes: Vec::new(),
                ..facts
            },
        );
        if facts.now > until {
            return ask(&facts, answer.clone());
        }
    }
}

const REFUSED: Answer = Answer::Silent(Silence::Refused);

#[test]
fn rows_that_need_no_probe() {
    let now = at(1_000_000);
    let with = |change: &dyn Fn(&mut Row)| {
        let mut facts = facts(now);
        facts.row.as_mut().map(change).expect("row");
        let verdict = settled(&facts);
        assert_eq!(verdict.retry, None, "final: events only");
        (verdict.status, verdict.reason)
    };
    let pending = Some(AuthStatus::Pending);
    let failed = Some(AuthStatus::Failed);
    assert_eq!(
        with(&|row| row.api_key = Ok(None)),
        (pending, Reason::AwaitingApiKey)
    );
    assert_eq!(
        with(&|row| row.port = None),
        (pending, Reason::AwaitingContainer)
    );
    for port in [0, -1, 65_536, 70_000, i64::MAX, i64::MIN] {
        assert_eq!(
            with(&|row| row.port = Some(port)),
            (failed, Reason::InvalidPort)
        );
    }
    assert_eq!(
        with(&|row| row.api_key = ApiKey::parse("a\r\nb")),
        (failed, Reason::InvalidApiKey)
    );
    assert_eq!(
        with(&|row| row.provider = Some("smoke".to_owned())),
        (None, Reason::UnsupportedProvider)
    );
    assert_eq!(
        with(&|row| row.provider = None),
        (None, Reason::UnsupportedProvider)
    );
    assert_eq!(
        with(&|row| row.serves_api = false),
        (None, Reason::UnsupportedType)
    );
}

#[test]
fn ready_is_final_and_forgets_every_streak() {
    let wait = ask(&facts(at(0)), REFUSED);
    let verdict = ask(&after(&wait, facts(at(60_000))), Answer::Ready);
    assert_eq!(
        (verdict.status, verdict.reason, verdict.retry),
        (Some(AuthStatus::ClientReady), Reason::Ready, None)
    );
    assert_eq!((verdict.memory.misses, verdict.memory.attempts), (0, 0));
    assert_eq!(verdict.memory.ready_at, Some(at(60_000)));
    assert_eq!(verdict.trouble_after, None);
}

#[test]
fn never_ready_stays_pending_and_is_asked_ever_more_rarely() {
    let verdict = repeated(facts(at(0)), &REFUSED, at(3_600_000));
    assert_eq!(
        (verdict.status, verdict.reason),
        (Some(AuthStatus::Pending), Reason::ApiStarting)
    );
    assert_eq!(
        verdict.retry,
        Some(Duration::from_secs(60)),
        "at most one probe a minute"
    );
    assert_eq!(
        verdict.trouble_after,
        Some(Duration::from_secs(30)),
        "and an operator hears of it"
    );
}

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
fn every_odd_answer_has_a_reason_of_its_own_and_counts_as_a_miss() {
    let odd = [
        (Answer::Http { code: 404 }, Reason::ApiNotFound),
        (Answer::Http { code: 429 }, Reason::ApiClientError),
        (Answer::Http { code: 500 }, Reason::ApiServerError),
        (Answer::Http { code: 302 }, Reason::ApiRedirected),
        (Answer::Http { code: 204 }, Reason::ApiMalformed),
        (Answer::Malformed { what: "x" }, Reason::ApiMalformed),
        (Answer::TooLarge { cap: 65_536 }, Reason::ApiTooLarge),
    ];
    let ready = ask(&facts(at(0)), Answer::Ready);
    for (answer, reason) in odd {
        let never = ask(&facts(at(100_000)), answer.clone());
        assert_eq!(
            (never.status, never.reason),
            (Some(AuthStatus::Pending), reason)
        );
        let was = ask(&after(&ready, facts(at(100_000))), answer.clone());
        assert_eq!(
            (was.status, was.reason),
            (Some(AuthStatus::ClientReady), reason)
        );
        let failed = repeated(after(&ready, facts(at(100_000))), &answer, at(112_000));
        assert_eq!(
            (failed.status, failed.reason),
            (Some(AuthStatus::Failed), reason)
        );
    }
    let rejected = ask(&facts(at(0)), Answer::Rejected { code: 401 });
    assert_eq!(
        (rejected.status, rejected.reason, rejected.retry),
        (Some(AuthStatus::Failed), Reason::ApiKeyRejected, None)
    );
}

#[test]
fn what_was_not_asked_decides_nothing() {
    let ready = ask(&facts(at(0)), Answer::Ready);
    let shortages = [
        Shortage::Descriptors,
        Shortage::LocalPorts,
        Shortage::Memory,
        Shortage::Permission,
        Shortage::Network,
        Shortage::Resolver,
    ];
    for shortage in shortages {
        for world in [facts(at(100_000)), after(&ready, facts(at(100_000)))] {
            let answer = Answer::NotAsked(shortage);
            assert_eq!(concluded(&world, &answer), Conclusion::NotAsked(shortage));
        }
    }
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
fn no_message_holds_what_came_from_a_key() {
    let mut invalid = facts(at(0));
    invalid.row.as_mut().expect("row").api_key = ApiKey::parse("secret-part\r\n");
    assert!(!settled(&invalid).message.contains("secret"));
    let mut odd = facts(at(0));
    odd.row.as_mut().expect("row").provider = Some(format!("x\u{7}{}", "y".repeat(500)));
    let message = settled(&odd).message;
    assert!(
        message.len() < 200 && !message.contains('\u{7}'),
        "{message}"
    );
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
