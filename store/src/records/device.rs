//! Devices: the reads and writes of a check-in.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::future::try_join_all;
use packcast_protocol::ocs::Inventory;
use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::rollout::Settling;
use packcast_rollout::{
    DeviceCommands, DeviceRecord, DeviceSystem, Exclusion, FactsRecord, Memberships, OpenTask,
    PacingOverride, ReconcileCount, WriteBudget,
};

use super::budget;
use super::command;
use super::commit::Commit;
use super::exclusion::NOT_EXCLUDED;
use super::item::{self, Item, PK, SK};
use super::key::{self, DEVICE_SHARDS, Key, Range};
use super::names::{DEVICE_ID, EXCLUDED, FIRST_SEEN, HOST_NAME, LAST_SEEN};
use super::stored::{self, CataloguedDevice, Joining, RecordedLeaf, WaitsItem, packed_ids};
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// All that is on record of one device for its check-in.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceState {
    /// `None` for a device that has never checked in, and for a removed one.
    pub device: Option<DeviceRecord>,
    /// The device is blocked or removed, and its requests are refused.
    pub excluded: Option<Exclusion>,
    pub memberships: Memberships,
    /// The leaf of the signed state from which groups and direct tasks follow.
    pub leaf: RecordedLeaf,
    /// Count on which a change by the device's groups depends.
    pub round: ReconcileCount,
    pub commands: DeviceCommands,
    /// Pacing of the device itself, without its groups.
    pub pace: PacingOverride,
    /// Announced packages with which the device does not begin, by its own report.
    pub waits: Vec<WaitingPackage>,
    /// Successes with a place in a rollout, after which the device is not healthy yet.
    pub settling: Vec<Settling>,
    /// Open tasks, in the order of their priority, then of their packages' ids.
    pub tasks: Vec<OpenTask>,
    /// Consumed read units.
    pub consumed_units: f64,
}

impl DeviceState {
    /// Returns the operating system of the device, as far as its record tells.
    pub fn system(&self) -> DeviceSystem {
        self.device
            .as_ref()
            .map_or_else(DeviceSystem::default, DeviceSystem::of)
    }
}

/// Items that are written with the record of a check-in. `None` keeps those on record.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckInItems<'a> {
    /// The announced packages with which the device does not begin.
    pub waits: Option<&'a [WaitingPackage]>,
    /// The daily facts of the device. Their mark is in the record.
    pub facts: Option<&'a FactsRecord>,
}

/// Outcome of recording a check-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckInWritten {
    Written,
    /// Another write of the device came first. The next check-in writes the missing facts.
    Superseded,
    /// The device was excluded in the meantime.
    Excluded,
}

impl Records {
    /// Reads a device and its open tasks with one strongly consistent Query.
    ///
    /// Finished tasks and the package history are outside the range of the Query, so they do not
    /// raise its cost.
    pub async fn device_state(&self, device: &DeviceId) -> Result<DeviceState, RecordsError> {
        let found = self.range(&Range::device_state(device)).await?;
        let mut device_state = DeviceState {
            device: None,
            excluded: None,
            memberships: Memberships::default(),
            leaf: RecordedLeaf::default(),
            round: ReconcileCount::FIRST,
            commands: DeviceCommands::default(),
            pace: PacingOverride::default(),
            waits: Vec::new(),
            settling: Vec::new(),
            tasks: Vec::new(),
            consumed_units: found.consumed_units,
        };
        for mut item in found.items {
            match item.get(SK).and_then(|sk| sk.as_s().ok()) {
                Some(sk) if sk == key::DEVICE => {
                    let joining: Joining = item::read(Joining::taken_from(&mut item))?;
                    if !joining.is_removed() {
                        device_state.device = Some(item::read(item)?);
                    }
                    (device_state.memberships, device_state.round) =
                        (joining.groups, joining.round);
                    device_state.leaf = joining.leaf;
                    device_state.excluded = joining.excluded;
                }
                Some(sk) if sk == key::PACE => device_state.pace = item::read(item)?,
                Some(sk) if sk == key::WAITS => {
                    let waits: WaitsItem = item::read(item)?;
                    device_state.waits = waits.packages;
                }
                Some(sk) if sk.starts_with(key::SETTLING) => {
                    device_state.settling.push(item::read(item)?);
                }
                Some(sk) if sk.starts_with(key::ORDER) => {
                    command::add(&mut device_state.commands, item)?;
                }
                Some(sk) if sk.starts_with(key::TASK) => device_state.tasks.push(item::read(item)?),
                _ => {}
            }
        }
        Ok(device_state)
    }

