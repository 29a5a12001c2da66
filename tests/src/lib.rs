//! Stories across crates, on real engines: what they need to be told.

pub mod archives;
pub mod bucket;
pub mod device;
pub mod fault;
pub mod front;
pub mod process;
pub mod relay;
pub mod stock;
pub mod table;
pub mod world;
