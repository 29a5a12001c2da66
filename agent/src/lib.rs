//! The agent on the device: asks what to deploy, downloads, verifies, acts and reports.
//!
//! [`command::run`] is the whole program. What becomes of a package is decided by the pure
//! function `deployment::step`. An archive goes through the types of `stage`, each made from the
//! one before: nothing is run or stored that is not `Verified`.

mod act;
mod client;
mod clock;
pub mod command;
mod config;
mod deployment;
pub mod event;
mod failure;
mod fetch;
mod interruption;
mod manifest;
mod output;
mod platform;
mod retry;
mod run;
mod signals;
mod stage;
mod state;
mod status;
mod trust;
pub mod unpack;