    /// Records a check-in.
    ///
    /// `known` is the record from which `record` was decided, or `None` for a new device, which
    /// is also added to the catalogue. Two check-ins at once are not an error. The time of the
    /// first check-in stays, and times that are `None` in `record` stay as they are. From now on
    /// the device is found by its new host name, and no longer by its old one.
    ///
    /// Nothing is written if the device was excluded in the meantime, or if another write has spent
    /// the budget that `record` spends.
    pub async fn write_check_in(
        &self,
        record: &DeviceRecord,
        known: Option<&DeviceRecord>,
    ) -> Result<CheckInWritten, RecordsError> {
        self.write_check_in_with(record, known, CheckInItems::default())
            .await
    }

    /// Records a check-in like [`Records::write_check_in`], together with further items of the device.
    pub async fn write_check_in_with(
        &self,
        record: &DeviceRecord,
        known: Option<&DeviceRecord>,
        items: CheckInItems<'_>,
    ) -> Result<CheckInWritten, RecordsError> {
        let is_inventory =
            known.is_some_and(|known| known.inventory_received != record.inventory_received);
        let known = known.map(|known| (known.host_name.clone(), known.budget));
        self.retry_on_conflict(known, |known| async move {
            let is_written = match &known {
                None => self.create_device(record, items).await?,
                Some((host_name, budget)) => {
                    let along = self.item_writes(&record.device, items);
                    self.update_device(record, host_name, *budget, along, is_inventory)
                        .await?
                }
            };
            if is_written {
                return Ok(ControlFlow::Break(CheckInWritten::Written));
            }
            let key = Key::device(&record.device);
            let Some(found) = self.get_item(&key).await? else {
                return Ok(ControlFlow::Continue(None));
            };
            if found.contains_key(EXCLUDED) {
                return Ok(ControlFlow::Break(CheckInWritten::Excluded));
            }
            let found: DeviceRecord = item::read(found)?;
            if known.is_some_and(|(_, budget)| budget != found.budget) {
                return Ok(ControlFlow::Break(CheckInWritten::Superseded));
            }
            Ok(ControlFlow::Continue(Some((found.host_name, found.budget))))
        })
        .await
    }

