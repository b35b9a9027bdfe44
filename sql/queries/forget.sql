select auth_reconciler.forget($1::uuid, $2::integer, $3::uuid, $4::uuid, $5::bigint[])
