//! The members of a group, and their number.

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::future::try_join_all;
use packcast_protocol::{DeviceId, GroupName};

use super::item;
use super::key::{DEVICE_SHARDS, Key, MEMBER_SHARDS, Range, shard};
use super::names::MEMBERS;
use super::stored::{CataloguedDevice, CountItem};
use super::write::{self, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Returns the number of a group's members. For the group `all` this is the number of devices.
    pub async fn size(&self, group: &GroupName) -> Result<u64, RecordsError> {
        let keys: Vec<Key> = if group.is_all() {
            (0..DEVICE_SHARDS).map(Key::device_count).collect()
        } else {
            (0..MEMBER_SHARDS)
                .map(|shard| Key::member_count(group, shard))
                .collect()
        };
        let mut size = 0;
        for found in self.listed_batch(&keys).await? {
            size += item::read::<CountItem>(found)?.members;
        }
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Returns the members of a group, in the order of their ids. For the group `all` these are
    /// all devices.
    pub async fn members(&self, group: &GroupName) -> Result<Vec<DeviceId>, RecordsError> {
        let ranges: Vec<Range> = if group.is_all() {
            (0..DEVICE_SHARDS).map(Range::catalogued_devices).collect()
        } else {
            (0..MEMBER_SHARDS)
                .map(|shard| Range::members(group, shard))
                .collect()
        };
        let shards = ranges
            .iter()
            .map(|range| self.all::<CataloguedDevice>(range));
        let mut members: Vec<DeviceId> = try_join_all(shards)
            .await?
            .into_iter()
            .flatten()
            .map(|entry| entry.device)
            .collect();
        members.sort_unstable();
        Ok(members)
    }

    /// Returns the writes that remove the counts of a group's members, on the condition that
    /// there are no members.
    pub(super) fn without_members(
        &self,
        group: &GroupName,
    ) -> impl Iterator<Item = TransactWriteItem> {
        let terms = Terms::default()
            .name(MEMBERS)
            .value("none", item::number(&0));
        (0..MEMBER_SHARDS).map(move |shard| {
            write::delete(
                self.table(),
                &Key::member_count(group, shard),
                "attribute_not_exists(pk) OR #members = :none",
                &terms,
            )
        })
    }

    /// Returns the writes that remove the counts of a group's members. The caller knows that there
    /// are no members, and that none can join.
    pub(super) fn without_counts(
        &self,
        group: &GroupName,
    ) -> impl Iterator<Item = TransactWriteItem> {
        let counts = (0..MEMBER_SHARDS).map(|shard| Key::member_count(group, shard));
        counts.map(|count| write::remove(self.table(), &count))
    }

    pub(super) fn counting_members(
        &self,
        group: &GroupName,
        device: &DeviceId,
        change: i8,
    ) -> TransactWriteItem {
        let key = Key::member_count(group, shard(device, MEMBER_SHARDS));
        self.counting_at(&key, change)
    }

    pub(super) fn counting_device(&self, device: &DeviceId, change: i8) -> TransactWriteItem {
        self.counting_at(&Key::device_count(shard(device, DEVICE_SHARDS)), change)
    }

    pub(super) fn counting_at(&self, key: &Key, change: i8) -> TransactWriteItem {
        let terms = Terms::default()
            .name(MEMBERS)
            .value("change", item::number(&change));
        write::update(self.table(), key, "ADD #members :change", None, &terms)
    }
}
