//! Tools for the tests of the store and of everything above the store.
//!
//! This crate depends on the publisher, whose commits it makes, but on neither the agent nor the
//! local system. So the tests of the store and of the check-in function build without them.

pub mod administrator;
#[cfg(feature = "objects")]
pub mod bucket;
mod clock;
pub mod commits;
mod copies;
mod direct_engine;
mod engine;
pub mod fault;
mod layer;
pub mod load;
mod memories;
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
