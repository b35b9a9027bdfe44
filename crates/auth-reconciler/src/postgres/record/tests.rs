use std::collections::BTreeSet;

use auth_reconciler_core::facts::Recorded;

/// The server takes what it has a column for, and passes over the rest in silence.
#[test]
fn every_fact_that_is_remembered_is_a_column_that_is_noted() {
    let note = sql!("routines/32_note.sql");
    let migrations = [
        sql!("migrations/0001_foundation.sql"),
        sql!("migrations/0002_containers_log.sql"),
        sql!("migrations/0003_operator_log.sql"),
        sql!("migrations/0004_evidence_and_trust_log.sql"),
        sql!("migrations/0007_not_ready_since_log.sql"),
    ]
    .concat();
    let mut memory: Recorded =
        serde_json::from_str(r#"{"container_id": "c", "attempts": 1}"#).unwrap();
    memory.corrections.contested = 1;
    let names = serde_json::to_value(&memory).unwrap();
    let names: BTreeSet<String> = names.as_object().unwrap().keys().cloned().collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(note.contains(&format!(" {name} = ")), "{name} is not noted");
        assert!(
            migrations.contains(&format!(" {name} ")),
            "{name} is no column"
        );
    }
}
