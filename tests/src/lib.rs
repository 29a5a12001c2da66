//! Stories across crates, on real engines: what they need to be told.

pub mod archives;
pub mod device;
pub mod fault;
pub mod process;
pub mod relay;
pub mod stock;
pub mod table;
pub mod world;
