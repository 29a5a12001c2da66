//! Orders that no command has written.
//!
//! A command writes a record only after it has read a head of the record's order, and the order of
//! the head never falls. So if a record is read first and the head afterwards, the order of the
//! record is at most that of the head. A higher order is forged: the record counts as one that
//! follows from no head, and is written again.

use std::cmp::Ordering;

use super::super::stored::RecordedLeaf;
use super::super::{Records, RecordsError};

impl Records {
    /// Returns true if the head, read now, has reached an order that was read before.
    pub(super) async fn has_reached(&self, order: u64) -> Result<bool, RecordsError> {
        let head = self.head().await?;
        Ok(head.is_some_and(|head| head.order >= order))
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
