//! What the migrations may do, and in which order.

use super::*;

/// Between it and the commit everything else of the migration would be held against the manager.
#[test]
fn the_tables_of_the_triggers_are_altered_last() {
    for migration in MIGRATIONS.iter().skip(1) {
        for table in ["change", "instance", "leadership"] {
            let early = [
                format!("alter table auth_reconciler.{table}\n"),
                format!("alter table auth_reconciler.{table} "),
                format!("on auth_reconciler.{table} ("),
            ];
            assert!(
                !early.iter().any(|text| migration.text.contains(text)),
                "{} changes auth_reconciler.{table}: put that into {}_log.sql",
                migration.name,
                migration.name
            );
        }
    }
}

/// Without the blocks that do something only if the table is so small that it takes no time.
fn without_what_is_bounded_by_size(log: &str) -> String {
    let mut parts = log.split("do $body$\n");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (block, after) = part.split_once("$body$;").expect("the end of a block");
        assert!(block.contains("if pg_catalog.pg_relation_size("), "{block}");
        rest.push_str(after);
    }
    rest
}

/// While these are locked nothing may be done that takes a time with the rows: no index, no rewrite, no check.
#[test]
fn nothing_that_reads_rows_is_done_to_the_tables_of_the_triggers() {
    for migration in MIGRATIONS {
        for line in without_what_is_bounded_by_size(migration.log).lines() {
            let begins = line.split(' ').next().unwrap_or_default();
            // It takes a moment, whatever the table holds.
            if line.starts_with("create constraint trigger ") {
                continue;
            }
            assert!(
                ["", "--", "alter", "comment"].contains(&begins),
                "{}: {line}",
                migration.name
            );
            for word in [
                "constraint",
                "check (",
                "references",
                " type ",
                "set not null",
            ] {
                assert!(
                    line.trim_start().starts_with('\'')
                        || !line.contains(word)
                        || begins == "comment",
                    "{}: {line}",
                    migration.name
                );
            }
        }
    }
}
