//! The integration tests, as one binary: linked once, and run against one shared server.

mod drift;
mod events;
mod fence;
mod harness;
mod race;
mod scene;
