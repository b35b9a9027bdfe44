-- Takes back everything that a role was granted in this database, so that it reads nothing here and can be dropped.
--
--     psql "$DATABASE_URL" -f deploy/revoke.sql                  # the roles that deploy/grants.sql makes
--     psql "$DATABASE_URL" -f deploy/revoke.sql -v roles=bob     # others, comma separated
--     psql "$DATABASE_URL" -c 'drop role auth_reconciler, auth_reconciler_reader'
--
-- Run it as the owner of the tables who may also manage the roles, or as a superuser; in each database in which they were
-- granted something, for roles are the server's. A role that owns anything here is named, and nothing is changed: see what
-- it is, and give it to somebody else first (reassign owned by … to …).

\set ON_ERROR_STOP on
\if :{?roles}
\else
    \set roles auth_reconciler,auth_reconciler_reader
\endif

begin;
set local search_path = pg_catalog, pg_temp;
select set_config('auth_reconciler.roles', :'roles', true) \g /dev/null

do $body$
declare
    wanted text;
    owned text;
    joined boolean;
begin
    foreach wanted in array string_to_array(current_setting('auth_reconciler.roles'), ',') loop
        wanted := btrim(wanted);
        if not exists (select from pg_roles as r where r.rolname = wanted) then
            raise notice 'role % does not exist', wanted;
            continue;
        end if;
        select string_agg(pg_describe_object(d.classid, d.objid, d.objsubid), ', ') into owned
        from pg_shdepend as d
        where d.refclassid = 'pg_authid'::regclass and d.refobjid = (select oid from pg_roles where rolname = wanted) and d.deptype = 'o'
            and d.dbid in (0, (select oid from pg_database where datname = current_database()));
        if owned is not null then
            raise exception 'role % owns %', wanted, owned
                using hint = 'Give it to somebody else first: reassign owned by … to …';
        end if;
        -- Who may not act as the role, may perhaps become a member of it.
        joined := not pg_has_role(wanted, 'usage');
        if joined then
            execute format('grant %I to current_user', wanted);
        end if;
        -- It owns nothing, so this takes its rights and nothing else.
        execute format('drop owned by %I', wanted);
        if joined then
            execute format('revoke %I from current_user', wanted);
        end if;
    end loop;
end
$body$;

commit;
