//! Removing the members of a deleted group from the records.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::future::try_join_all;
use packcast_protocol::{DeviceId, GroupName};

use super::super::commit::Commit;
use super::super::key::{Key, MEMBER_SHARDS};
use super::super::names::GROUPS;
use super::super::write::{self, PRESENT, Terms};
use super::super::{Records, RecordsError};

/// Number of members in one transaction: two writes each, their count, and the check of the group.
const BATCH: usize = 49;

impl Records {
    /// Removes all members of a group that is deleted on record at this order.
    ///
    /// Returns false if the group on record follows from another head, or was created again.
    pub async fn remove_members(
        &self,
        group: &GroupName,
        order: u64,
    ) -> Result<bool, RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let shards = (0..MEMBER_SHARDS).map(|shard| self.empty_shard(group, shard, order));
            if try_join_all(shards).await?.contains(&false) {
                return Ok(ControlFlow::Break(false));
            }
            // There are no members, and none can join: a count that is left over was wrong.
            let counts = self.without_counts(group);
            let writes = counts.chain([self.deleted_at(group, order)]).collect();
            Ok(match self.commit(writes).await? {
                Commit::Done => ControlFlow::Break(true),
                Commit::Refused(failed) if failed.last() == Some(&true) => {
                    ControlFlow::Break(false)
                }
                Commit::Refused(_) => ControlFlow::Continue(()),
            })
        })
        .await
    }

    /// Removes the members of one shard. Returns false if the group is not deleted at this order.
    async fn empty_shard(
        &self,
        group: &GroupName,
        shard: u16,
        order: u64,
    ) -> Result<bool, RecordsError> {
        // After a refused batch, each member alone: the record of one may lack the group.
        self.retry_on_conflict(BATCH, |batch| async move {
            // The key names the member, so an entry that cannot be read is removed, too.
            let members = self.listed_members(group, shard).await?;
            let members: Vec<DeviceId> = members.into_iter().collect();
            for members in members.chunks(batch) {
                let is_alone = batch == 1;
                let mut writes: Vec<TransactWriteItem> = members
                    .iter()
                    .flat_map(|member| self.removing_member(group, member))
                    .collect();
                let count = i8::try_from(members.len()).expect("a batch is small");
                writes.push(self.counting_at(&Key::member_count(group, shard), -count));
                writes.push(self.deleted_at(group, order));
                match self.commit(writes).await? {
                    Commit::Done => {}
                    Commit::Refused(failed) if failed.last() == Some(&true) => {
                        return Ok(ControlFlow::Break(false));
                    }
                    Commit::Refused(failed) if is_alone && failed[0] => {
                        self.remove_listed(group, &members[0], order).await?;
                    }
                    Commit::Refused(_) => return Ok(ControlFlow::Continue(1)),
                }
            }
            Ok(ControlFlow::Break(true))
        })
        .await
    }

    /// Removes a member from the list of a deleted group if the record of the device lacks the
    /// group, so that somebody has changed one of the two.
    async fn remove_listed(
        &self,
        group: &GroupName,
        device: &DeviceId,
        order: u64,
    ) -> Result<(), RecordsError> {
        let terms = Terms::default().name(GROUPS).named("group", group.as_str());
        let without_group = "attribute_not_exists(#groups.#group)";
        let key = Key::member(group, device);
        let writes = vec![
            write::delete(self.table(), &key, PRESENT, &Terms::default()),
            self.counting_members(group, device, -1),
            write::check(self.table(), &Key::device(device), without_group, &terms),
            self.deleted_at(group, order),
        ];
        // If another command has removed the member, nothing is left to do.
        self.commit(writes).await?;
        Ok(())
    }

    fn removing_member(&self, group: &GroupName, device: &DeviceId) -> [TransactWriteItem; 2] {
        let terms = Terms::default().name(GROUPS).named("group", group.as_str());
        [
            write::update(
                self.table(),
                &Key::device(device),
                "REMOVE #groups.#group",
                Some("attribute_exists(#groups.#group)"),
                &terms,
            ),
            self.leaving(group, device),
        ]
    }

    /// Returns the write that removes a device from the list of a group's members.
    ///
    /// The update of the device in the same transaction has the condition that the device is a
    /// member. So a list that has lost the device does not refuse the transaction.
    pub(super) fn leaving(&self, group: &GroupName, device: &DeviceId) -> TransactWriteItem {
        write::remove(self.table(), &Key::member(group, device))
    }
}
