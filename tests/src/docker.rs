//! Real containers on a real engine: what the daemon's following of containers is tested against.
//!
//! Most tests share one engine ([`Engine::shared`]); one that stops or kills its engine starts its own
//! ([`PrivateEngine`]), which works beside a running one. The image is made from the program `instance` and the
//! libraries that it names, so nothing is pulled. The harness speaks plain HTTP to the engine: an oracle that shares no
//! code with the daemon's client.
//!
//! For the failures of the way to the engine there are a [`recorder`] that can be cut, and a [`fake`] that says what a
//! test wants. The log of an instance holds its token, so the harness never prints any of it.

mod api;
mod container;
mod database;
mod engine;
pub mod fake;
mod image;
mod podman;
mod private;
pub mod recorder;
mod remnants;
mod spec;

pub use self::container::{Container, InstanceCounts, Output, Phase, counts_of};
pub use self::database::{Reach, reach};
pub use self::engine::{ENGINE, Engine};
pub use self::image::INSTANCE;
pub use self::podman::Podman;
pub use self::private::PrivateEngine;
pub use self::spec::{Kind, Spec};
