//! Real containers on a real engine, followed by the real daemon.

mod absence;
mod address;
mod ends;
mod fence;
mod harbour;
mod output;
mod places;
mod start;
mod strangers;
mod twins;
mod way;

pub(crate) use harbour::{Harbour, LATE};
