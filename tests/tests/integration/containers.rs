//! Real containers on a real engine, followed by the real daemon.

mod harbour;
mod start;
mod way;

pub(crate) use harbour::Harbour;
