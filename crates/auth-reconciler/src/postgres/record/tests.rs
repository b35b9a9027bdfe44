use std::collections::BTreeSet;

use auth_reconciler_core::facts::Recorded;

use super::*;

fn wanted(writes: bool) -> Wanted {
    Wanted {
        act: Act::Record,
        epoch: Uuid::nil(),
        key: Key {
            watched_id: 1,
            instance_id: Uuid::nil(),
        },
        writes,
        json: String::new(),
    }
}

#[test]
fn a_batch_takes_the_oldest_and_no_more_rows_than_it_may_lock() {
    let waiting: VecDeque<_> = [true, false, true, false, true, false].map(wanted).into();
    assert_eq!(fitting(&waiting, 1), 2);
    assert_eq!(fitting(&waiting, 2), 4);
    assert_eq!(fitting(&waiting, 9), 6);
    let many: VecDeque<_> = (0..1_000).map(|_| wanted(false)).collect();
    assert_eq!(fitting(&many, 1), Records::MOST);
}

/// The server takes what it has a column for, and passes over the rest in silence.
#[test]
fn every_fact_that_is_remembered_is_a_column_that_is_noted() {
    let note = sql!("routines/32_note.sql");
    let migrations = [
        sql!("migrations/0001_foundation.sql"),
        sql!("migrations/0002_containers_log.sql"),
        sql!("migrations/0003_operator_log.sql"),
        sql!("migrations/0004_evidence_and_trust_log.sql"),
    ]
    .concat();
    let mut memory: Recorded =
        serde_json::from_str(r#"{"container_id": "c", "attempts": 1}"#).unwrap();
    memory.corrections.contested = 1;
    let names = serde_json::to_value(&memory).unwrap();
    let names: BTreeSet<String> = names.as_object().unwrap().keys().cloned().collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(
            note.contains(&format!("{name} = n.{name}")),
            "{name} is not noted"
        );
        assert!(
            migrations.contains(&format!(" {name} ")),
            "{name} is no column"
        );
    }
}
