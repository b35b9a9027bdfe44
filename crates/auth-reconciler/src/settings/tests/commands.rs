//! What each command takes.

use super::*;
use crate::settings::{Consent, Shown};

#[test]
fn commands_take_their_own_switches() {
    assert!(matches!(
        parse(&["status", "--json"], &[URL]).unwrap().command,
        Command::Status {
            json: true,
            shown: Shown::Every
        }
    ));
    for (flag, shown) in [("--trouble", Shown::Trouble), ("--summary", Shown::Summary)] {
        let command = parse(&["status", flag], &[URL]).unwrap().command;
        assert!(matches!(command, Command::Status { json: false, shown: told } if told == shown));
    }
    assert!(parse(&["status", "--trouble", "--summary"], &[URL]).is_err());
    assert!(matches!(
        parse(&["uninstall"], &[URL]).unwrap().command,
        Command::Uninstall(Consent {
            yes: false,
            force: false,
            with_dependents: false
        })
    ));
    assert!(matches!(
        parse(&["uninstall", "--yes"], &[URL]).unwrap().command,
        Command::Uninstall(Consent {
            yes: true,
            force: false,
            with_dependents: false
        })
    ));
    assert!(matches!(
        parse(&["migrate"], &[URL]).unwrap().command,
        Command::Migrate {
            into_publication: false,
            dry_run: false
        }
    ));
    assert!(matches!(
        parse(&["migrate", "--dry-run"], &[URL]).unwrap().command,
        Command::Migrate { dry_run: true, .. }
    ));
    assert!(matches!(
        parse(&["migrate", "--into-publication"], &[URL])
            .unwrap()
            .command,
        Command::Migrate {
            into_publication: true,
            dry_run: false
        }
    ));
    assert!(
        matches!(parse(&["doctor", "--misses", "5"], &[URL]).unwrap().command, Command::Doctor(run) if run.policy.misses == 5)
    );
    assert!(matches!(
        parse(&["status", "--yes"], &[URL]),
        Err(SettingsError::CommandLine(_))
    ));
    assert!(matches!(
        parse(&["uninstall", "--table", "a.b"], &[URL]),
        Err(SettingsError::EveryTable)
    ));
}

#[test]
fn migrate_can_be_asked_for_both_ways() {
    assert!(run(&["--migrate"], &[]).unwrap().migrate);
    assert!(
        run(&[], &[("AUTH_RECONCILER_MIGRATE", "true")])
            .unwrap()
            .migrate
    );
    assert!(
        !run(&[], &[("AUTH_RECONCILER_MIGRATE", "0")])
            .unwrap()
            .migrate
    );
    let text = refused(&[], &[("AUTH_RECONCILER_MIGRATE", "maybe")]);
    assert_eq!(
        text,
        "setting --migrate (AUTH_RECONCILER_MIGRATE) does not accept `maybe`: give true or false"
    );
}

#[test]
fn our_tables_come_into_a_publication_only_when_asked_for() {
    assert!(!run(&[], &[]).unwrap().into_publication);
    let environment = ("AUTH_RECONCILER_INTO_PUBLICATION", "yes");
    assert!(run(&[], &[environment]).unwrap().into_publication);
    assert!(matches!(
        parse(&["migrate"], &[URL, environment]).unwrap().command,
        Command::Migrate {
            into_publication: true,
            dry_run: false
        }
    ));
}
