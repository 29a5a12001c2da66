//! Which devices are in a group, and how far each is reconciled with it.
//!
//! A membership is two items, the device's and the group's, written together or not at all.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::future::try_join_all;
use packcast_protocol::assignments::Held;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::assignments::Change;
use packcast_rollout::group::MAX_GROUPS;
use packcast_rollout::reconcile::{Mark, Step};
use packcast_rollout::{Memberships, Round};
use serde::Deserialize;

use super::commit::Commit;
use super::group::GroupError;
use super::item::{self, CataloguedDevice, GROUPS, IS_DELETED, MEMBERS, ROUND, SIGNED};
use super::key::{DEVICE_SHARDS, Key, MEMBER_SHARDS, Range, shard};
use super::own::{AssignError, NextOwn};
use super::signing::Signing;
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// How often a change of a membership is tried when others meet it.
const TRIES: usize = 8;

/// What came of putting a device into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    New,
    AlreadyMember,
    /// No such device was ever in contact.
    UnknownDevice,
    /// The device is in as many groups as it can be.
    TooManyGroups,
}

/// The memberships among a device's attributes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Joining {
    pub(super) groups: Memberships,
    pub(super) round: Round,
    /// Which state of the device's own assignments was signed last.
    pub(super) signed: Option<Held>,
}

/// How many members one shard of a group has.
#[derive(Debug, Default, Deserialize)]
struct CountItem {
    #[serde(default)]
    members: i64,
}

/// Returns the memberships that a device's item holds.
pub(super) fn joining(item: item::Item) -> Result<Joining, RecordsError> {
    item::read(item)
}

impl Records {
    /// Returns the groups of each of these devices that is known, asked for in batches.
    pub async fn memberships(
        &self,
        devices: &[DeviceId],
    ) -> Result<Vec<(DeviceId, Memberships)>, RecordsError> {
        let keys: Vec<Key> = devices.iter().map(Key::device).collect();
        let items = self.batch(&keys).await?;
        items
            .into_iter()
            .map(|found| {
                let CataloguedDevice { device } = item::read(found.clone())?;
                Ok((device, joining(found)?.groups))
            })
            .collect()
    }

    /// Returns the groups of a device; none if it is not known.
    pub(super) async fn joining(&self, device: &DeviceId) -> Result<Option<Joining>, RecordsError> {
        let item = self.get_item(&Key::device(device)).await?;
        item.map(joining).transpose()
    }

