//! What stands × what was answered × how often before × what is known of our own way, and what the engine's word
//! makes of it. Every right value is written here by hand.

use super::containers::sighting;
use super::*;

mod engine;
mod moments;

const NOW: i64 = 1_000_000;

/// What the row says, as columns of [`COUNTS_AS`].
const SAYS: [Option<&str>; 7] = [
    None,
    Some("pending"),
    Some("qr_ready"),
    Some("authenticated"),
    Some("client_ready"),
    Some("failed"),
    Some("ready"),
];

/// As what an instance counts before its answer is weighed, given what we recorded and what its row says: `R` was
/// ready, `F` failed by us on evidence, `N` began anew by the engine's word, `o` anything else.
const COUNTS_AS: [(&str, &str); 9] = [
    ("nothing", "o o o o R o o"),
    ("ready", "R R R R R R R"),
    ("ready and missed since", "R R R R R R R"),
    ("failed on evidence", "F F F F F F F"),
    ("failed by somebody", "o o o o R o o"),
    ("not connected", "o o o o R o o"),
    ("a word of a newer version", "o o o o R o o"),
    ("left alone", "o o o o R o o"),
    ("another start of its container", "N N N N N N N"),
];

/// The right status: `c q a p f` are the five words, `=` is what the row says, `d` is doubt. Columns are those of
/// [`HEARD`]; a row is what it counts as and the answer.
const RIGHT: [(char, &str, &str); 28] = [
    // Ready before: bad news takes misses and a witness, or an answer.
    ('R', "READY", "c c c c c c c c c c c c c c"),
    ('R', "QR", "q q q q q q q q q q q q q q"),
    ('R', "authenticated", "a a a a a a a a a a a a a a"),
    ('R', "not connected", "p p p p p p p p p p p p p p"),
    ('R', "error", "= = = f = = f = = = = = f ="),
    ('R', "refused key", "= f f f = d f d d = = = f ="),
    ('R', "silence", "= = = f = d f d d = = = f ="),
    // Failed on evidence: an answer unsays it, and nothing else.
    ('F', "READY", "c c c c c c c c c c c c c c"),
    ('F', "QR", "q q q q q q q q q q q q q q"),
    ('F', "authenticated", "a a a a a a a a a a a a a a"),
    ('F', "not connected", "f f f f f f f f f f f f f f"),
    ('F', "error", "f f f f f f f f f f f f f f"),
    ('F', "refused key", "f f f f f f f d d f f f f f"),
    ('F', "silence", "f f f f f f f d d f f f f f"),
    // A new life that was just noticed: not ready yet.
    ('N', "READY", "c c c c c c c c c c c c c c"),
    ('N', "QR", "q q q q q q q q q q q q q q"),
    ('N', "authenticated", "a a a a a a a a a a a a a a"),
    ('N', "not connected", "p p p p p p p p p p p p p p"),
    ('N', "error", "p p p p p p p p p p p p p p"),
    ('N', "refused key", "p p p p p p p p p p p p p p"),
    ('N', "silence", "p p p p p p p p p p p p p p"),
    // Anything else is left alone where nothing is known.
    ('o', "READY", "c c c c c c c c c c c c c c"),
    ('o', "QR", "q q q q q q q q q q q q q q"),
    ('o', "authenticated", "a a a a a a a a a a a a a a"),
    ('o', "not connected", "p p p p p p p p p p p p p p"),
    ('o', "error", "= = = = = = = = = = = = = ="),
    ('o', "refused key", "f f f f f f f d d f f f f f"),
    ('o', "silence", "= = = = = = = = = = = = = ="),
];

