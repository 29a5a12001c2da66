//! Stories across crates, on real engines: what they need to be told.

pub mod archives;
pub mod bucket;
pub mod copies;
pub mod device;
pub mod fault;
pub mod fleet;
pub mod front;
pub mod meter;
pub mod ocs;
pub mod peer;
pub mod policy;
pub mod process;
pub mod relay;
pub mod service;
pub mod stock;
pub mod table;
mod wire;
pub mod world;
