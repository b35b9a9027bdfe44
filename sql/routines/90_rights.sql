-- Nobody but the owner calls anything here, unless it is granted.

revoke all on schema auth_reconciler from public;
revoke all on all functions in schema auth_reconciler from public;
