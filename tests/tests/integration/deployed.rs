//! What stands around the daemon where it is installed: its health check, the init system, the unit, completions and
//! manual pages, and the container.

mod container;
mod health;
mod pages;
mod supervised;
mod unit;
