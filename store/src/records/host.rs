//! Finding devices by their host names.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::DeviceId;

use super::item;
use super::key::{Key, Range};
use super::stored::{self, CataloguedDevice};
use super::write;
use super::{Records, RecordsError};

/// Maximum number of devices that a query by host name reads: one more than `packcast` shows.
const MAX_NAMESAKES: i32 = 11;

impl Records {
    /// Returns the devices with a host name in the order of their ids, at most 11 of them.
    ///
    /// Host names are not unique, and are compared without regard to case.
    pub async fn devices_named(&self, host_name: &str) -> Result<Vec<DeviceId>, RecordsError> {
        let found = self
            .query(&Range::host(host_name))
            .limit(MAX_NAMESAKES)
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        let read = |item| item::read(item).map(|entry: CataloguedDevice| entry.device);
        found.items.into_iter().flatten().map(read).collect()
    }

    /// Returns the writes that move a device from one host name to another. An empty host name
    /// has no entry.
    pub(super) fn rename_writes(
        &self,
        device: &DeviceId,
        from: &str,
        to: &str,
    ) -> Vec<TransactWriteItem> {
        let (old, new) = (Key::host(from, device), Key::host(to, device));
        // Names that differ only in case share one entry.
        if old == new {
            return Vec::new();
        }
        let remove = (!from.is_empty()).then(|| write::remove(self.table(), &old));
        let add = (!to.is_empty()).then(|| write::replace(self.table(), stored::host(to, device)));
        remove.into_iter().chain(add).collect()
    }
}
