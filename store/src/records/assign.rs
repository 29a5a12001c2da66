//! Assigning a package to a device.

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::{FinishedTask, PackageRecord};

use super::{Records, RecordsError};

/// What came of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The device has a new open task.
    New { attempt: u32 },
    /// The device has this task, and has not reported on it.
    AlreadyOpen { attempt: u32 },
    /// The device has reported success, and the assignment was not forced.
    AlreadyDone(FinishedTask),
    /// The device's own history has the package, and the assignment was not forced.
    InHistory,
    /// No such device was ever in contact.
    UnknownDevice,
}

impl Records {
    /// Gives a device a task to deploy a package.
    ///
    /// A device that reported a failure gets the next attempt; one that has the package
    /// gets it only with `force`.
    pub async fn assign(
        &self,
        _device: &DeviceId,
        _package: &PackageRecord,
        _force: bool,
        _now: UnixTime,
    ) -> Result<Assigned, RecordsError> {
        unimplemented!()
    }
}
