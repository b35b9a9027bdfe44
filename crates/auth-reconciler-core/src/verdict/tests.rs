//! The verdict table, row by row, and the memory that it depends on.

use chrono::TimeDelta;

use super::*;
use crate::Cause;
use crate::answer::{Shortage, Silence};
use crate::backoff::Backoff;
use crate::corrections::Corrections;
use crate::facts::{Change, Recorded, Way};
use crate::key::ApiKey;

mod boundaries;
mod budget;
mod clocks;
mod containers;
mod grid;
mod guard;
mod lives;
mod not_ready;
mod patience;
mod pause;
mod table;
mod words;

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
        put_aside: false,
    }
}

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

/// What the log says of a row in place of its key.
#[test]
fn a_row_has_a_key_whether_or_not_it_can_be_used() {
    for (key, has) in [
        (Ok(None), false),
        (ApiKey::parse("a-key"), true),
        (ApiKey::parse("a\r\nb"), true),
    ] {
        let row = Row {
            api_key: key,
            ..row()
        };
        assert_eq!(row.has_api_key(), has);
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
