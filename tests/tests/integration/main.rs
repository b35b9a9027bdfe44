//! The integration tests, as one binary: linked once, and run against one shared server.

mod cli;
mod harness;
mod load;
mod probe;
mod stage;
