//! Stories across crates, on real engines: what they need to be told.

pub mod archives;
pub mod attacks;
pub mod bucket;
pub mod copies;
pub mod device;
mod engine;
pub mod fault;
pub mod fleet;
pub mod front;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod kill;
pub mod meter;
pub mod ocs;
pub mod peer;
pub mod policy;
pub mod process;
pub mod relay;
pub mod service;
pub mod signing;
pub mod silence;
pub mod stock;
pub mod table;
mod wire;
pub mod world;
