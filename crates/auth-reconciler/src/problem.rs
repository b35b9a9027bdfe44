//! The core's words for problems and those of the SQL are the same.

use auth_reconciler_core::problem::{
    COLUMN_ADDED, DOUBT, FOREIGN_LOCK, LOG_REFUSES, NOBODY_LEADS, NOT_ASKED, SCHEMA_ALTERED,
};

const VIEW: &str = include_str!("../../../sql/routines/62_questions.sql");
const FAULTS: &str = include_str!("../../../sql/routines/24_faults.sql");
const ALTERED: &str = include_str!("../../../sql/queries/altered_routines.sql");
const ALTERED_TABLES: &str = include_str!("../../../sql/queries/altered_tables.sql");
const LOCKS: &str = include_str!("../../../sql/queries/foreign_locks.sql");
const GUARD: &str = include_str!("../../../sql/routines/22_guard.sql");

/// The words of the view, in their order.
fn ordered() -> Vec<&'static str> {
    let (_, list) = VIEW.split_once("left join (\n    values").unwrap();
    let (list, _) = list.split_once(") as general").unwrap();
    list.split('\'').skip(1).step_by(2).collect()
}

#[test]
fn the_words_are_those_of_the_view_in_its_order() {
    let ordered = ordered();
    assert_eq!(ordered.first(), Some(&NOBODY_LEADS));
    for word in [
        FOREIGN_LOCK,
        LOG_REFUSES,
        SCHEMA_ALTERED,
        COLUMN_ADDED,
        NOT_ASKED,
        DOUBT,
    ] {
        assert!(ordered.contains(&word), "{word}");
    }
    let (_, comment) = VIEW
        .split_once("column auth_reconciler.problems.problem is")
        .unwrap();
    let comment = comment.lines().nth(1).unwrap();
    for word in ordered {
        assert!(comment.contains(word), "{word} is not explained");
    }
}

#[test]
fn what_makes_the_words_is_in_the_order() {
    let ordered = ordered();
    let quoted = |text: &'static str| text.split('\'').skip(1).step_by(2);
    let word = |part: &&str| {
        part.starts_with(|first: char| first.is_ascii_uppercase())
            && part.chars().all(|char| char.is_ascii_alphabetic())
    };
    let bodies = FAULTS.split("$body$").skip(1).step_by(2);
    let made: Vec<_> = bodies.flat_map(quoted).filter(word).collect();
    assert!(made.contains(&COLUMN_ADDED), "{made:?}");
    for made in made {
        assert!(ordered.contains(&made), "{made}");
    }
    for tables in [ALTERED, ALTERED_TABLES] {
        assert!(tables.contains(&format!("'{SCHEMA_ALTERED}' as problem")));
    }
    assert!(LOCKS.contains(&format!("'{FOREIGN_LOCK}' as problem")));
    assert!(GUARD.contains(&format!("o.problem = '{DOUBT}'")));
}
