//! Tallies: the number of a package's devices in each state.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::{DeviceId, PackageId};

use super::item;
use super::key::{Key, TALLY_SHARDS, shard};
use super::names::{ACTIVE, ANNOUNCED};
use super::stored::TallyItem;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Number of a package's devices in each state of their latest attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All devices to which the package was ever assigned, except removed devices.
    pub assigned: u64,
    /// Devices whose task was announced, and that have not reported.
    pub announced: u64,
    /// Devices whose task was announced and withdrawn, and that have not reported.
    pub withdrawn: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Devices that cancelled the task without acting on it.
    pub cancelled: u64,
    /// Devices that run another system than the package is for.
    pub not_applicable: u64,
}

impl Tally {
    /// Returns the number of devices that were told of the package, and have not reported.
    pub const fn told(&self) -> u64 {
        self.announced.saturating_add(self.withdrawn)
    }

    /// Returns the number of devices whose task is not announced yet.
    pub const fn waiting(&self) -> u64 {
        self.assigned
            .saturating_sub(self.announced)
            .saturating_sub(self.withdrawn)
            .saturating_sub(self.succeeded)
            .saturating_sub(self.failed)
            .saturating_sub(self.cancelled)
            .saturating_sub(self.not_applicable)
    }
}

impl Records {
    pub async fn tally(&self, package: PackageId) -> Result<Tally, RecordsError> {
        let items = self.listed_batch(&shards_of(package)).await?;
        let shards: Vec<TallyItem> = items
            .into_iter()
            .map(item::read)
            .collect::<Result<_, _>>()?;
        let sum = |count: fn(&TallyItem) -> i64| {
            let sum: i64 = shards.iter().map(count).sum();
            u64::try_from(sum).unwrap_or_default()
        };
        Ok(Tally {
            assigned: sum(|shard| shard.assigned),
            announced: sum(|shard| shard.announced),
            withdrawn: sum(|shard| shard.withdrawn),
            succeeded: sum(|shard| shard.succeeded),
            failed: sum(|shard| shard.failed),
            cancelled: sum(|shard| shard.cancelled),
            not_applicable: sum(|shard| shard.not_applicable),
        })
    }

    /// Returns the write that adds to the counts in the shard of a device.
    pub(super) fn counting(
        &self,
        device: &DeviceId,
        package: PackageId,
        changes: &[(&str, i8)],
    ) -> TransactWriteItem {
        let mut terms = Terms::default();
        let mut additions = Vec::new();
        for (count, change) in changes {
            terms = terms.name(count).value(count, item::number(change));
            additions.push(format!("#{count} :{count}"));
        }
        let key = Key::tally(package, shard(device, TALLY_SHARDS));
        let expression = format!("ADD {}", additions.join(", "));
        write::update(self.table(), &key, &expression, None, &terms)
    }

    /// Returns the write that counts an announcement in the shard of a device, on the condition that
    /// the package is active.
    pub(super) fn counting_announced(
        &self,
        device: &DeviceId,
        package: PackageId,
    ) -> TransactWriteItem {
        let terms = Terms::default()
            .name(ACTIVE)
            .name(ANNOUNCED)
            .value("active", AttributeValue::Bool(true))
            .value("one", item::number(&1));
        write::update(
            self.table(),
            &Key::tally(package, shard(device, TALLY_SHARDS)),
            "ADD #announced :one",
            Some("#active = :active"),
            &terms,
        )
    }
}

/// Returns the keys of all shards of a package.
pub(super) fn shards_of(package: PackageId) -> Vec<Key> {
    let shards = 0..TALLY_SHARDS;
    shards.map(|shard| Key::tally(package, shard)).collect()
}
