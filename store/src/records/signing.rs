//! Signing of assignments: signed documents are verified, changed and signed again.

mod device_assignments;
mod memory;
mod sign_again;
mod signer;
mod verify;

pub use device_assignments::AssignError;
pub(crate) use device_assignments::{NextDeviceAssignments, signed};
pub use memory::PublisherMemory;
pub use sign_again::{SigningOutcome, SigningScope};
pub use signer::{Sign, SignError, Signing, SigningError};
pub(crate) use verify::MOST_BEHIND;
