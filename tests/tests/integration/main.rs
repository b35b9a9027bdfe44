//! The integration tests, as one binary: linked once, and run against one shared server.

mod crash;
mod harness;
mod leadership;
mod manager_first;
mod pooler;
mod load;
mod probe;
mod quiet;
mod scene;
mod schema_change;
mod secrets;
mod stage;
