//! The whole protocol keeps every promise in every scenario, so that what a flaw breaks there is
//! broken by the flaw. The numbers of states are a little below what is reachable today.

use crate::holds;
use crate::scenarios::{
    converging, failed_batch, failed_read, failover, late_commits, late_record, lost_ids,
    lost_leadership, lost_records, lost_writes, new_table, put_off, takeover, unlisted,
};

#[test]
fn it_holds_through_takeovers() {
    holds(takeover(), 140_000);
}

#[test]
fn it_holds_while_instances_converge() {
    holds(converging(), 100_000);
}

#[test]
fn it_holds_against_late_records() {
    holds(late_record(), 220_000);
}

#[test]
fn it_holds_when_writes_are_lost() {
    holds(lost_writes(), 130_000);
}

#[test]
fn it_holds_through_failovers() {
    holds(failover(), 15_000);
}

#[test]
fn it_holds_when_records_are_lost() {
    holds(lost_records(), 220_000);
}

#[test]
fn it_holds_when_leadership_is_lost() {
    holds(lost_leadership(), 250_000);
}

#[test]
fn it_holds_when_batches_fail() {
    holds(failed_batch(), 30_000);
}

#[test]
fn it_holds_when_ids_commit_late() {
    holds(late_commits(), 130_000);
}

#[test]
fn it_holds_when_a_read_fails() {
    holds(failed_read(), 50_000);
}

#[test]
fn it_holds_when_a_read_cannot_tell_who_is_in_progress() {
    holds(unlisted(), 50_000);
}

#[test]
fn it_holds_when_changes_are_put_off() {
    holds(put_off(), 30_000);
}

#[test]
fn it_holds_when_a_table_is_watched() {
    holds(new_table(), 60_000);
}

#[test]
fn it_holds_when_ids_are_given_out_again() {
    holds(lost_ids(), 80_000);
}
