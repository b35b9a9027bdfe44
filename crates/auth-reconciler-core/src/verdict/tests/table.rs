//! Every answer against everything that may stand before it, every state of the engine, doubt or not. The
//! right values are written here by hand.

use super::containers::sighting;
use super::*;

/// What stands when the answer comes. In the last the engine shows another start than the recorded one.
const STANDS: [&str; 6] = [
    "was ready",
    "met as ready",
    "failed by us",
    "pending",
    "failed by somebody",
    "ready, new life",
];

/// For each of [`STANDS`]: `c` client_ready, `q` qr_ready, `a` authenticated, `p` pending, `f` failed, `=` what the
/// row says, `d` doubt: nothing is recorded, `n` not asked.
const RIGHT: [(&str, &str); 18] = [
    ("ready", "c c c c c c"),
    ("qr", "q q q q q q"),
    ("authenticated", "a a a a a a"),
    ("not connected", "p p f p p p"),
    ("not connected for long", "f f f f f p"),
    ("error", "= = f = = p"),
    ("error again", "f f f f f p"),
    // The new life was just noticed.
    ("rejected", "= = f f f p"),
    ("rejected, witness", "f f f f f p"),
    ("rejected with others, witness", "= = f f f p"),
    ("rejected, doubt", "d d d d d p"),
    ("silent", "= = f = = p"),
    ("silent for long, witness", "f f f = = p"),
    ("silent for long, others not asked", "= = f = = p"),
    ("silent for long, no witness", "d d f = = p"),
    ("silent for long, few", "f f f = = p"),
    ("silent, doubt", "d d d = = p"),
    ("not asked", "n n n n n n"),
];

const NOW: i64 = 1_000_000;

fn answers(case: &str) -> Vec<Answer> {
    let kind = case.split([',', ' ']).next().expect("a word");
    match kind {
        "ready" => vec![Answer::Ready],
        "qr" => vec![Answer::QrReady],
        "authenticated" => vec![Answer::Authenticated],
        "error" => vec![Answer::ProviderError],
        "rejected" => [401, 403].map(|code| Answer::Rejected { code }).into(),
        "not" if case == "not asked" => vec![Answer::NotAsked(Shortage::Descriptors)],
        "not" => vec![Answer::NotConnected],
        "silent" => {
            let mut answers = vec![
                Answer::Malformed { what: "x" },
                Answer::TooLarge { cap: 1 },
                Answer::Silent(Silence::Refused),
                Answer::Silent(Silence::Reset),
                Answer::Silent(Silence::TimedOut),
                Answer::Silent(Silence::NotHttp),
            ];
            answers.extend([204, 302, 404, 429, 500, 503].map(|code| Answer::Http { code }));
            // Nothing speaks: of few nobody knows whose fault it is.
            if !case.ends_with("few") {
                answers.extend(
                    [Silence::NoReply, Silence::UnknownHost, Silence::Unreachable]
                        .map(Answer::Silent),
                );
            }
            answers
        }
        other => panic!("no such case: {other}"),
    }
}

fn way(case: &str) -> Way {
    let asked = Some(at(NOW - 30_000));
    let quiet = Way {
        asked_at: Some(at(0)),
        ..Way::default()
    };
    if case.ends_with(", witness") {
        Way {
            witness_at: Some(at(NOW - 1)),
            asked_at: Some(at(NOW - 400)),
            refused_at: case.contains("with others").then(|| at(NOW - 300)),
            ..quiet
        }
    } else if case.ends_with("no witness") {
        Way {
            witness_at: Some(at(NOW - 90_000)),
            asked_at: asked,
            ..quiet
        }
    } else if case.ends_with("few") {
        Way {
            few: true,
            asked_at: asked,
            ..quiet
        }
    } else if case.ends_with("doubt") {
        Way {
            doubt_since: asked,
            ..quiet
        }
    } else {
        quiet
    }
}

/// What was recorded before, given the answers before.
fn before(case: &str, stands: &str) -> Option<Recorded> {
    let (reason, misses, ago) = match case {
        "error again" => (Some(Reason::TelegramError), 1, 2_000),
        "not connected for long" => (Some(Reason::TelegramConnecting), 5, 60_000),
        "rejected, witness" | "rejected with others, witness" => {
            (Some(Reason::ApiKeyRejected), 1, 500)
        }
        _ if case.contains("for long") => (Some(Reason::ApiUnresponsive), 5, 60_000),
        _ => (None, 0, 0),
    };
    let (status, own, established, ready) = match stands {
        "was ready" | "ready, new life" => (AuthStatus::ClientReady, Reason::Ready, true, true),
        "met as ready" if reason.is_none() => return None,
        "met as ready" => (AuthStatus::ClientReady, Reason::Ready, false, false),
        "failed by us" => (AuthStatus::Failed, Reason::ApiUnresponsive, true, true),
        "pending" => (AuthStatus::Pending, Reason::ApiStarting, false, false),
        "failed by somebody" => (AuthStatus::Failed, Reason::ApiStarting, false, false),
        other => panic!("no such standing: {other}"),
    };
    Some(Recorded {
        status: Some(status),
        reason: Some(reason.unwrap_or(own)),
        ready_at: ready.then_some(at(1_000)),
        misses,
        first_miss_at: (misses > 0).then_some(at(NOW - ago)),
        not_ready_since: (case == "not connected for long").then_some(at(NOW - ago)),
        established,
        sighting: Some(sighting("a", "running", 0)),
        ..Recorded::default()
    })
}

