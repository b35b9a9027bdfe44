//! x
mod database;
mod settings;
fn main() {}
