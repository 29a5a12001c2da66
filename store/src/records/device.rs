//! Devices: what a check-in reads, and what it notes down.

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::{DeviceRecord, OpenTask};

use super::{Records, RecordsError};

/// What a check-in reads of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// None for a device that was never in contact.
    pub device: Option<DeviceRecord>,
    /// In the order of their priority, then of their packages' ids.
    pub tasks: Vec<OpenTask>,
    /// The read units that the question has cost.
    pub consumed_units: f64,
}

impl Records {
    /// Reads a device and its open tasks with one strongly consistent Query.
    ///
    /// Finished tasks and facts are outside its range, so they never make it dearer.
    pub async fn standing(&self, _device: &DeviceId) -> Result<Standing, RecordsError> {
        unimplemented!()
    }

    /// Notes a contact down; a new device also enters the catalogue.
    ///
    /// Two first contacts at once are no error. The time of the first contact stays, and times
    /// that the record does not have are left as they are.
    pub async fn write_contact(
        &self,
        _record: &DeviceRecord,
        _is_new: bool,
    ) -> Result<(), RecordsError> {
        unimplemented!()
    }

    /// Keeps the packages that a stock agent says it has, at most 50,000, the newest.
    ///
    /// Returns whether they had changed; only then something is written.
    pub async fn write_history(
        &self,
        _device: &DeviceId,
        _packages: &[PackageId],
        _now: UnixTime,
    ) -> Result<bool, RecordsError> {
        unimplemented!()
    }

    /// Returns the packages that a stock agent says it has, in the order of their ids.
    pub async fn history(&self, _device: &DeviceId) -> Result<Vec<PackageId>, RecordsError> {
        unimplemented!()
    }

    /// Returns every known device, in the order of their ids.
    pub async fn devices(&self) -> Result<Vec<DeviceRecord>, RecordsError> {
        unimplemented!()
    }
}
