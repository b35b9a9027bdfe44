//! The harness proves itself: a stub that does not misbehave as asked would make every other test worthless.

mod bench;
mod cluster;
mod container;
mod engine;
mod link;
mod process;
mod stub;
mod tls;
mod way;
