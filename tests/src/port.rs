//! Ports for programs that want to be told one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::process::lock;

/// Every port that this process was given: one that somebody is about to open is as good as taken.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on and that was given to nobody in this process before, from below the range that the
/// kernel takes for outgoing connections, so that it stays free while the server is stopped.
///
/// # Errors
/// When 200 random ones were all taken.
pub fn free_port() -> Result<u16> {
    for _ in 0..200 {
        let random = uuid::Uuid::new_v4().as_u128() % 12_000;
        let port = 20_000 + u16::try_from(random)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free && lock(&GIVEN).insert(port) {
            return Ok(port);
        }
    }
    bail!("found no free port between 20000 and 32000")
}