/// How often it was silent before, how many ms ago that began, and what is known of our own way.
const HEARD: [(u32, i64, &str); 14] = [
    (0, 0, "witness"),
    (1, 60_000, "witness"),
    (2, 5_000, "witness"),
    (2, 10_000, "witness"),
    (2, 10_000, "nobody was asked"),
    (2, 10_000, "nobody of those asked"),
    (2, 10_000, "few"),
    (2, 10_000, "doubt"),
    (2, 10_000, "few, doubt"),
    // Counted while our own way was at fault, or by a clock that was set back.
    (9, 60_000, "void"),
    (9, -60_000, "witness"),
    // Somebody in between refuses more than one.
    (1, 60_000, "witness, others refused"),
    (2, 10_000, "witness, others refused"),
    (1, 60_000, "witness just after a doubt"),
];

fn answers(name: &str) -> Vec<Answer> {
    match name {
        "READY" => vec![Answer::Ready],
        "QR" => vec![Answer::QrReady],
        "authenticated" => vec![Answer::Authenticated],
        "not connected" => vec![Answer::NotConnected],
        "error" => vec![Answer::ProviderError],
        "refused key" => [401, 403].map(|code| Answer::Rejected { code }).into(),
        "silence" => {
            let mut all = vec![
                Answer::Malformed { what: "words" },
                Answer::TooLarge { cap: 9 },
            ];
            all.extend(
                [
                    100, 204, 301, 307, 400, 404, 407, 418, 429, 500, 502, 503, 504, 599, 999,
                ]
                .map(|code| Answer::Http { code }),
            );
            all.extend(
                [
                    Silence::Refused,
                    Silence::Reset,
                    Silence::TimedOut,
                    Silence::NotHttp,
                    Silence::NoReply,
                    Silence::UnknownHost,
                    Silence::Unreachable,
                ]
                .map(Answer::Silent),
            );
            all
        }
        other => panic!("no such answer: {other}"),
    }
}

fn way(known: &str) -> Way {
    let long_ago = Way {
        witness_at: Some(at(NOW - 500_000)),
        asked_at: Some(at(NOW - 500_000)),
        ..Way::default()
    };
    let lately = Some(at(NOW - 2_000));
    match known {
        "witness" => Way {
            witness_at: Some(at(NOW - 1_000)),
            asked_at: lately,
            refused_at: Some(at(NOW - 120_000)),
            doubt_ended: Some(at(NOW - 120_000)),
            ..long_ago
        },
        "witness, others refused" => Way {
            refused_at: Some(at(NOW - 119_000)),
            ..way("witness")
        },
        "witness just after a doubt" => Way {
            doubt_ended: Some(at(NOW - 119_000)),
            ..way("witness")
        },
        "nobody was asked" => long_ago,
        "nobody of those asked" => Way {
            asked_at: lately,
            ..long_ago
        },
        "few" => Way {
            few: true,
            asked_at: lately,
            ..long_ago
        },
        "doubt" => Way {
            doubt_since: lately,
            asked_at: lately,
            ..long_ago
        },
        "few, doubt" => Way {
            few: true,
            doubt_since: lately,
            asked_at: lately,
            ..long_ago
        },
        "void" => Way {
            witness_at: Some(at(NOW - 1_000)),
            void_until: lately,
            ..long_ago
        },
        other => panic!("nothing such is known: {other}"),
    }
}

/// What was recorded, with so many misses since.
fn recorded_before(name: &str, (misses, ago): (u32, i64)) -> Option<Recorded> {
    let missed = misses > 0;
    let (status, reason, established, ready) = match name {
        "nothing" => return None,
        "ready" if !missed => (
            Some(AuthStatus::ClientReady),
            Some(Reason::Ready),
            true,
            true,
        ),
        "ready" | "ready and missed since" => (
            Some(AuthStatus::ClientReady),
            Some(Reason::ApiServerError),
            false,
            true,
        ),
        "failed on evidence" => (
            Some(AuthStatus::Failed),
            Some(Reason::ApiUnresponsive),
            true,
            true,
        ),
        "failed by somebody" => (
            Some(AuthStatus::Failed),
            Some(Reason::ApiStarting),
            false,
            false,
        ),
        "not connected" if !missed => (
            Some(AuthStatus::Pending),
            Some(Reason::TelegramConnecting),
            true,
            false,
        ),
        "not connected" => (
            Some(AuthStatus::Pending),
            Some(Reason::ApiStarting),
            false,
            false,
        ),
        "a word of a newer version" => (Some(AuthStatus::Failed), None, false, false),
        "left alone" => (None, Some(Reason::UnsupportedProvider), true, false),
        "another start of its container" => (
            Some(AuthStatus::ClientReady),
            Some(Reason::Ready),
            true,
            true,
        ),
        other => panic!("no such record: {other}"),
    };
    Some(Recorded {
        status,
        reason,
        established,
        ready_at: ready.then_some(at(NOW - 400_000)),
        misses,
        first_miss_at: missed.then_some(at(NOW - ago)),
        sighting: Some(sighting("a", "running", 0)),
        ..Recorded::default()
    })
}

