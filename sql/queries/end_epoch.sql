-- A program that knows only the schema before this one records nothing more: its next record is refused, it
-- connects anew, and finds that it is too old.
delete from auth_reconciler.leadership;
