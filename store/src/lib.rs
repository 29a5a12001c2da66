//! Objects and records: the only place that spells a key, a header, a table or an attribute name.
//!
//! It reads and writes what it is told; what a device gets, and when, is decided elsewhere.

mod aws;
pub mod key;
#[cfg(feature = "objects")]
pub mod objects;
pub mod records;

pub use key::ObjectKey;
#[cfg(feature = "objects")]
pub use objects::{Directory, Objects, S3, S3Config};
pub use records::{Records, RecordsConfig, RecordsError};
