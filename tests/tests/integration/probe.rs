//! Probes against real sockets: what an instance's API may answer, what a row may hold, where the API may be.

mod address;
mod answers;
mod bounds;
mod rows;
