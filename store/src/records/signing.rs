//! Signing of assignments: what was signed is checked, changed and signed again.

mod known;
mod own;
mod renew;
mod signer;
mod verify;

pub use known::Known;
pub use own::AssignError;
pub(crate) use own::{NextOwn, signed};
pub use renew::{Renewal, Renewed};
pub use signer::{Sign, SignError, Signing, SigningError};
pub(crate) use verify::MOST_BEHIND;