/// Whether a streak can stand in such a record at all.
fn has_streaks(record: &str) -> bool {
    !matches!(
        record,
        "nothing" | "a word of a newer version" | "left alone"
    )
}

fn word(conclusion: &Conclusion, said: Option<&str>, right: &str) -> String {
    match conclusion {
        Conclusion::Doubted => "d".to_owned(),
        Conclusion::NotAsked(_) => "n".to_owned(),
        Conclusion::Record(verdict) => {
            let known = said.filter(|said| AuthStatus::parse(said).is_some());
            let status = verdict.status.map(AuthStatus::as_str);
            if right == "=" && status == known {
                return "=".to_owned();
            }
            status.map_or("untouched", |status| &status[..1]).to_owned()
        }
    }
}

#[test]
fn every_answer_before_everything_that_may_stand() {
    let mut checked = 0;
    for (record, counts_as) in COUNTS_AS {
        for (said, counts_as) in SAYS.into_iter().zip(counts_as.split(' ')) {
            for (_, answer, right) in RIGHT
                .into_iter()
                .filter(|(stands, _, _)| counts_as.starts_with(*stands))
            {
                for (heard, right) in HEARD.into_iter().zip(right.split(' ')) {
                    for answer in answers(answer) {
                        let before = (record, said, counts_as);
                        checked += usize::from(check(before, &answer, heard, right));
                    }
                }
            }
        }
    }
    assert!(checked > 10_000, "{checked} combinations");
}

/// One cell; whether it can be.
fn check(
    (record, said, counts_as): (&str, Option<&str>, &str),
    answer: &Answer,
    (misses, ago, known): (u32, i64, &str),
    right: &str,
) -> bool {
    let new_life = record == "another start of its container";
    if misses > 0 && !known.ends_with("doubt") && !has_streaks(record) {
        return false;
    }
    // Of few, where nothing comes back at all, nobody knows whose fault it is.
    if known == "few" && !answer.speaks() {
        return false;
    }
    let mut facts = facts(at(NOW));
    facts.row.as_mut().expect("row").auth_status = said.map(str::to_owned);
    facts.recorded = recorded_before(record, (misses, ago));
    facts.container = if new_life {
        Container::Running
    } else {
        Container::Unknown
    };
    facts.sighting = Some(sighting("a", "running", if new_life { 700_000 } else { 0 }));
    facts.way = way(known);
    let found = conclude(&POLICY(), &facts, telegram(), answer, at(NOW + 2), 0.0);
    assert_eq!(
        word(&found, said, right),
        right,
        "{record}, the row says {said:?}, {answer:?}, {misses} misses in {ago} ms, {known}: {found:?}"
    );
    if let Conclusion::Record(verdict) = &found {
        let last = matches!(answer, Answer::Ready)
            || matches!(answer, Answer::Rejected { .. })
                && right == "f"
                && verdict.memory.established
                // Somebody in between may have refused it.
                && !(counts_as == "R" && ["few", "witness, others refused"].contains(&known))
                && known != "witness just after a doubt"
                && verdict.reason == Reason::ApiKeyRejected;
        assert_eq!(
            verdict.retry.is_none(),
            last,
            "{record}, {answer:?}, {known}"
        );
    }
    true
}
