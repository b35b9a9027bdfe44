//! The pure core against a small world.
//!
//! [`sim::Sim`] holds a database with the change log and the fence of the SQL, APIs and the way to them, two
//! engines, a manager, another process that may lead, and a daemon that is the real controller; `carry.rs`, `looks.rs`
//! and `records.rs` do for it what the shell does. It is driven in two ways:
//!
//! * *in any order* (`any_order.rs`): Proptest makes up histories in which rows, APIs, containers, network and
//!   clocks change, probes, records, scans and whatever else is under way finish early or late, the daemon is killed
//!   between any two commands and started, its listener is lost, or deaf, another process takes over;
//! * *by the clock* (`by_the_clock.rs`): fleets of 1 to 1,000, where everything takes its time.
//!
//! At each step: no status without evidence ([`ledger`]); a key never runs twice at once, nor more runs than slots;
//! no verdict is accepted though the key it was asked with is no longer the row's; an instance is probed no more
//! often than its pace allows. After faults have ended, within a bound: every row says what is so ([`truth`]), the
//! change log is empty, and nothing final keeps a timer.

// Helpers of a test: an impossible state ends it, and clippy knows only #[test] functions as tests.
#![allow(clippy::expect_used, clippy::panic)]

mod any_order;
mod by_the_clock;
mod carry;
mod daemon;
mod database;
mod dock;
mod dock_sim;
mod fleet;
mod ledger;
mod looks;
mod records;
mod rng;
mod sim;
mod truth;
mod world;
