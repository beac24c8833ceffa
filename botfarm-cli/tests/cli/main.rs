//! The commands that talk to a farm, as their users meet them: the real binary, against a real service.

mod admission;
mod commands;
mod database;
mod imports;
#[cfg(target_os = "linux")]
mod memory;
mod names;
mod run;
#[path = "../secrets/mod.rs"]
mod secrets;
mod service;
mod trust;
