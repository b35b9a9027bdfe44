//! The engine's word about a container, and what its absence is worth.

use super::*;
use crate::container::{self, Inspected, Sighting};

/// What the engine says of a container in its own words, and its exit code: the status that it decides alone, `?`
/// where the API is asked.
const ENGINE: [(&str, i64, &str); 16] = [
    ("running", 0, "?"),
    ("running", 137, "?"),
    ("stopping", 0, "?"),
    ("exited", 0, "f"),
    ("exited", 1, "f"),
    ("stopped", 137, "f"),
    ("dead", 0, "f"),
    ("paused", 0, "f"),
    ("removing", 0, "f"),
    ("removing", 9, "f"),
    ("restarting", 1, "f"),
    ("created", 0, "p"),
    ("configured", 0, "p"),
    ("initialized", 0, "p"),
    ("created", 127, "f"),
    ("frobnicated", 0, "?"),
];

#[test]
fn the_engine_s_word_decides_whatever_stands() {
    for (state, exit_code, right) in ENGINE {
        for (record, _) in COUNTS_AS {
            for said in SAYS {
                for known in ["witness", "doubt"] {
                    let recorded = recorded_before(record, (0, 0));
                    let shown = Inspected {
                        sighting: sighting("a", state, 0),
                        exit_code,
                        out_of_memory: false,
                    };
                    let before = recorded.as_ref().and_then(|known| known.sighting.as_ref());
                    let (container, seen) =
                        container::resolve("here", before, Some(shown), |_| None);
                    let facts = engine_says(recorded.clone(), said, container, seen, way(known));
                    assert_eq!(
                        decided(&facts),
                        right,
                        "{state} {exit_code}, {record}, {said:?}"
                    );
                }
            }
        }
    }
}

/// Absent on an engine, by whether it was recorded there, elsewhere, or nowhere.
#[test]
fn absence_is_a_removal_only_where_it_was_seen() {
    for (recorded_on, right) in [(Some("here"), "f"), (Some("there"), "?"), (None, "?")] {
        let seen = recorded_on.map(|engine| Sighting {
            engine: engine.to_owned(),
            ..sighting("a", "running", 0)
        });
        for said in SAYS {
            let mut recorded = recorded_before("ready", (0, 0)).expect("a record");
            recorded.sighting.clone_from(&seen);
            let (container, seen) = container::resolve("here", seen.as_ref(), None, |_| None);
            let facts = engine_says(Some(recorded), said, container, seen, way("doubt"));
            assert_eq!(decided(&facts), right, "{recorded_on:?}, {said:?}");
        }
    }
}

pub(super) fn engine_says(
    recorded: Option<Recorded>,
    said: Option<&str>,
    container: Container,
    sighting: Option<Sighting>,
    way: Way,
) -> Facts {
    let mut facts = Facts {
        recorded,
        container,
        sighting,
        way,
        ..changed(facts(at(NOW)), Cause::Account, NOW - 1)
    };
    facts.row.as_mut().expect("row").auth_status = said.map(str::to_owned);
    facts
}

fn decided(facts: &Facts) -> &'static str {
    match plan(&POLICY(), facts, 0.0) {
        Plan::Settle(verdict) => {
            assert_eq!(verdict.retry, None, "events only");
            assert!(verdict.memory.established);
            verdict.status.map_or("=", |status| &status.as_str()[..1])
        }
        Plan::Probe { .. } => "?",
        other @ (Plan::Defer { .. } | Plan::Forget) => panic!("{other:?}"),
    }
}
