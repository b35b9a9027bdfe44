//! The harness of auth-reconciler's integration tests: everything around the daemon that a test needs to be real.
//!
//! A private PostgreSQL server ([`postgres`]) with a database per test ([`database`]), the manager that owns the
//! watched table ([`manager`]), the API of an instance ([`stub`]), real containers on a real engine ([`docker`]) that
//! run a program of ours ([`instance`]), the daemon itself as a process ([`daemon`]), a witness of every status that was
//! ever committed ([`watcher`]), and the accidents: a link that stalls or breaks ([`proxy`]) or is cut amid
//! what two sides say in turn ([`hang_up`]), a server that crashes
//! ([`postgres::Cluster::stop`]), an engine that does ([`docker::PrivateEngine::kill`]), certificates that are right or
//! wrong ([`certificates`]).
//!
//! Two rules hold for all of it. Nothing waits for a while: each wait is for a signal, with a generous limit, and names
//! the line of the test that waited ([`patience`]). And no failure prints a password or an API key.

pub mod certificates;
pub mod connection_url;
pub mod daemon;
pub mod database;
pub mod docker;
mod documents;
pub mod exporter;
pub mod hang_up;
pub mod instance;
pub mod listener;
pub mod manager;
mod open;
pub mod patience;
pub mod pooler;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod stub;
pub mod watcher;
