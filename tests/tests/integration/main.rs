//! The integration tests, as one binary: linked once, and run against one shared server.

mod arena;
mod cli;
mod coexistence;
mod console;
mod containers;
mod crash;
mod doubt;
mod drift;
mod events;
mod evidence;
mod fence;
mod harness;
mod leadership;
mod load;
mod manager_first;
mod metrics;
mod operator;
mod pooler;
mod probe;
mod quiet;
mod race;
mod scene;
mod schema_change;
mod search_path;
mod secrets;
mod stage;
