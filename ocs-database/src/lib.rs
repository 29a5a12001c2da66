//! Reads the database of an OCS Inventory server.
//!
//! The crate only reads: each session is a read-only transaction on one snapshot of the database.
//! Values are bounded, and rows that cannot be read are named. The result is the input of
//! [`packcast_publisher::import_ocs`].

mod address;
mod error;
mod read;

pub use self::address::{AddressError, DatabaseAddress, Password, Tls};
pub use self::error::ReadError;
pub use self::read::{TRIED_VERSIONS, read};