fn said(stands: &str) -> &'static str {
    match stands {
        "was ready" | "met as ready" | "ready, new life" => "client_ready",
        "pending" => "pending",
        _ => "failed",
    }
}

fn found(conclusion: &Conclusion, row: &str) -> Vec<&'static str> {
    match conclusion {
        Conclusion::Doubted => vec!["d"],
        Conclusion::NotAsked(_) => vec!["n"],
        Conclusion::Record(verdict) => {
            let status = verdict.status.expect("a status");
            let mut found = vec![match status {
                AuthStatus::Pending => "p",
                AuthStatus::QrReady => "q",
                AuthStatus::Authenticated => "a",
                AuthStatus::ClientReady => "c",
                AuthStatus::Failed => "f",
            }];
            if status.as_str() == row {
                found.push("=");
            }
            found
        }
    }
}

#[test]
fn every_answer_is_worth_what_the_table_says() {
    let mut checked = 0;
    for (case, right) in RIGHT {
        for (stands, right) in STANDS.into_iter().zip(right.split(' ')) {
            let engines = if stands == "ready, new life" {
                vec![(Container::Running, 500_000)]
            } else if stands == "met as ready" {
                // The first sight of a container that runs may be its start.
                vec![(Container::Unknown, 0), (Container::NeverSeen, 0)]
            } else {
                vec![
                    (Container::Unknown, 0),
                    (Container::NeverSeen, 0),
                    (Container::Running, 0),
                ]
            };
            for (container, started) in engines {
                for cause in [None, Some(Cause::Drift), Some(Cause::Operator)] {
                    for answer in answers(case) {
                        let mut facts = facts(at(NOW));
                        facts.row.as_mut().expect("row").auth_status =
                            Some(said(stands).to_owned());
                        facts.recorded = before(case, stands);
                        facts.container = container;
                        facts.sighting = Some(sighting("a", "running", started));
                        facts.way = way(case);
                        let facts = match cause {
                            Some(cause) => changed(facts, cause, NOW - 5),
                            None => facts,
                        };
                        // Long after the start, unless the start is the news.
                        let conclusion =
                            conclude(&POLICY(), &facts, telegram(), &answer, at(NOW + 2), 0.0);
                        let found = found(&conclusion, said(stands));
                        assert!(
                            found.contains(&right),
                            "{case} ({answer:?}), {stands}, {container:?}, {cause:?}: {right} is right, not {found:?}"
                        );
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 4_000, "{checked} combinations");
}

#[test]
fn an_established_failure_is_put_back_before_the_probe_and_nothing_else_is() {
    for (stands, said, doubt, restored) in [
        ("failed by us", "pending", false, true),
        ("failed by us", "pending", true, false),
        ("failed by us", "client_ready", false, false),
        ("failed by us", "qr_ready", false, false),
        ("failed by us", "failed", false, false),
        ("failed by somebody", "pending", false, false),
        ("was ready", "pending", false, false),
        ("was ready", "failed", false, false),
        ("pending", "client_ready", false, false),
        ("ready, new life", "pending", false, false),
    ] {
        let mut facts = changed(facts(at(NOW)), Cause::Drift, NOW - 5);
        facts.row.as_mut().expect("row").auth_status = Some(said.to_owned());
        facts.recorded = before("silent for long", stands);
        facts.container = Container::Running;
        facts.followed = true;
        let started = if stands.ends_with("new life") {
            500_000
        } else {
            0
        };
        facts.sighting = Some(sighting("a", "running", started));
        facts.way = way(if doubt { "silent, doubt" } else { "silent" });
        match plan(&POLICY(), &facts, 0.0) {
            Plan::Settle(verdict) => {
                assert!(restored, "{stands} {said} {doubt}");
                assert_eq!(verdict.status, Some(AuthStatus::Failed));
                assert_eq!(
                    verdict.retry,
                    Some(Duration::from_secs(1)),
                    "then it is asked"
                );
                assert!(verdict.memory.established && !verdict.last);
                assert_eq!(verdict.memory.misses, 5, "it was not asked");
                let next = POLICY().backoff.delay(verdict.memory.attempts, 0.0);
                assert!(next < Duration::from_secs(3), "and then? {next:?}");
                let mut other = facts.clone();
                other.changes[0].cause = Cause::Account;
                assert!(
                    matches!(plan(&POLICY(), &other, 0.0), Plan::Probe { .. }),
                    "other news is looked at first"
                );
            }
            Plan::Probe { .. } => assert!(!restored, "{stands} {said} {doubt}"),
            other @ (Plan::Defer { .. } | Plan::Forget) => panic!("{other:?}"),
        }
    }
}

/// Its container is seen for the first time: what failed may have been another one.
#[test]
fn nothing_is_put_back_over_a_container_that_was_not_known() {
    let mut facts = changed(facts(at(NOW)), Cause::Drift, NOW - 5);
    facts.recorded = before("silent for long", "failed by us");
    facts.recorded.as_mut().expect("a record").sighting = None;
    facts.way = way("silent");
    assert!(matches!(plan(&POLICY(), &facts, 0.0), Plan::Settle(_)));
    facts.container = Container::Running;
    facts.sighting = Some(sighting("a", "running", 0));
    assert!(matches!(plan(&POLICY(), &facts, 0.0), Plan::Probe { .. }));
}

#[test]
fn a_streak_that_began_in_a_doubt_proves_nothing() {
    let mut facts = facts(at(NOW));
    facts.row.as_mut().expect("row").auth_status = Some("client_ready".to_owned());
    facts.recorded = before("silent for long", "was ready");
    facts.way = Way {
        witness_at: Some(at(NOW - 1)),
        void_until: Some(at(NOW - 1)),
        ..Way::default()
    };
    let verdict = recorded(concluded(&facts, &REFUSED));
    assert_eq!(
        (verdict.status, verdict.memory.misses),
        (Some(AuthStatus::ClientReady), 1)
    );
    facts.way.void_until = Some(at(NOW - 70_000));
    let verdict = recorded(concluded(&facts, &REFUSED));
    assert_eq!(verdict.status, Some(AuthStatus::Failed));
}

#[test]
fn no_answer_and_an_error_in_turn_are_one_streak() {
    let mut world = after(&ask(&facts(at(0)), Answer::Ready), facts(at(NOW)));
    for turn in 1.. {
        let answer = if turn % 2 == 0 {
            Answer::ProviderError
        } else {
            REFUSED
        };
        let verdict = ask(&world, answer);
        if verdict.status == Some(AuthStatus::Failed) {
            assert!(world.now >= at(NOW + 10_000));
            return;
        }
        let wait = TimeDelta::from_std(verdict.retry.expect("not final")).expect("in range");
        let now = world.now + wait;
        assert!(now < at(NOW + 20_000), "it stands for ever");
        world = after(&verdict, facts(now));
    }
}

#[test]
fn a_phone_has_minutes_to_synchronise_and_is_not_told_to_restart() {
    let profile = Profile::of(Some("whatsappweb")).expect("profile");
    let mut world = facts(at(0));
    loop {
        let found = conclude(
            &POLICY(),
            &world,
            profile,
            &Answer::NotConnected,
            world.now,
            0.0,
        );
        let verdict = recorded(found);
        let waited = world.now - at(0);
        let failed = waited >= TimeDelta::minutes(10);
        let right = if failed {
            (Some(AuthStatus::Failed), Reason::WhatsappNotConnected)
        } else {
            (Some(AuthStatus::Pending), Reason::WhatsappConnecting)
        };
        assert_eq!((verdict.status, verdict.reason), right, "after {waited}");
        assert!(!verdict.message.contains("restart"), "{}", verdict.message);
        assert!(verdict.message.contains("phone"), "{}", verdict.message);
        if failed {
            return;
        }
        let wait = TimeDelta::from_std(verdict.retry.expect("not final")).expect("in range");
        let now = world.now + wait;
        world = after(&verdict, Facts { now, ..world });
    }
}

#[test]
fn absence_is_final_only_on_an_engine_that_has_shown_one_of_ours() {
    for shown in [true, false] {
        let absent = Facts {
            container: Container::NeverSeen,
            engine_has_shown_ours: shown,
            ..facts(at(0))
        };
        let verdict = ask(&absent, REFUSED);
        assert_eq!(verdict.retry.is_none(), shown);
        let reason = if shown {
            Reason::AwaitingContainer
        } else {
            Reason::ApiStarting
        };
        assert_eq!(verdict.reason, reason);
    }
}
