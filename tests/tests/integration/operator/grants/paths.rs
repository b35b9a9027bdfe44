//! The daemon's ways to the database, one by one.

use crate::unread::reading_with_log;

/// What cannot be logged is no error there.
const OWED: &str = "
    do $$
    declare
        piece record;
    begin
        for piece in
            select w.*
            from auth_reconciler.owed as o, auth_reconciler.leadership as l, auth_reconciler.work_off(o.id, 1, l.epoch) as w
        loop
            if piece.unlogged is not null then
                raise insufficient_privilege using message = piece.unlogged;
            end if;
        end loop;
    end $$";

/// What the daemon does, statement by statement, each in a transaction of its own that is rolled back. `{one}` is
/// recorded and has a change, `{two}` is new, `{gone}` is recorded and paused and has no row.
pub(super) fn main_paths(scene_oid: u32) -> Vec<Path> {
    [reads(scene_oid), shows(), records(), notes(), commands()].concat()
}

/// What it is for, and its statement.
type Path = (&'static str, String);

/// What is found out.
fn reads(scene_oid: u32) -> Vec<Path> {
    let read = reading_with_log(scene_oid)
        .replace("$1", "1")
        .replace("$2", "array['{one}']::uuid[]")
        .replace("$3", "0")
        .replace("$4", "1")
        .replace("$5", "1")
        .replace("$6", "'{}'");
    let faults = include_str!("../../../../../sql/queries/table_faults.sql")
        .replace("$1", "array[1]")
        .replace("$2", "array['public.message_instances']")
        .replace("$3", "array[false]")
        .replace("$4", "array[true]");
    let check = include_str!("../../../../../sql/queries/table_state.sql")
        .replace("$1", "'public'")
        .replace("$2", "'message_instances'");
    vec![
        ("read", read),
        (
            "owe looks at every row",
            include_str!("../../../../../sql/queries/owe_all_rows.sql").to_owned(),
        ),
        (
            "backlog",
            include_str!("../../../../../sql/queries/backlog.sql")
                .replace("$1", "true")
                .replace("$2", "true"),
        ),
        (
            "installed",
            include_str!("../../../../../sql/queries/installed.sql").to_owned(),
        ),
        (
            "watched tables",
            include_str!("../../../../../sql/queries/watched_tables.sql").to_owned(),
        ),
        ("check", check),
        ("echo", faults),
        (
            "truncations",
            "select auth_reconciler.expand_truncations()".to_owned(),
        ),
        ("owed", OWED.to_owned()),
        (
            "foreign locks",
            "select * from auth_reconciler.foreign_locks()".to_owned(),
        ),
        (
            "unlogged",
            "select * from auth_reconciler.unlogged_state()".to_owned(),
        ),
    ]
}

/// What its commands show.
fn shows() -> Vec<Path> {
    vec![
        (
            "status",
            include_str!("../../../../../sql/queries/status.sql").to_owned(),
        ),
        (
            "doctor",
            "select * from auth_reconciler.reconciler_details".to_owned(),
        ),
        (
            "faults",
            include_str!("../../../../../sql/queries/faults.sql").to_owned(),
        ),
        (
            "forms of triggers",
            "select auth_reconciler.in_another_form(array['public.message_instances'::regclass::oid])"
                .to_owned(),
        ),
        (
            "form of triggers",
            "select auth_reconciler.attach_anew('public.message_instances'::regclass)".to_owned(),
        ),
        (
            "doctor of tables",
            include_str!("../../../../../sql/queries/all_table_faults.sql").to_owned(),
        ),
        (
            "writable",
            "select auth_reconciler.unwritable('public.message_instances')".to_owned(),
        ),
    ]
}

/// What becomes of verdicts.
fn records() -> Vec<Path> {
    let record = |id: &str, changes: &str, status: &str| {
        format!(
            "select * from auth_reconciler.record_batch(
                (select epoch from auth_reconciler.leadership), 1,
                jsonb_build_array(jsonb_build_object(
                    'verdict', jsonb_build_object(
                        'watched_id', 1, 'instance_id', '{id}', 'auth_status', '{status}', 'reason', 'Ready',
                        'version', (select version from auth_reconciler.instance where instance_id = '{id}'),
                        'message', '', 'cause', 'drift', 'attempts', 0, 'misses', 0, 'corrections_spent', 0,
                        'contested', 0),
                    'changes', {changes}, 'trouble_ms', 0)),
                '{{\"history_per_instance\": 0, \"history_max_age_ms\": 0}}')"
        )
    };
    let read_changes = |id: &str| {
        format!(
            "(select coalesce(array_agg(id), '{{}}') from auth_reconciler.change where instance_id = '{id}')"
        )
    };
    vec![
        ("record", record("{one}", &read_changes("{one}"), "failed")),
        ("first record", record("{two}", &read_changes("{two}"), "client_ready")),
        ("refused record", record("{one}", "array[-1]", "failed")),
        // It is so already.
        ("record of what stands", record("{one}", &read_changes("{one}"), "pending")),
        (
            "record of what was right when it was read",
            record("{one}", &read_changes("{one}"), "failed").replace("'changes'", "'status', 'failed', 'changes'"),
        ),
        // Longer than the column.
        ("unwritable record", record("{one}", &read_changes("{one}"), &"x".repeat(60))),
        (
            "forget",
            format!(
                "select * from auth_reconciler.forget_batch(
                    (select epoch from auth_reconciler.leadership), 1,
                    jsonb_build_array(jsonb_build_object(
                        'verdict', jsonb_build_object(
                            'watched_id', 1, 'instance_id', '{{gone}}',
                            'version', (select version from auth_reconciler.instance where instance_id = '{{gone}}')),
                        'changes', {})))",
                read_changes("{gone}")
            ),
        ),
    ]
}

/// What is noted beside them.
fn notes() -> Vec<Path> {
    vec![
        (
            "put off",
            "select auth_reconciler.put_off((select epoch from auth_reconciler.leadership), array[1])".to_owned(),
        ),
        (
            "take over",
            "select pg_advisory_xact_lock(auth_reconciler.leadership_lock());
             select auth_reconciler.take_over(gen_random_uuid())"
                .to_owned(),
        ),
        (
            "doorbell",
            "select auth_reconciler.silence();
             select auth_reconciler.resound();
             select auth_reconciler.await_silent()"
                .to_owned(),
        ),
        (
            "engine",
            "select auth_reconciler.note_engine((select epoch from auth_reconciler.leadership), 'off', true, null)"
                .to_owned(),
        ),
        (
            "own trouble",
            "select auth_reconciler.note_trouble((select epoch from auth_reconciler.leadership), 'NotAsked', null)"
                .to_owned(),
        ),
        (
            "unlogged answered",
            "select auth_reconciler.answered_unlogged((select epoch from auth_reconciler.leadership), 1, null)".to_owned(),
        ),
    ]
}

/// What an operator may ask for in its name.
fn commands() -> Vec<Path> {
    vec![
        (
            "pause",
            "select auth_reconciler.pause('{one}', 'why')".to_owned(),
        ),
        (
            "resume",
            "select auth_reconciler.resume('{gone}')".to_owned(),
        ),
        (
            "reconcile",
            "select auth_reconciler.reconcile('{one}')".to_owned(),
        ),
        (
            "reconcile all",
            "select auth_reconciler.reconcile_all()".to_owned(),
        ),
    ]
}
