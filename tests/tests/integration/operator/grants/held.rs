//! What deploy/grants.sql gives the daemon, right by right.

use super::*;

/// Everything that a role holds here by name, as `right on object`.
const HELD: &str = "
    select coalesce(array_agg(held order by held), '{}')
    from (
        select lower(acl.privilege_type) || ' on schema ' || n.nspname as held, acl.grantee
        from pg_namespace as n cross join lateral aclexplode(n.nspacl) as acl
        union all
        select lower(acl.privilege_type) || ' on ' || c.oid::regclass, acl.grantee
        from pg_class as c cross join lateral aclexplode(c.relacl) as acl
        union all
        select lower(acl.privilege_type) || ' (' || a.attname || ') on ' || a.attrelid::regclass, acl.grantee
        from pg_attribute as a cross join lateral aclexplode(a.attacl) as acl
        union all
        select lower(acl.privilege_type) || ' on function ' || p.oid::regprocedure, acl.grantee
        from pg_proc as p cross join lateral aclexplode(p.proacl) as acl
        union all
        select lower(acl.privilege_type) || ' on database ' || d.datname, acl.grantee
        from pg_database as d cross join lateral aclexplode(d.datacl) as acl
        union all
        select 'member of ' || m.roleid::regrole, m.member from pg_auth_members as m
    ) as every
    where grantee = $1::regrole";

pub(super) async fn held(client: &Client, role: &str) -> Result<Vec<String>> {
    let held = HELD.replace("$1", &format!("'{role}'"));
    value(client, &held).await
}

/// What the tables grant the daemon, as people read it.
const TABLES: &[(&str, &str)] = &[
    ("schema auth_reconciler", "usage"),
    ("schema public", "usage"),
    ("auth_reconciler.change", "delete insert select"),
    ("auth_reconciler.change_id_seq", "select"),
    ("auth_reconciler.engine", "insert select update"),
    ("auth_reconciler.foreign_write", "delete select"),
    ("auth_reconciler.instance", "delete insert select update"),
    ("auth_reconciler.instances", "select"),
    ("auth_reconciler.journal", "delete insert select"),
    ("auth_reconciler.leadership", "insert select update"),
    ("auth_reconciler.migration", "select"),
    ("auth_reconciler.owed", "delete insert select update"),
    ("auth_reconciler.pause", "delete select"),
    ("auth_reconciler.reconciler_details", "select"),
    ("auth_reconciler.transition", "delete insert select"),
    ("auth_reconciler.watched_table", "select"),
    (
        "message_instances",
        "select(api_key) select(auth_status) select(id) select(port_api) select(provider) select(type_instance) \
         update(auth_status) update(updated_at)",
    ),
];

const FUNCTIONS: &[&str] = &[
    "act_of",
    "answer_alike",
    "answer_changes",
    "answered_unlogged",
    "attach_anew",
    "await_silent",
    "begin_instances",
    "bell_class",
    "conclude",
    "count_foreign_writes",
    "enter_gate",
    "epoch_lock",
    "escaped",
    "expand_truncations",
    "faults",
    "faults_of",
    "fence",
    "foreign_locks",
    "forget_batch",
    "forget_rows",
    "hold_sleeper_lock",
    "in_another_form",
    "is_typed",
    "key_class",
    "key_hash",
    "kind_of",
    "leadership_lock",
    "legible",
    "lock_differing",
    "lock_keys",
    "lock_rows",
    "log_rows",
    "look_at_others",
    "message_of",
    "missing_triggers",
    "next_rows",
    "not_as_decided",
    "note",
    "note_engine",
    "note_trouble",
    "pause",
    "prepared",
    "processes",
    "prune",
    "prune_some",
    "put_off",
    "reader_lock",
    "reconcile",
    "reconcile_all",
    "record_batch",
    "record_steps",
    "remove_records",
    "resound",
    "resume",
    "silence",
    "silent_lock",
    "silent_record_lock",
    "sleeper_lock",
    "spend",
    "spend_held",
    "stands",
    "table_faults",
    "take_over",
    "tell_watchers",
    "unlogged_state",
    "unwritable",
    "watch_lock",
    "watched_rows",
    "why_refused",
    "work_off",
    "write",
    "write_statuses",
    "wrong_columns",
];

#[tokio::test]
async fn the_daemon_holds_these_rights_and_no_other() -> Result<()> {
    let granted = Granted::start().await?;
    let manager = &granted.scene.manager;
    let mut expected = Vec::new();
    for (object, rights) in TABLES {
        for right in rights.split(' ') {
            expected.push(format!("{} on {object}", right.replace('(', " (")));
        }
    }
    let mut found = held(manager, "auth_reconciler").await?;
    let functions: Vec<String> = found
        .extract_if(.., |held| held.contains(" on function "))
        .map(|held| held.replace("execute on function auth_reconciler.", ""))
        .map(|held| held.split('(').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(functions, FUNCTIONS);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let power: bool = value(
        manager,
        "select bool_or(rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)
         from pg_roles where rolname like 'auth_reconciler%'",
    )
    .await?;
    assert!(!power);
    let public = "select count(*) from pg_proc as p
        where p.pronamespace = 'auth_reconciler'::regnamespace
            and (p.proacl is null or exists (select from aclexplode(p.proacl) as a where a.grantee = 0))";
    assert_eq!(
        value::<i64>(manager, public).await?,
        0,
        "nothing is everybody's"
    );
    Ok(())
}
