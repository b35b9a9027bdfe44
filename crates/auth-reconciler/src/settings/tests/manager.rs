//! The names by which the manager's own settings call the database.

use super::{SettingsError, parse, told};

#[test]
fn separate_names_have_defaults_of_their_own() {
    let database = parse(&["migrate"], &[("DATABASE_USER", "manager")])
        .unwrap()
        .database;
    assert_eq!(
        database.describe(),
        "postgres://manager@localhost:5432/manager (sslmode=prefer)"
    );
    let text = told(
        parse(
            &["migrate"],
            &[("DATABASE_USER", "m"), ("DATABASE_PORT", "0")],
        )
        .unwrap_err(),
    );
    assert_eq!(
        text,
        "setting --database-port (DATABASE_PORT) does not accept `0`: give a number from 1 to 65535"
    );
}

/// What the manager falls back to where the longer names are not set.
#[test]
fn the_manager_s_own_settings_are_understood_as_they_are() {
    let short = [
        ("DB_HOST", "db"),
        ("DB_PORT", "5433"),
        ("DB_NAME", "wweb"),
        ("DB_USER", "manager"),
        ("DB_PASSWORD", "hunter2"),
        ("DB_SSL", "true"),
        ("DATABASE_SCHEMA", "Messaging"),
    ];
    let settings = parse(&["migrate"], &short).unwrap();
    assert_eq!(
        settings.database.describe(),
        "postgres://manager@db:5433/wweb (sslmode=require)"
    );
    let password = settings.database.config();
    assert_eq!(password.get_password(), Some(&b"hunter2"[..]));
    let tables: Vec<_> = settings.tables.iter().map(ToString::to_string).collect();
    assert_eq!(tables, ["\"Messaging\".message_instances"]);

    let mut both = short.to_vec();
    both.extend([("DATABASE_HOST", "other"), ("DATABASE_PORT", "")]);
    both.push(("AUTH_RECONCILER_TABLE", "bots, public.others"));
    let settings = parse(&["migrate"], &both).unwrap();
    let told = settings.database.describe();
    assert!(told.contains("@other:5433/"), "{told}");
    let tables: Vec<_> = settings.tables.iter().map(ToString::to_string).collect();
    assert_eq!(tables, ["\"Messaging\".bots", "public.others"]);

    let told = parse(&["migrate"], &[("DB_HOST", "db")]).unwrap();
    assert_eq!(
        told.database.describe(),
        "postgres://postgres@db:5432/postgres (sslmode=prefer)"
    );
    let nowhere = parse(&["migrate"], &[("DB_SSL", "true")]);
    assert!(matches!(nowhere, Err(SettingsError::NoDatabase)));
}
