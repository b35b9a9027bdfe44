//! The first second, the moment at which others are asked, and what answers where no container was seen.

use super::engine::engine_says;
use super::*;

/// In the first second after a beginning or an account write, by what it counts as.
const FIRST_SECOND: [(&str, &str); 5] = [
    // was ready, failed by us, not connected, failed by somebody, a new life
    ("READY", "c c c c c"),
    ("not connected", "= f = = p"),
    ("error", "= f = = p"),
    ("silence", "= f = = p"),
    // A container that has just begun may not know its key yet.
    ("refused key", "= f = = p"),
];

#[test]
fn in_the_first_second_only_ready_is_evidence() {
    let stands = [
        ("ready and missed since", "client_ready"),
        ("failed on evidence", "failed"),
        ("not connected", "pending"),
        ("failed by somebody", "failed"),
        ("another start of its container", "client_ready"),
    ];
    for (name, right) in FIRST_SECOND {
        for ((record, said), right) in stands.into_iter().zip(right.split(' ')) {
            for (answer, known) in answers(name).into_iter().flat_map(|answer| {
                ["nobody was asked", "witness"].map(|known| (answer.clone(), known))
            }) {
                let mut recorded = recorded_before(record, (2, 60_000)).expect("a record");
                recorded.started_at = Some(at(NOW - 900));
                let mut facts = engine_says(
                    Some(recorded),
                    Some(said),
                    Container::Running,
                    Some(sighting("a", "running", 0)),
                    way(known),
                );
                facts.changes.clear();
                if record == "another start of its container" {
                    facts.sighting = Some(sighting("a", "running", 700_000));
                }
                let found = conclude(&POLICY(), &facts, telegram(), &answer, at(NOW + 2), 0.0);
                assert_eq!(
                    word(&found, Some(said), right),
                    right,
                    "{record}, {answer:?}: {found:?}"
                );
                if let Conclusion::Record(verdict) = found
                    && right != "c"
                {
                    assert_eq!(verdict.memory.misses, 0, "no evidence counts for nothing");
                    assert!(
                        verdict.retry.is_some(),
                        "it is asked again once it is evidence"
                    );
                }
            }
        }
    }
}

#[test]
fn others_are_asked_for_their_word_at_the_second_miss() {
    let hasty = Policy {
        misses: 1,
        ..POLICY()
    };
    let refused = Answer::Rejected { code: 401 };
    for (policy, answer, misses, known, right) in [
        (POLICY(), REFUSED, 0, "nobody was asked", false),
        (POLICY(), REFUSED, 1, "nobody was asked", true),
        (POLICY(), REFUSED, 2, "nobody was asked", true),
        (POLICY(), REFUSED, 1, "witness", false),
        (POLICY(), refused.clone(), 0, "nobody was asked", true),
        (
            POLICY(),
            Answer::ProviderError,
            1,
            "nobody was asked",
            false,
        ),
        (hasty, REFUSED, 0, "nobody was asked", true),
    ] {
        for record in ["ready", "failed on evidence", "failed by somebody"] {
            let mut facts = facts(at(NOW));
            let said = if record == "ready" {
                "client_ready"
            } else {
                "failed"
            };
            facts.row.as_mut().expect("row").auth_status = Some(said.to_owned());
            facts.recorded = recorded_before(record, (misses, 2_000));
            facts.way = way(known);
            let found = conclude(&policy, &facts, telegram(), &answer, at(NOW + 2), 0.0);
            let right = right && record == "ready";
            assert_eq!(
                recorded(found).wants_witness,
                right,
                "{record}, {answer:?}, {misses}, {known}"
            );
        }
    }
}

#[test]
fn whatever_answers_where_no_container_was_seen_is_asked_on() {
    for answer in answers("silence") {
        let absent = Facts {
            container: Container::NeverSeen,
            ..facts(at(NOW))
        };
        let last = matches!(answer, Answer::Silent(_));
        assert_eq!(
            ask(&absent, answer.clone()).retry.is_none(),
            last,
            "{answer:?}"
        );
    }
}
