//! The lists of members. Correcting the lists and the numbers of members, which
//! somebody has changed by hand.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use futures_util::future::try_join_all;
use packcast_protocol::{DeviceId, GroupName};

use super::super::item;
use super::super::key::{Key, MEMBER_SHARDS, Range, shard};
use super::super::names::{GROUPS, MEMBERS};
use super::super::stored::{self, CountItem};
use super::super::write::{self, ABSENT, Terms};
use super::super::{Records, RecordsError};

impl Records {
    /// Corrects the list of a group's members and their number, from the records of devices.
    ///
    /// `members` are the devices whose records are expected to have the group. A device whose record
    /// says otherwise meanwhile is left as it is.
    pub async fn correct_members(
        &self,
        group: &GroupName,
        members: &BTreeSet<&DeviceId>,
    ) -> Result<(), RecordsError> {
        let shards = (0..MEMBER_SHARDS).map(|number| {
            let of_shard = members.iter().copied();
            let of_shard = of_shard.filter(move |it| shard(it, MEMBER_SHARDS) == number);
            self.correct_shard(group, number, of_shard.collect())
        });
        try_join_all(shards).await?;
        Ok(())
    }

    async fn correct_shard(
        &self,
        group: &GroupName,
        shard: u16,
        members: BTreeSet<&DeviceId>,
    ) -> Result<(), RecordsError> {
        let listed = self.listed_members(group, shard).await?;
        for missing in members.iter().filter(|it| !listed.contains(it)) {
            let entry = write::replace(self.table(), stored::member(group, missing));
            let check = self.checking_membership(group, missing, "attribute_exists");
            // If the condition does not hold, the device has left the group meanwhile.
            self.commit(vec![entry, check]).await?;
        }
        for extra in listed.iter().filter(|it| !members.contains(it)) {
            let entry = write::remove(self.table(), &Key::member(group, extra));
            let check = self.checking_membership(group, extra, "attribute_not_exists");
            self.commit(vec![entry, check]).await?;
        }
        let key = Key::member_count(group, shard);
        self.retry_on_conflict((), |()| async {
            // The number first: a later member changes it, so the list cannot be older.
            let counted: Option<CountItem> = self.get(&key).await?;
            let listed = self.listed_members(group, shard).await?.len();
            let count = i64::try_from(listed).unwrap_or(i64::MAX);
            if counted.as_ref().map_or(0, |it| it.members) == count {
                return Ok(ControlFlow::Break(()));
            }
            let terms = Terms::default()
                .name(MEMBERS)
                .value("count", item::number(&count));
            let (condition, terms) = match counted {
                None => (ABSENT, terms),
                Some(read) => (
                    "#members = :read",
                    terms.value("read", item::number(&read.members)),
                ),
            };
            let update = "SET #members = :count";
            let changed = self.change(&key, update, Some(condition), &terms).await?;
            Ok(if changed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Returns true if no shard lists a member of the group. Its counts may say otherwise.
    pub(super) async fn lists_no_member(&self, group: &GroupName) -> Result<bool, RecordsError> {
        let shards = (0..MEMBER_SHARDS).map(|shard| self.listed_members(group, shard));
        let listed = try_join_all(shards).await?;
        Ok(listed.iter().all(BTreeSet::is_empty))
    }

    /// Returns the members that a shard lists. The content of an entry may be unreadable: the
    /// members follow from the keys.
    pub(super) async fn listed_members(
        &self,
        group: &GroupName,
        shard: u16,
    ) -> Result<BTreeSet<DeviceId>, RecordsError> {
        let range = Range::members(group, shard);
        let keys = self.keys(&range, "DEVICE#").await?;
        let members = keys.iter().filter_map(|device| device.parse().ok());
        Ok(members.collect())
    }

    /// Returns the check that the record of a device has a group, or that it has not.
    fn checking_membership(
        &self,
        group: &GroupName,
        device: &DeviceId,
        function: &str,
    ) -> aws_sdk_dynamodb::types::TransactWriteItem {
        let terms = Terms::default().name(GROUPS).named("group", group.as_str());
        let condition = format!("{function}(#groups.#group)");
        write::check(self.table(), &Key::device(device), &condition, &terms)
    }
}
