//! Devices: what a check-in reads, and what it notes down.

use std::ops::ControlFlow;

use futures_util::future::try_join_all;
use packcast_protocol::assignments::Held;
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::{
    DeviceCommands, DeviceRecord, Memberships, OpenTask, PacingOverride, Round,
};

use super::commit::Commit;
use super::item::{self, Item, PK, SK};
use super::key::{self, DEVICE_SHARDS, Key, Range};
use super::names::{DEVICE_ID, FIRST_SEEN};
use super::order;
use super::stored::{self, CataloguedDevice, Joining, packed_ids};
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// What a check-in reads of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// None for a device that was never in contact.
    pub device: Option<DeviceRecord>,
    pub memberships: Memberships,
    /// Which state of the device's own assignments is signed; none if none is.
    pub signed: Option<Held>,
    /// What a change holds for that the device's groups have a part in.
    pub round: Round,
    pub orders: DeviceCommands,
    /// The device's own settings, whatever its groups have.
    pub pace: PacingOverride,
    /// In the order of their priority, then of their packages' ids.
    pub tasks: Vec<OpenTask>,
    /// The read units that the question has cost.
    pub consumed_units: f64,
}

/// How many ids of a history are kept: half of what an item has room for.
const HISTORY_LIMIT: usize = 50_000;

impl Records {
    /// Reads a device and its open tasks with one strongly consistent Query.
    ///
    /// Finished tasks and facts are outside its range, so they never make it dearer.
    pub async fn standing(&self, device: &DeviceId) -> Result<Standing, RecordsError> {
        let found = self.range(&Range::standing(device)).await?;
        let mut standing = Standing {
            device: None,
            memberships: Memberships::default(),
            signed: None,
            round: Round::FIRST,
            orders: DeviceCommands::default(),
            pace: PacingOverride::default(),
            tasks: Vec::new(),
            consumed_units: found.consumed_units,
        };
        for item in found.items {
            match item.get(SK).and_then(|sk| sk.as_s().ok()) {
                Some(sk) if sk == key::DEVICE => {
                    let joining: Joining = item::read(item.clone())?;
                    (standing.memberships, standing.round) = (joining.groups, joining.round);
                    standing.signed = joining.signed;
                    standing.device = Some(item::read(item)?);
                }
                Some(sk) if sk == key::PACE => standing.pace = item::read(item)?,
                Some(sk) if sk.starts_with(key::ORDER) => order::add(&mut standing.orders, item)?,
                Some(sk) if sk.starts_with(key::TASK) => standing.tasks.push(item::read(item)?),
                _ => {}
            }
        }
        Ok(standing)
    }

    /// Notes a contact down; `known` is the record that it was decided from, none for a new
    /// device, which also enters the catalogue.
    ///
    /// Two contacts at once are no error. The time of the first contact stays, and times that
    /// the record does not have are left as they are. The device is found by its new host name
    /// from here on, and by its old one no more.
    pub async fn write_contact(
        &self,
        record: &DeviceRecord,
        known: Option<&DeviceRecord>,
    ) -> Result<(), RecordsError> {
        let host_name = known.map(|known| known.host_name.clone());
        self.retry_on_conflict(host_name, |host_name| async move {
            let is_written = match &host_name {
                None => self.create_device(record).await?,
                Some(host_name) => self.update_device(record, host_name).await?,
            };
            if is_written {
                return Ok(ControlFlow::Break(()));
            }
            let found: Option<DeviceRecord> = self.get(&Key::device(&record.device)).await?;
            Ok(ControlFlow::Continue(found.map(|found| found.host_name)))
        })
        .await
    }

