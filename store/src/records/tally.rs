//! How many devices of a package are in which state.

use packcast_protocol::PackageId;

use super::{Records, RecordsError};

/// The distribution of a package's devices over the states of their latest attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All devices that were ever assigned the package.
    pub assigned: u64,
    /// Devices that were told and have not reported.
    pub announced: u64,
    pub succeeded: u64,
    pub failed: u64,
}

impl Tally {
    /// Returns the number of devices that have not been told yet.
    pub const fn waiting(&self) -> u64 {
        self.assigned
            .saturating_sub(self.announced)
            .saturating_sub(self.succeeded)
            .saturating_sub(self.failed)
    }
}

impl Records {
    pub async fn tally(&self, _package: PackageId) -> Result<Tally, RecordsError> {
        unimplemented!()
    }
}
