//! Writing down that a device is told of its tasks, before it is.

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::OpenTask;

use super::{Records, RecordsError};

/// Which tasks the device may be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Written down, by this call or by another at the same time.
    pub told: Vec<PackageId>,
    /// The package is not active any more, or the task is gone: the device must not be told.
    pub refused: Vec<PackageId>,
}

impl Records {
    /// Marks held tasks as announced, each only while its package is active.
    pub async fn announce(
        &self,
        _device: &DeviceId,
        _tasks: &[&OpenTask],
        _now: UnixTime,
    ) -> Result<Announced, RecordsError> {
        unimplemented!()
    }
}