    /// Tells whether there was no such device before.
    async fn create_device(&self, record: &DeviceRecord) -> Result<bool, RecordsError> {
        let entry = stored::catalogued_device(&record.device);
        let mut writes = vec![
            write::create(self.table(), stored::new_device(record)),
            write::create(self.table(), entry),
            self.counting_device(&record.device),
        ];
        writes.extend(self.renaming(&record.device, "", &record.host_name));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Tells whether there was a device with this host name to update.
    async fn update_device(
        &self,
        record: &DeviceRecord,
        host_name: &str,
    ) -> Result<bool, RecordsError> {
        const NOT_RENAMED: &str = "#host_name = :known_host_name";
        let key = Key::device(&record.device);
        let (expression, terms) = contact_update(stored::device(record));
        let terms = terms.value("known_host_name", item::text(host_name));
        let renaming = self.renaming(&record.device, host_name, &record.host_name);
        if renaming.is_empty() {
            let updated = self.change(&key, &expression, NOT_RENAMED, &terms).await?;
            return Ok(updated.is_some());
        }
        let update = write::update(self.table(), &key, &expression, Some(NOT_RENAMED), &terms);
        let writes = std::iter::once(update).chain(renaming).collect();
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Keeps the packages that a stock agent says it has, at most 50,000, the newest.
    ///
    /// Returns whether they had changed; only then something is written.
    pub async fn write_history(
        &self,
        device: &DeviceId,
        packages: &[PackageId],
        now: UnixTime,
    ) -> Result<bool, RecordsError> {
        let mut packages = packages.to_vec();
        packages.sort_unstable();
        packages.dedup();
        let surplus = packages.len().saturating_sub(HISTORY_LIMIT);
        packages.drain(..surplus);
        if self.history(device).await? == packages {
            return Ok(false);
        }
        let ids = packages.iter().flat_map(|id| id.get().to_be_bytes());
        let item = stored::history(device, ids.collect(), now);
        self.put(item).await?;
        Ok(true)
    }

    /// Returns the packages that a stock agent says it has, in the order of their ids.
    pub async fn history(&self, device: &DeviceId) -> Result<Vec<PackageId>, RecordsError> {
        let item = self.get_item(&Key::history(device)).await?;
        Ok(item.as_ref().map(packed_ids).unwrap_or_default())
    }

    /// Returns the first `most` devices in the order of their ids, at the same cost however
    /// many there are.
    pub async fn devices(&self, most: usize) -> Result<Vec<DeviceRecord>, RecordsError> {
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
        let keys: Vec<Key> = ids.iter().map(Key::device).collect();
        let items = self.batch(&keys).await?.into_iter();
        let mut devices: Vec<DeviceRecord> = items.map(item::read).collect::<Result<_, _>>()?;
        devices.sort_by(|one, other| one.device.cmp(&other.device));
        Ok(devices)
    }
}

/// Sets what the item has, and nothing else; the time of the first contact only once.
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
    use packcast_rollout::contact::MAX_OS_BYTES;
    use packcast_rollout::membership::MAX_GROUPS;

    use super::*;
    use crate::records::names::{GROUPS, ROUND, SIGNED};

    /// Counts the bytes of an attribute as the service does.
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
            other => panic!("a device has no {other:?}"),
        }
    }

    #[test]
    fn a_device_at_its_longest_is_read_with_one_unit() {
        let at = UnixTime(9_999_999_999);
        let record = DeviceRecord {
            device: format!("ocs:{}-2026-03-04-05-06-07", "d".repeat(180))
                .parse()
                .unwrap(),
            host_name: "h".repeat(255),
            agent: "a".repeat(64),
            os: "o".repeat(MAX_OS_BYTES),
            first_seen: at,
            last_seen: at,
            inventory_asked: Some(at),
            inventory_received: Some(at),
        };
        let longest = item::number(&u64::MAX);
        let groups = (0..MAX_GROUPS).map(|n| (format!("{n:048}"), longest.clone()));
        let all = ("all".to_owned(), longest.clone());
        let mut item = stored::device(&record);
        let groups = AttributeValue::M(groups.chain([all]).collect());
        item.insert(GROUPS.to_owned(), groups);
        item.insert(ROUND.to_owned(), longest.clone());
        // An agent's id is shorter than the one above by far more than this.
        let held = ["revision", "issued"].map(|name| (name.to_owned(), longest.clone()));
        item.insert(SIGNED.to_owned(), AttributeValue::M(held.into()));
        let size: usize = item
            .iter()
            .map(|(name, value)| name.len() + bytes(value))
            .sum();
        assert!(size <= 4096, "{size} bytes");
    }
}
