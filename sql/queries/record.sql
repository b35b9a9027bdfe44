-- One record, in one message with the settings of its transaction. Names in braces are quoted literals.
select
    auth_reconciler.legible(outcome) as outcome,
    auth_reconciler.legible(from_status) as from_status,
    reaction_ms
from auth_reconciler.record(
    {epoch}::uuid,
    nullif({version}, '')::uuid,
    array(select pg_catalog.jsonb_array_elements_text({changes}::jsonb)::bigint),
    {verdict}::jsonb,
    {context}::jsonb
)
