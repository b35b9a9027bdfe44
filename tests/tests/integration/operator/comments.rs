//! `\d+` reads like documentation: everything in the schema says what it is.

use anyhow::Result;

use super::value;
use crate::scene::Scene;

const SILENT: &str = "
    select coalesce(array_agg(name order by name), '{}')
    from (
        select c.relname || coalesce('.' || a.attname, '') as name, obj_description(c.oid, 'pg_class') as said
        from pg_class as c
        left join pg_attribute as a on false
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind in ('r', 'v')
        union all
        select c.relname || '.' || a.attname, col_description(c.oid, a.attnum)
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind in ('r', 'v')
        union all
        select p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
        from pg_proc as p
        where p.pronamespace = 'auth_reconciler'::regnamespace
        union all
        select 'the schema', obj_description('auth_reconciler'::regnamespace, 'pg_namespace')
    ) as every
    where coalesce(said, '') = ''";

#[tokio::test]
async fn every_object_and_every_column_has_a_comment() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let silent: Vec<String> = value(&scene.manager, SILENT).await?;
    assert!(silent.is_empty(), "without a comment: {silent:?}");
    Ok(())
}
