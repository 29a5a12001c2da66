//! Memberships of devices in groups.
//!
//! A membership is on record twice, in an item of the device and in an item of the group. Both are
//! written together or not at all.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::Memberships;

use super::exclusion::NOT_EXCLUDED;
use super::item;
use super::key::Key;
use super::leaf::unchanged_leaf;
use super::names::{EXCLUDED, GROUPS};
use super::stored::{CataloguedDevice, Joining};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Returns the groups of these devices, except devices without a record and removed ones.
    pub async fn memberships(
        &self,
        devices: &[DeviceId],
    ) -> Result<Vec<(DeviceId, Memberships)>, RecordsError> {
        let keys: Vec<Key> = devices.iter().map(Key::device).collect();
        let items = self.batch(&keys).await?;
        let mut memberships = Vec::with_capacity(items.len());
        for found in items {
            let CataloguedDevice { device } = item::read(found.clone())?;
            let joining: Joining = item::read(found)?;
            if !joining.is_removed() {
                memberships.push((device, joining.groups));
            }
        }
        Ok(memberships)
    }

    /// Returns the groups of a device, or `None` if the device has no record.
    pub(super) async fn joining(&self, device: &DeviceId) -> Result<Option<Joining>, RecordsError> {
        self.get(&Key::device(device)).await
    }

    /// Returns the check that a device is not excluded, follows from a leaf of this order, and is in
    /// these groups.
    pub(super) fn in_groups(
        &self,
        device: &DeviceId,
        leaf_order: u64,
        groups: &[&GroupName],
    ) -> TransactWriteItem {
        let terms = Terms::default().name(EXCLUDED);
        let (same_leaf, mut terms) = unchanged_leaf(leaf_order, terms);
        let mut conditions = vec![format!("{PRESENT} AND {NOT_EXCLUDED} AND {same_leaf}")];
        if !groups.is_empty() {
            terms = terms.name(GROUPS);
        }
        for (n, group) in groups.iter().enumerate() {
            terms = terms.named(&format!("g{n}"), group.as_str());
            conditions.push(format!("attribute_exists(#groups.#g{n})"));
        }
        let condition = conditions.join(" AND ");
        write::check(self.table(), &Key::device(device), &condition, &terms)
    }
}
