-- In the order in which everybody takes them, and from here on nothing but new columns and the commit: a record waits for
-- them while it holds the manager's row, and who reads our views holds one while it waits for the other.
lock table auth_reconciler.leadership in access exclusive mode;
lock table auth_reconciler.instance in access exclusive mode;
lock table auth_reconciler.change in access exclusive mode;
