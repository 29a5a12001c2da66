//! Objects and records: the only place that spells a key, a header, a table or an attribute name.
//!
//! This crate only reads and writes. Other crates decide the packages and the times for devices.

mod aws;
pub mod key;
#[cfg(feature = "objects")]
pub mod objects;
pub mod records;

pub use key::ObjectKey;
#[cfg(feature = "objects")]
pub use objects::{Directory, Objects, S3, S3Config};
pub use records::{Records, RecordsConfig, RecordsError};
