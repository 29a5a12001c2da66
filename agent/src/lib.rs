//! The agent on the device: asks what to deploy, downloads, verifies, acts and reports.
//!
//! [`command::run`] is the whole program. An archive goes through the types of `stage`, each
//! made from the one before: nothing is run or stored that is not `Verified`.

mod act;
pub mod archive;
mod cancel;
mod client;
pub mod command;
pub mod config;
mod deploy;
mod durable;
pub mod event;
mod failure;
mod fetch;
mod fragments;
mod history;
mod identity;
mod journal;
mod locations;
mod manifest;
mod miss;
mod output;
mod plan;
mod platform;
mod process;
mod retry;
mod run;
mod stage;
mod state;
mod status;
mod stop;
pub mod tls;
mod unaccepted;
