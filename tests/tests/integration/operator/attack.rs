//! A role that may create in a schema of the path cannot slip its own functions, operators or tables under ours.

use anyhow::{Context, Result};
use uuid::Uuid;

use super::value;
use crate::scene::{KEY, Scene};

/// Shadows of what our functions use, each of which tells on whoever calls it.
const SHADOWS: &str = r#"
    create schema evil;
    create function evil.bite() returns void language plpgsql as $$ begin
        raise exception 'hijacked as %', current_user using errcode = 'XX666'; end $$;
    do $do$
    declare
        f record;
    begin
        -- Every function with a plain signature that our own texts name, with its very types, so that it fits as well.
        for f in
            select distinct p.oid, p.proname, pg_get_function_identity_arguments(p.oid) as arguments,
                pg_get_function_result(p.oid) as result
            from pg_catalog.pg_proc as p
            join pg_catalog.pg_proc as o on o.pronamespace = 'auth_reconciler'::regnamespace
                and o.prosrc ~ ('\m' || p.proname || '\s*\(')
            where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not p.proretset
                and p.provariadic = 0 and pg_get_function_identity_arguments(p.oid) !~ '(any|internal|OUT|cstring)'
        loop
            execute format(
                'create function evil.%I(%s) returns %s language plpgsql as '
                '$f$ begin perform evil.bite(); end $f$',
                f.proname, f.arguments, f.result);
        end loop;
        -- And one that fits better than the variadic original.
        create function evil.format(text, regclass) returns text language plpgsql as
            $f$ begin perform evil.bite(); return ''; end $f$;
        create function evil.format(text, text) returns text language plpgsql as
            $f$ begin perform evil.bite(); return ''; end $f$;
        for f in
            select o.oprname, format_type(o.oprleft, null) as l, format_type(o.oprright, null) as r,
                format_type(o.oprresult, null) as result
            from pg_catalog.pg_operator as o
            where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprkind = 'b'
                and o.oprname in ('=', '<>', '<', '>', '<=', '>=', '||', '-', '+', '*', '~~', '<<', '|')
                and o.oprleft = any (array['text', 'uuid', 'int4', 'int8', 'oid', 'bool', 'timestamptz', 'name',
                    'interval', 'char', 'varchar']::regtype[])
                and o.oprright = any (array['text', 'uuid', 'int4', 'int8', 'oid', 'bool', 'timestamptz', 'name',
                    'interval', 'char', 'varchar']::regtype[])
        loop
            execute format(
                'create function evil.%I(a %s, b %s) returns %s language plpgsql as '
                '$f$ begin perform evil.bite(); end $f$',
                'op_' || md5(f.oprname || f.l || f.r), f.l, f.r, f.result);
            execute format(
                'create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%I)',
                f.oprname, f.l, f.r, 'op_' || md5(f.oprname || f.l || f.r));
        end loop;
        for f in
            select c.relname from pg_catalog.pg_class as c
            where c.relnamespace in ('auth_reconciler'::regnamespace, 'pg_catalog'::regnamespace) and c.relkind in ('r', 'v')
        loop
            execute format('create table evil.%I (bait int)', f.relname);
            execute format('create temporary table %I (bait int)', f.relname);
        end loop;
    end
    $do$;
    set search_path = pg_temp, evil, pg_catalog, public;
"#;

/// Everything that people call, and what the manager writes while its table is guarded, and while it is watched alone.
fn calls(id: Uuid) -> Vec<String> {
    let table = "'public.message_instances'";
    let call = |call: String| format!("select auth_reconciler.{call}");
    let read = |from: &str| format!("select * from auth_reconciler.{from}");
    let write = |change: &str| {
        format!(
            "update public.message_instances set {change} where id operator(pg_catalog.=) '{id}'"
        )
    };
    let mut calls = vec![
        call(format!("guard({table}, true)")),
        write("auth_status = 'failed'"),
        call(format!("reconcile('{id}')")),
        call("reconcile_all()".to_owned()),
        call(format!("pause('{id}', 'why')")),
        call(format!("resume('{id}')")),
        call(format!("unwatch({table})")),
        call(format!("watch({table}, true)")),
        call(format!("watch({table})")),
        call(format!("guard({table}, true)")),
        call(format!("guard({table}, false)")),
    ];
    let views = [
        "instances",
        "status",
        "problems",
        "backlog",
        "drift",
        "latency",
        "history",
        "transitions",
        "reconcilers",
    ];
    calls.extend(views.map(read));
    calls.push(read(&format!("explain('{id}')")));
    calls.push(write("auth_status = 'pending'"));
    calls.push(write("account = 'Name'"));
    calls
}

#[tokio::test]
async fn nothing_in_the_path_of_a_session_is_called_by_us() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let id = Uuid::new_v4();
    scene
        .table
        .insert(&scene.manager, id, Some(1), Some(KEY))
        .await?;
    let victim = scene.database.client().await?;
    victim.batch_execute(SHADOWS).await?;
    // The shadows do fall: what is not pinned meets them.
    let bitten = victim
        .query("select 'public.message_instances'::pg_catalog.regclass = null::pg_catalog.regclass or 'a'::pg_catalog.text = 'b'::pg_catalog.text", &[])
        .await;
    let code = bitten.err().context("no shadow fell")?;
    assert_eq!(code.code().map(|code| code.code()), Some("XX666"));

    let mark: i64 = value(&scene.manager, "select max(id) from auth_reconciler.change").await?;
    for call in calls(id) {
        victim
            .batch_execute(&call)
            .await
            .with_context(|| call.clone())?;
    }
    // The triggers did their work, rather than fail in silence.
    let logged = format!(
        "select array_agg(cause order by id) from auth_reconciler.change where id > {mark}"
    );
    let logged: Vec<String> = value(&scene.manager, &logged).await?;
    assert_eq!(
        logged[logged.len() - 2..],
        ["drift", "account"],
        "{logged:?}"
    );
    Ok(())
}
