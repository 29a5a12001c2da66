//! Signing of assignments: what was signed is checked, changed and signed again.

mod memory;
mod device_assignments;
mod sign_again;
mod signer;
mod verify;

pub use memory::PublisherMemory;
pub use device_assignments::AssignError;
pub(crate) use device_assignments::{NextDeviceAssignments, signed};
pub use sign_again::{Renewal, Renewed};
pub use signer::{Sign, SignError, Signing, SigningError};
pub(crate) use verify::MOST_BEHIND;