    /// Creates the record of a device. Returns false if the device has a record already.
    async fn create_device(
        &self,
        record: &DeviceRecord,
        items: CheckInItems<'_>,
    ) -> Result<bool, RecordsError> {
        let entry = stored::catalogued_device(&record.device);
        let mut writes = vec![
            write::create(self.table(), stored::new_device(record)),
            write::create(self.table(), entry),
            self.counting_device(&record.device, 1),
        ];
        writes.extend(self.rename_writes(&record.device, "", &record.host_name));
        writes.extend(self.item_writes(&record.device, items));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Updates the record of a device. Returns false if the device has no record, another host
    /// name, or is excluded, or if another write has spent its budget.
    async fn update_device(
        &self,
        record: &DeviceRecord,
        host_name: &str,
        budget: WriteBudget,
        along: Vec<TransactWriteItem>,
        is_inventory: bool,
    ) -> Result<bool, RecordsError> {
        let key = Key::device(&record.device);
        let (expression, terms) = contact_update(stored::device(record));
        let (unspent, terms) = budget::unspent(budget, terms);
        let condition = format!("#host_name = :known_host_name AND {NOT_EXCLUDED} AND {unspent}");
        let terms = terms
            .name(EXCLUDED)
            .value("known_host_name", item::text(host_name));
        let mut others = self.rename_writes(&record.device, host_name, &record.host_name);
        others.extend(along);
        // The writes after an inventory are made once, so the answer must tell if it was this
        // request that wrote. A transaction does, even if its first answer is lost.
        if others.is_empty() && !is_inventory {
            let condition = Some(condition.as_str());
            let updated = self.change(&key, &expression, condition, &terms).await?;
            return Ok(updated.is_some());
        }
        let update = write::update(self.table(), &key, &expression, Some(&condition), &terms);
        let writes = std::iter::once(update).chain(others).collect();
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Returns the writes of the items that are written with the record of a check-in.
    fn item_writes(&self, device: &DeviceId, items: CheckInItems<'_>) -> Vec<TransactWriteItem> {
        let waits = items.waits.map(|waits| self.waits_write(device, waits));
        let facts = items
            .facts
            .map(|facts| write::replace(self.table(), stored::facts(facts)));
        waits.into_iter().chain(facts).collect()
    }

    /// Returns the daily facts of a device. `None` if none are on record.
    pub async fn facts(&self, device: &DeviceId) -> Result<Option<FactsRecord>, RecordsError> {
        let item = self.get_item(&Key::facts(device)).await?;
        item.map(|item| item::read_at(item, |facts: &FactsRecord| Key::facts(&facts.device)))
            .transpose()
    }

    /// Records that a device was seen, unless a later time is on record. Nothing is written for an
    /// unknown or a removed device.
    pub async fn mark_seen(&self, device: &DeviceId, now: UnixTime) -> Result<(), RecordsError> {
        let terms = Terms::default()
            .name(LAST_SEEN)
            .value("now", item::number(&now));
        // The condition does not hold for a record without the attribute, such as a tombstone.
        let earlier = Some("#last_seen < :now");
        self.change(
            &Key::device(device),
            "SET #last_seen = :now",
            earlier,
            &terms,
        )
        .await?;
        Ok(())
    }

    /// Records the package history of an OCS agent: at most [`Inventory::MAX_HISTORY`] packages, the
    /// newest.
    ///
    /// Returns true if the history has changed. Nothing is written otherwise.
    pub async fn write_history(
        &self,
        device: &DeviceId,
        packages: &[PackageId],
        now: UnixTime,
    ) -> Result<bool, RecordsError> {
        let mut packages = packages.to_vec();
        packages.sort_unstable();
        packages.dedup();
        let surplus = packages.len().saturating_sub(Inventory::MAX_HISTORY);
        packages.drain(..surplus);
        if self.history(device).await? == packages {
            return Ok(false);
        }
        let ids = packages.iter().flat_map(|id| id.get().to_be_bytes());
        let item = stored::history(device, ids.collect(), now);
        self.put(item).await?;
        Ok(true)
    }

    /// Returns the package history of an OCS agent, in the order of the packages' ids.
    pub async fn history(&self, device: &DeviceId) -> Result<Vec<PackageId>, RecordsError> {
        let item = self.get_item(&Key::history(device)).await?;
        Ok(item.as_ref().map(packed_ids).unwrap_or_default())
    }

    /// Returns the first `most` devices in the order of their ids, each with its exclusion.
    ///
    /// The cost does not depend on the number of devices on record.
    pub async fn devices(
        &self,
        most: usize,
    ) -> Result<Vec<(DeviceRecord, Option<Exclusion>)>, RecordsError> {
        let shards = (0..DEVICE_SHARDS).map(|shard| async move {
            let range = Range::catalogued_devices(shard);
            self.first::<CataloguedDevice>(&range, most).await
        });
        let mut ids: Vec<DeviceId> = try_join_all(shards)
            .await?
            .into_iter()
            .flatten()
            .map(|entry| entry.device)
            .collect();
        ids.sort_unstable();
        ids.truncate(most);
        self.device_records(&ids).await
    }

    /// Returns true if a device with an OCS agent is on record.
    ///
    /// The cost does not depend on the number of devices on record.
    pub async fn has_ocs_devices(&self) -> Result<bool, RecordsError> {
        let shards = (0..DEVICE_SHARDS).map(|shard| async move {
            let range = Range::catalogued_ocs_devices(shard);
            self.first::<CataloguedDevice>(&range, 1).await
        });
        let found = try_join_all(shards).await?;
        Ok(found.iter().any(|devices| !devices.is_empty()))
    }

    /// Returns the records of these devices in the order of their ids, each with its exclusion.
    /// Devices without a record, such as removed ones, are left out.
    pub async fn device_records(
        &self,
        ids: &[DeviceId],
    ) -> Result<Vec<(DeviceRecord, Option<Exclusion>)>, RecordsError> {
        let keys: Vec<Key> = ids.iter().map(Key::device).collect();
        let mut devices = Vec::with_capacity(keys.len());
        for found in self.listed_batch(&keys).await? {
            let Joining { excluded, .. } = item::read(found.clone())?;
            // A tombstone has no host name.
            if found.contains_key(HOST_NAME) {
                devices.push((item::read(found)?, excluded));
            }
        }
        devices.sort_by(|(one, _), (other, _): &(DeviceRecord, _)| one.device.cmp(&other.device));
        Ok(devices)
    }
}

/// Returns an update that sets the attributes of the item, and keeps all others.
///
/// The time of the first check-in is set only once.
fn contact_update(item: Item) -> (String, Terms) {
    let mut sets = Vec::new();
    let mut terms = Terms::default();
    for (name, value) in item {
        if [PK, SK, DEVICE_ID].contains(&name.as_str()) {
            continue;
        }
        sets.push(if name == FIRST_SEEN {
            format!("#{name} = if_not_exists(#{name}, :{name})")
        } else {
            format!("#{name} = :{name}")
        });
        terms = terms.name(&name).value(&name, value);
    }
    (format!("SET {}", sets.join(", ")), terms)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use packcast_rollout::check_in::MAX_OS_BYTES;
    use packcast_rollout::membership::MAX_GROUPS;
    use packcast_rollout::{ClockError, FactsMark, MachineRecord, OtherMachine};

    use super::*;
    use packcast_protocol::api::{BoundedText, SiteLabel};
    use packcast_protocol::enrolment::{BatchId, BatchName};
    use packcast_protocol::state::exchange::DigestPrefix;
    use packcast_protocol::{AgentId, Sha256Digest};

    use crate::records::names::{GROUPS, LEAF, ROUND};

    /// Returns the size of an attribute as the service counts it.
    fn bytes(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            AttributeValue::M(map) => {
                3 + map
                    .iter()
                    .map(|(name, value)| 1 + name.len() + bytes(value))
                    .sum::<usize>()
            }
            AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + bytes(value)).sum::<usize>(),
            other => panic!("unexpected attribute of a device: {other:?}"),
        }
    }

