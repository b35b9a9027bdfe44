//! The pure part of auth-reconciler: what is decided, without anything that acts.
//!
//! Facts and the time go in, commands come out. Nothing here reads a clock, opens a socket or draws
//! a random number; the daemon does that and feeds the results back. That is why every rule of the
//! status column can be tested with plain functions, in any order of events.
//!
//! * [`controller`] — decides what the daemon does: what happens and the time in, commands out.
//! * [`verdict`] — from facts to a status: [`verdict::plan`] before the probe, [`verdict::conclude`]
//!   after it.
//! * [`facts`] — what a decision may look at, all of it read after the event that asked for it.
//! * [`snapshot`], [`record`] — what is read of an instance, and what is proposed for the record.
//! * [`profile`] — providers as data: where to ask and how to read the answer.
//! * [`queue`] — one keyed queue: doubles merge, one run per key, bounded slots, fair to first looks.
//! * [`rings`] — what a ring, which anybody may send, may cost.
//! * [`container`] — what an engine shows of an instance, and what that means.
//! * [`follow`] — whose output is followed, and which of it is worth a look.
//! * [`batch`] — how large a batch of records may be.
//! * [`standby`] — when a process that waits takes the place of one that leads and does not move.
//! * [`witness`] — whether the silence of many is theirs or ours.
//! * [`backoff`], [`corrections`] — how patience grows, and when two writers stop fighting.

pub mod answer;
pub mod backoff;
pub mod batch;
pub mod cause;
pub mod chance;
pub mod container;
pub mod controller;
pub mod corrections;
pub mod facts;
pub mod follow;
pub mod instance;
pub mod key;
pub mod problem;
pub mod profile;
pub mod queue;
pub mod reason;
pub mod record;
pub mod rings;
pub mod snapshot;
pub mod standby;
pub mod status;
pub mod verdict;
pub mod witness;

pub use answer::Answer;
pub use cause::Cause;
pub use controller::Controller;
pub use instance::Key;
pub use reason::Reason;
pub use status::AuthStatus;
