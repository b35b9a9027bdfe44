//! The commands beside the daemon.

pub(crate) mod doctor;
pub(crate) mod status;
pub(crate) mod uninstall;
