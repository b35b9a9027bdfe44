-- What follows locks tables that the manager's triggers use, and that a daemon uses while it holds a row of the
-- manager's: we wait for a moment only and try again later; and the locks do not last for a flush of the disk.
set local lock_timeout = '10ms';
set local synchronous_commit = off;
