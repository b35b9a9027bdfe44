-- What of all this is meant for people, and how each is asked or called.

create or replace view auth_reconciler.help as
select
    h.name,
    -- The first sentence of its comment.
    auth_reconciler.fold(
        substring(
            case when h.parameters is null then obj_description(to_regclass('auth_reconciler.' || h.name), 'pg_class')
                else obj_description(to_regprocedure(format('auth_reconciler.%s(%s)', h.name, h.parameters)), 'pg_proc') end
            from '^(.*?[.])(?:\s|$)'), 28) as what,
    auth_reconciler.fold(
        format('%s auth_reconciler.%s%s;', case when h.parameters is null then 'select * from' else h.verb end, h.name, h.rest),
        45) as example
from (
    values
        (1, 'overview', null, null, ''),
        (2, 'problems', null, null, ''),
        (3, 'status', null, null, ''),
        (4, 'instances', null, null, ' where id = ''ID'''),
        (5, 'explain', 'uuid', 'select * from', '(''ID'')'),
        (6, 'last_day', null, null, ''),
        (7, 'days', null, null, ' where id = ''ID'''),
        (8, 'transitions', null, null, ' order by id desc limit 20'),
        (9, 'drift', null, null, ''),
        (10, 'drift_total', null, null, ''),
        (11, 'latency', null, null, ''),
        (12, 'totals', null, null, ''),
        (13, 'backlog', null, null, ''),
        (14, 'reconcilers', null, null, ''),
        (15, 'tables', null, null, ''),
        (16, 'history', null, null, ''),
        (17, 'reconcile', 'uuid', 'select', '(''ID'')'),
        (18, 'reconcile_all', '', 'select', '()'),
        (19, 'pause', 'uuid, text', 'select', '(''ID'', ''moving its number'')'),
        (20, 'resume', 'uuid', 'select', '(''ID'')'),
        (21, 'watch', 'regclass, boolean', 'select', '(''message_instances'')'),
        (22, 'unwatch', 'regclass', 'select', '(''message_instances'')'),
        (23, 'guard', 'regclass, boolean', 'select', '(''message_instances'', true)'),
        (24, 'problem_details', null, null, ''),
        (25, 'drift_details', null, null, ' where id = ''ID'''),
        (26, 'reconciler_details', null, null, ''),
        (27, 'help', null, null, '')
) as h (place, name, parameters, verb, rest)
order by h.place;

comment on view auth_reconciler.help is
    'What people ask and call here: everything in this schema that is not listed serves the daemon, the triggers or these views.';
comment on column auth_reconciler.help.name is 'A view or a function.';
comment on column auth_reconciler.help.what is 'What it tells or does; \d+ and \df+ say more.';
comment on column auth_reconciler.help.example is 'How it is asked or called; ID is the id of an instance.';

comment on schema auth_reconciler is
    'auth-reconciler: keeps auth_status of the watched tables true. Start with: select * from auth_reconciler.help; \d+ explains every view.';
