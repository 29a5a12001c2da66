//! The whole system on one machine: records, objects, check-in and an HTTPS edge on loopback.

pub mod engine;
mod private;

pub use engine::{Engine, EngineError, EngineStorage};