    const AT: UnixTime = UnixTime(9_999_999_999);

    /// Returns the longest records of devices with an OCS agent and with a Packcast agent.
    fn longest_records() -> [DeviceRecord; 2] {
        let ocs = DeviceRecord {
            device: format!("ocs:{}-2026-03-04-05-06-07", "d".repeat(180))
                .parse()
                .unwrap(),
            host_name: "h".repeat(255),
            agent: "a".repeat(64),
            os: "o".repeat(MAX_OS_BYTES),
            first_seen: AT,
            last_seen: AT,
            inventory_asked: Some(AT),
            inventory_received: Some(AT),
            machine: None,
            facts: None,
            batch: None,
            budget: WriteBudget::default().spend(AT).unwrap(),
        };
        let id = BoundedText::tail(&"i".repeat(64));
        let longest_name: BatchName = "b".repeat(BatchName::MAX_CHARS).parse().unwrap();
        let packcast = DeviceRecord {
            device: DeviceId::Agent(AgentId::of_public_key(&[1; 32])),
            inventory_asked: None,
            inventory_received: None,
            machine: Some(MachineRecord {
                platform: BoundedText::tail(&"p".repeat(32)),
                ids: vec![id.clone(); 2],
                other: Some(OtherMachine { id, last_seen: AT }),
                clock: Some(ClockError::Behind),
            }),
            facts: Some(FactsMark {
                digest: DigestPrefix::of(&Sha256Digest::of(b"facts")),
                at: AT,
                site: Some(SiteLabel::shortened(&"s".repeat(48))),
            }),
            batch: Some(BatchId::new(Some(&longest_name), [7; 16])),
            ..ocs.clone()
        };
        [ocs, packcast]
    }

    #[test]
    fn a_device_at_its_longest_is_read_with_one_unit() {
        for record in longest_records() {
            let size = size(&record);
            assert!(size <= 4096, "{size} bytes: {}", record.device);
        }
    }

    /// Returns the size of a device's item with as many groups as possible.
    fn size(record: &DeviceRecord) -> usize {
        let longest = item::number(&u64::MAX);
        let groups = (0..MAX_GROUPS).map(|n| (format!("{n:048}"), longest.clone()));
        let all = ("all".to_owned(), longest.clone());
        let mut item = stored::device(record);
        let groups = AttributeValue::M(groups.chain([all]).collect());
        item.insert(GROUPS.to_owned(), groups);
        item.insert(ROUND.to_owned(), longest);
        let leaf = RecordedLeaf {
            order: u64::MAX,
            digest: Some(Sha256Digest::of(b"document")),
        };
        item.insert(LEAF.to_owned(), item::attribute(&leaf));
        item.iter()
            .map(|(name, value)| name.len() + bytes(value))
            .sum()
    }
}
