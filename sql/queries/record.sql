-- One record, in one message with the settings of its transaction. Names in braces are quoted literals.
select outcome, from_status, reaction_ms
from auth_reconciler.record(
    {epoch}::uuid,
    nullif({version}, '')::uuid,
    array(select pg_catalog.jsonb_array_elements_text({changes}::jsonb)::bigint),
    {verdict}::jsonb,
    {context}::jsonb
)