    /// Puts a device into a group; it gets what the group has at its next check-in.
    pub async fn join(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<Joined, GroupError> {
        for tries_left in (0..TRIES).rev() {
            let own = self.own(device, signing).await?;
            let Some(Joining { groups, signed, .. }) = self.joining(device).await? else {
                return Ok(Joined::UnknownDevice);
            };
            if groups.includes(group) {
                return Ok(Joined::AlreadyMember);
            }
            if groups.joined().count() >= MAX_GROUPS {
                return Ok(Joined::TooManyGroups);
            }
            let is_behind = own.is_behind(signed);
            if is_behind && tries_left > 0 {
                continue;
            }
            own.signed_unless(is_behind || groups.joined().next().is_some())?;
            let next = self.next_own(&own, Change::Join(group), signing)?;
            let mut writes = vec![
                self.joining_group(device, &groups, group, next.as_ref()),
                write::create(self.table(), item::member(group, device)),
                self.counting_members(group, device, 1),
            ];
            writes.extend(next.as_ref().map(NextOwn::write));
            writes.push(self.existing_group(group));
            match self.commit(writes).await? {
                Commit::Done => {
                    signing.written_own(next.as_ref());
                    return Ok(Joined::New);
                }
                Commit::Refused(failed) if failed.last() == Some(&true) => {
                    let group = group.clone();
                    return Err(GroupError::NoGroup { group });
                }
                Commit::Refused(_) => {}
            }
        }
        Err(self.contended().into())
    }

    fn joining_group(
        &self,
        device: &DeviceId,
        groups: &Memberships,
        group: &GroupName,
        next: Option<&NextOwn>,
    ) -> TransactWriteItem {
        let room = MAX_GROUPS + usize::from(groups.has_mark_of_all());
        let terms = Terms::default()
            .name(GROUPS)
            .named("group", group.as_str())
            .value("mark", item::number(&0))
            .value("room", item::number(&room));
        let (sets, terms) = signed(next, "SET #groups.#group = :mark".to_owned(), ", ", terms);
        write::update(
            self.table(),
            &Key::device(device),
            &sets,
            Some("attribute_not_exists(#groups.#group) AND size(#groups) < :room"),
            &terms,
        )
    }

    /// Takes a device out of a group, and tells whether it was in it.
    ///
    /// Once it has returned, the device is told of nothing for this group any more.
    pub async fn leave(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<bool, AssignError> {
        for tries_left in (0..TRIES).rev() {
            let own = self.own(device, signing).await?;
            let joining = self.joining(device).await?.unwrap_or_default();
            if group.is_all() || !joining.groups.includes(group) {
                return Ok(false);
            }
            let is_behind = own.is_behind(joining.signed);
            if is_behind && tries_left > 0 {
                continue;
            }
            own.signed_unless(is_behind)?;
            let next = self.next_own(&own, Change::Leave(group), signing)?;
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
            writes.extend(next.as_ref().map(NextOwn::write));
            if self.commit(writes).await? == Commit::Done {
                signing.written_own(next.as_ref());
                return Ok(true);
            }
        }
        Err(self.contended().into())
    }

    fn leaving_group(
        &self,
        device: &DeviceId,
        group: &GroupName,
        next: Option<&NextOwn>,
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

    /// Returns how many members a group has; for the group of all, how many devices there are.
    pub async fn size(&self, group: &GroupName) -> Result<u64, RecordsError> {
        let keys: Vec<Key> = if group.is_all() {
            (0..DEVICE_SHARDS).map(Key::device_count).collect()
        } else {
            (0..MEMBER_SHARDS)
                .map(|shard| Key::member_count(group, shard))
                .collect()
        };
        let mut size = 0;
        for found in self.batch(&keys).await? {
            size += item::read::<CountItem>(found)?.members;
        }
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Returns the members of a group, in the order of their ids; for the group of all, every
    /// device.
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

    /// Deletes a group that has no packages and no members any more; false if it has some.
    pub async fn delete_group(&self, group: &GroupName) -> Result<bool, GroupError> {
        for _ in 0..TRIES {
            let Some(state) = self.group(group).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            if !state.assignments.is_empty() || self.size(group).await? > 0 {
                return Ok(false);
            }
            if self.remove_group(&state).await? {
                return Ok(true);
            }
        }
        Err(self.contended().into())
    }

    /// Removes the counts of a group's members, which holds only if there are none.
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

    /// Writes one step of a reconciliation that was decided in a round, and ends the round;
    /// false if the records have changed meanwhile.
    pub async fn write_step(
        &self,
        device: &DeviceId,
        round: Round,
        step: &Step,
    ) -> Result<bool, RecordsError> {
        let mut writes: Vec<TransactWriteItem> = step
            .changes
            .iter()
            .flat_map(|change| self.changing(device, change))
            .collect();
        writes.push(self.ending_round(device, round, &step.marks, None));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Ends a device's round, and moves marks with it, or notes down what was signed.
    pub(super) fn ending_round(
        &self,
        device: &DeviceId,
        round: Round,
        marks: &[Mark],
        next: Option<&NextOwn>,
    ) -> TransactWriteItem {
        let after = item::number(&round.next());
        let mut terms = Terms::default().name(ROUND).value("next", after);
        let mut sets = vec!["#round = :next".to_owned()];
        let mut conditions = vec![PRESENT.to_owned()];
        if round == Round::FIRST {
            conditions.push("attribute_not_exists(#round)".to_owned());
        } else {
            terms = terms.value("round", item::number(&round));
            conditions.push("#round = :round".to_owned());
        }
        if !marks.is_empty() {
            terms = terms.name(GROUPS);
        }
        for (n, mark) in marks.iter().enumerate() {
            let (from, to) = (format!("from{n}"), format!("to{n}"));
            terms = terms
                .named(&format!("g{n}"), mark.group.as_str())
                .value(&to, item::number(&mark.to));
            sets.push(format!("#groups.#g{n} = :{to}"));
            if mark.group.is_all() && mark.from == 0 {
                conditions.push(format!("attribute_not_exists(#groups.#g{n})"));
            } else {
                terms = terms.value(&from, item::number(&mark.from));
                conditions.push(format!("#groups.#g{n} = :{from}"));
            }
        }
        let expression = format!("SET {}", sets.join(", "));
        let (expression, terms) = signed(next, expression, ", ", terms);
        write::update(
            self.table(),
            &Key::device(device),
            &expression,
            Some(&conditions.join(" AND ")),
            &terms,
        )
    }

    /// Notes down beside a known device what was signed, if something was.
    pub(super) fn known_device(
        &self,
        device: &DeviceId,
        next: Option<&NextOwn>,
    ) -> TransactWriteItem {
        let key = Key::device(device);
        if next.is_none() {
            return write::check(self.table(), &key, PRESENT, &Terms::default());
        }
        let (expression, terms) = signed(next, "SET".to_owned(), " ", Terms::default());
        write::update(self.table(), &key, &expression, Some(PRESENT), &terms)
    }

    /// A check that a device is in these groups.
    pub(super) fn in_groups(&self, device: &DeviceId, groups: &[&GroupName]) -> TransactWriteItem {
        let mut terms = Terms::default().name(GROUPS);
        let mut conditions = Vec::new();
        for (n, group) in groups.iter().enumerate() {
            terms = terms.named(&format!("g{n}"), group.as_str());
            conditions.push(format!("attribute_exists(#groups.#g{n})"));
        }
        let condition = conditions.join(" AND ");
        write::check(self.table(), &Key::device(device), &condition, &terms)
    }

    fn counting_members(
        &self,
        group: &GroupName,
        device: &DeviceId,
        change: i8,
    ) -> TransactWriteItem {
        let key = Key::member_count(group, shard(device, MEMBER_SHARDS));
        let terms = Terms::default()
            .name(MEMBERS)
            .value("change", item::number(&change));
        write::update(self.table(), &key, "ADD #members :change", None, &terms)
    }

    pub(super) fn counting_device(&self, device: &DeviceId) -> TransactWriteItem {
        let key = Key::device_count(shard(device, DEVICE_SHARDS));
        let terms = Terms::default()
            .name(MEMBERS)
            .value("change", item::number(&1));
        write::update(self.table(), &key, "ADD #members :change", None, &terms)
    }

    /// Checks that a group exists, at its revision: a check costs what its item is long.
    fn existing_group(&self, group: &GroupName) -> TransactWriteItem {
        let terms = Terms::default()
            .name(IS_DELETED)
            .value("deleted", AttributeValue::Bool(false));
        write::check(
            self.table(),
            &Key::group_revision(group),
            "#deleted = :deleted",
            &terms,
        )
    }
}

/// Adds to the update of a device which state of its own assignments was signed.
fn signed(
    next: Option<&NextOwn>,
    expression: String,
    separator: &str,
    terms: Terms,
) -> (String, Terms) {
    match next {
        None => (expression, terms),
        Some(next) => (
            format!("{expression}{separator}#signed = :signed"),
            terms
                .name(SIGNED)
                .value("signed", item::attribute(&next.held)),
        ),
    }
}
