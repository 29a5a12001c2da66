//! Announced packages with which devices do not begin, by their own reports.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::DeviceId;
use packcast_protocol::state::exchange::WaitingPackage;

use super::key::Key;
use super::stored::{self, WaitsItem};
use super::{Records, RecordsError, item, write};

impl Records {
    /// Returns the announced packages with which these devices do not begin. Devices without such
    /// packages are left out.
    pub async fn waits(
        &self,
        devices: &[DeviceId],
    ) -> Result<BTreeMap<DeviceId, Vec<WaitingPackage>>, RecordsError> {
        let keys: Vec<Key> = devices.iter().map(Key::waits).collect();
        let mut waits = BTreeMap::new();
        for found in self.batch(&keys).await? {
            let WaitsItem { device, packages } =
                item::read_at(found, |waits: &WaitsItem| Key::waits(&waits.device))?;
            waits.insert(device, packages);
        }
        Ok(waits)
    }

    /// Returns the write of the packages with which a device does not begin. A device without such
    /// packages has no item.
    pub(super) fn waits_write(
        &self,
        device: &DeviceId,
        packages: &[WaitingPackage],
    ) -> TransactWriteItem {
        if packages.is_empty() {
            write::remove(self.table(), &Key::waits(device))
        } else {
            write::replace(self.table(), stored::waits(device, packages))
        }
    }
}
