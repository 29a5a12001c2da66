//! Memberships: joining and leaving groups.
//!
//! A membership is on record twice, in an item of the device and in an item of the group. Both are
//! written together or not at all.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::Memberships;
use packcast_rollout::assignments::Change;
use packcast_rollout::membership::MAX_GROUPS;

use super::commit::Commit;
use super::exclusion::{NOT_EXCLUDED, NOT_REMOVED, not_removed};
use super::group::GroupError;
use super::item;
use super::key::Key;
use super::leaf::unchanged_leaf;
use super::names::{EXCLUDED, GROUPS};
use super::signing::{AssignError, MOST_BEHIND, NextDeviceAssignments, Signing, signed};
use super::stored::{self, CataloguedDevice, Joining};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Outcome of joining a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    New,
    AlreadyMember,
    /// No device with this id has ever checked in, or the device was removed.
    UnknownDevice,
    /// The device has reached the limit of groups.
    TooManyGroups,
}

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

    /// Adds a device to a group. The device gets the packages of the group at its next check-in.
    pub async fn signed_join(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<Joined, GroupError> {
        self.retry_on_conflict(0, |behind| async move {
            let assignments = self.read_assignments(device, signing).await?;
            let joining = self.joining(device).await?;
            let Some(joining) = joining.filter(|joining| !joining.is_removed()) else {
                return Ok(ControlFlow::Break(Joined::UnknownDevice));
            };
            let Joining { groups, signed, .. } = joining;
            if groups.includes(group) {
                return Ok(ControlFlow::Break(Joined::AlreadyMember));
            }
            if groups.joined().count() >= MAX_GROUPS {
                return Ok(ControlFlow::Break(Joined::TooManyGroups));
            }
            let is_behind = assignments.is_behind(signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            assignments.check_signed(is_behind || groups.joined().next().is_some())?;
            let next = self.next_assignments(&assignments, Change::Join(group), signing)?;
            let mut writes = vec![
                self.joining_group(device, &groups, group, next.as_ref()),
                write::create(self.table(), stored::member(group, device)),
                self.counting_members(group, device, 1),
            ];
            writes.extend(next.as_ref().map(NextDeviceAssignments::write));
            // This check must be the last write: a missing group is recognised by its position.
            writes.push(self.existing_group(group));
            match self.commit(writes).await? {
                Commit::Done => {
                    signing.remember_assignments(next.as_ref());
                    Ok(ControlFlow::Break(Joined::New))
                }
                Commit::Refused(failed) if failed.last() == Some(&true) => {
                    let group = group.clone();
                    Err(GroupError::NoGroup { group })
                }
                Commit::Refused(_) => Ok(ControlFlow::Continue(behind)),
            }
        })
        .await
    }

    fn joining_group(
        &self,
        device: &DeviceId,
        groups: &Memberships,
        group: &GroupName,
        next: Option<&NextDeviceAssignments>,
    ) -> TransactWriteItem {
        // The attribute also has the observed revision of the group `all`, which is not a
        // membership.
        let room = MAX_GROUPS + usize::from(groups.has_observed_all());
        let terms = not_removed(Terms::default())
            .name(GROUPS)
            .named("group", group.as_str())
            .value("mark", item::number(&0))
            .value("room", item::number(&room));
        let (sets, terms) = signed(next, "SET #groups.#group = :mark".to_owned(), ", ", terms);
        write::update(
            self.table(),
            &Key::device(device),
            &sets,
            Some(&format!(
                "attribute_not_exists(#groups.#group) AND size(#groups) < :room AND {NOT_REMOVED}"
            )),
            &terms,
        )
    }

    /// Removes a device from a group. Returns false if the device was not a member.
    ///
    /// After this returns, no task is announced to the device because of this group.
    pub async fn signed_leave(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<bool, AssignError> {
        self.retry_on_conflict(0, |behind| async move {
            let assignments = self.read_assignments(device, signing).await?;
            let joining = self.joining(device).await?.unwrap_or_default();
            if group.is_all() || !joining.groups.includes(group) {
                return Ok(ControlFlow::Break(false));
            }
            let is_behind = assignments.is_behind(joining.signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            assignments.check_signed(is_behind)?;
            let next = self.next_assignments(&assignments, Change::Leave(group), signing)?;
            let mut writes = vec![
                self.leaving_group(device, group, next.as_ref()),
                write::delete(
                    self.table(),
                    &Key::member(group, device),
                    PRESENT,
                    &Terms::default(),
                ),
                self.counting_members(group, device, -1),
            ];
            writes.extend(next.as_ref().map(NextDeviceAssignments::write));
            if self.commit(writes).await? == Commit::Done {
                signing.remember_assignments(next.as_ref());
                return Ok(ControlFlow::Break(true));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    fn leaving_group(
        &self,
        device: &DeviceId,
        group: &GroupName,
        next: Option<&NextDeviceAssignments>,
    ) -> TransactWriteItem {
        let terms = Terms::default().name(GROUPS).named("group", group.as_str());
        let (expression, terms) = signed(next, "REMOVE #groups.#group".to_owned(), " SET ", terms);
        write::update(
            self.table(),
            &Key::device(device),
            &expression,
            Some("attribute_exists(#groups.#group)"),
            &terms,
        )
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
