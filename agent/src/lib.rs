//! The agent on the device: checks in, downloads, verifies, deploys and reports packages.
//!
//! [`command::run`] is the whole program. The pure function `deployment::step` decides on each
//! package. An archive passes through the types of `stage`, each created from the previous one,
//! so that the agent runs and stores only the content of a `VerifiedArchive`.

mod act;
mod check;
mod client;
mod clock;
pub mod command;
mod config;
mod deployment;
pub mod event;
mod facts;
mod failure;
mod fault;
mod fetch;
#[cfg(any(windows, test))]
mod log_file;
pub mod log_writer;
mod manifest;
mod output;
mod platform;
mod retry;
mod run;
mod service;
mod service_environment;
mod signals;
#[cfg(all(test, unix))]
#[path = "../../testing/src/skip.rs"]
pub mod skip;
mod stage;
mod starter;
mod state;
mod status;
pub mod target_state;
pub mod unpack;
mod update;
