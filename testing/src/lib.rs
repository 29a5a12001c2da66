//! Tools for the tests of the store and of everything above the store.
//!
//! This crate depends on no more than the store, so that the tests of the store and of the
//! check-in function build without publisher, agent and local system.

#[cfg(feature = "objects")]
pub mod bucket;
mod clock;
pub mod commits;
mod copies;
mod engine;
pub mod fault;
mod layer;
pub mod meter;
pub mod peer;
pub mod policy;
pub mod raw;
pub mod service;
pub mod signing;
pub mod silence;
pub mod skip;
pub mod state_publisher;
pub mod table;
pub mod template;
mod wire;
