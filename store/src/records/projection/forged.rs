//! Orders that no command has written.
//!
//! A command writes a record only after it has read a head of the record's order, and the order of
//! the head never falls. So if a record is read first and the head afterwards, the order of the
//! record is at most that of the head. A higher order is forged: the record counts as one that
//! follows from no head, and is written again.
//!
//! A device that has observed a forged revision of a group would get none of its next packages. So
//! the revision is forgotten, as if the device had just joined the group.

use std::cmp::Ordering;

use packcast_protocol::GroupName;
use packcast_rollout::Memberships;

use super::super::stored::RecordedLeaf;
use super::super::{Records, RecordsError};

impl Records {
    /// Returns true if the head, read now, has reached an order that was read before.
    pub async fn has_reached(&self, order: u64) -> Result<bool, RecordsError> {
        let head = self.head().await?;
        Ok(head.is_some_and(|head| head.order >= order))
    }

    /// Returns the groups of which a device has observed a forged revision, each with the revision.
    /// The revision of a group is an order, too: `order` is one that the head has reached.
    pub(super) async fn forged_revisions(
        &self,
        memberships: &Memberships,
        order: u64,
    ) -> Result<Vec<(GroupName, u64)>, RecordsError> {
        let mut above = revisions_above(memberships, order);
        if !above.is_empty() {
            let head = self.head().await?.map_or(0, |head| head.order);
            above.retain(|(_, observed)| *observed > head);
        }
        Ok(above)
    }

    /// Returns the order of a device's records, or 0 if the order is forged. `wanted` is the leaf
    /// that is to be on record.
    pub(super) async fn order_of(
        &self,
        read: RecordedLeaf,
        wanted: RecordedLeaf,
    ) -> Result<u64, RecordsError> {
        let is_genuine = match read.order.cmp(&wanted.order) {
            Ordering::Less => true,
            // All commands write the same leaf for one head.
            Ordering::Equal => read.digest == wanted.digest,
            Ordering::Greater => self.has_reached(read.order).await?,
        };
        Ok(if is_genuine { read.order } else { 0 })
    }
}

/// Returns the groups of which a device has observed a higher revision than an order, each with the
/// revision.
pub(super) fn revisions_above(memberships: &Memberships, order: u64) -> Vec<(GroupName, u64)> {
    let observed = |group: GroupName| {
        let observed = memberships.observed_revision(&group);
        (group, observed)
    };
    let observed = memberships.groups().map(observed);
    observed.filter(|(_, observed)| *observed > order).collect()
}
