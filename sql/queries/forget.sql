-- Answers for a row that is gone, in one message with the settings of its transaction.
select auth_reconciler.forget(
    {epoch}::uuid,
    {watched_id}::integer,
    {instance_id}::uuid,
    nullif({version}, '')::uuid,
    array(select pg_catalog.jsonb_array_elements_text({changes}::jsonb)::bigint)
) as outcome
