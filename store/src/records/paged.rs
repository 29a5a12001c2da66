//! Pages of lists: each costs the same for any length of the list.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::FinishedTask;

use super::index::DeploymentState;
use super::key::{DEVICE_SHARDS, INDEX_SHARDS, MEMBER_SHARDS, Range, shard};
use super::stored::{CataloguedDevice, CataloguedGroup, CataloguedPackage};
use super::{Records, RecordsError};

/// Number of index partitions that are read at a time.
///
/// More at a time would read devices beyond the page, fewer would take longer.
const SHARDS_AT_ONCE: u16 = 8;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The beginning of the next page. `None` on the last page.
    pub next: Option<T>,
}

impl<T: Clone> Page<T> {
    /// Ends a page after `most` items. The item after it begins the next page.
    fn ended(mut items: Vec<T>, most: usize) -> Self {
        let next = items.get(most).cloned();
        items.truncate(most);
        Self { items, next }
    }
}

impl Records {
    /// Returns the ids of at most `most` packages that are not deleted, the newest first, from
    /// `from` on.
    pub async fn package_page(
        &self,
        from: Option<PackageId>,
        most: usize,
    ) -> Result<Page<PackageId>, RecordsError> {
        let range = Range::catalogued_packages_until(from);
        let entries: Vec<CataloguedPackage> = self.last(&range, most + 1).await?;
        let ids = entries.iter().map(|entry| entry.id).collect();
        Ok(Page::ended(ids, most))
    }

    /// Returns the results of at most `most` packages that a device has finished, the newest package
    /// first, from `from` on.
    pub async fn finished_page(
        &self,
        device: &DeviceId,
        from: Option<PackageId>,
        most: usize,
    ) -> Result<Page<FinishedTask>, RecordsError> {
        let range = Range::finished_until(device, from);
        Ok(Page::ended(self.last(&range, most + 1).await?, most))
    }

    /// Returns the names of at most `most` groups in their order, from `from` on.
    pub async fn group_page(
        &self,
        from: Option<&GroupName>,
        most: usize,
    ) -> Result<Page<GroupName>, RecordsError> {
        let range = Range::catalogued_groups_from(from);
        let entries: Vec<CataloguedGroup> = self.first(&range, most + 1).await?;
        let names = entries.into_iter().map(|entry| entry.group).collect();
        Ok(Page::ended(names, most))
    }

    /// Returns at most `most` members of a group in the order of their ids, from `from` on. For the
    /// group `all` these are all devices.
    pub async fn member_page(
        &self,
        group: &GroupName,
        from: Option<&DeviceId>,
        most: usize,
    ) -> Result<Page<DeviceId>, RecordsError> {
        let shards = if group.is_all() {
            DEVICE_SHARDS
        } else {
            MEMBER_SHARDS
        };
        let reads = (0..shards).map(|shard| async move {
            let range = if group.is_all() {
                Range::catalogued_devices(shard)
            } else {
                Range::members(group, shard)
            };
            let range = range.beginning_at(from);
            self.first::<CataloguedDevice>(&range, most + 1).await
        });
        let found: Vec<Vec<CataloguedDevice>> = stream::iter(reads)
            .buffered(shards.into())
            .try_collect()
            .await?;
        let mut devices: Vec<DeviceId> = found.into_iter().flatten().map(|it| it.device).collect();
        devices.sort_unstable();
        Ok(Page::ended(devices, most))
    }

    /// Returns at most `most` devices of a package in one state, from `from` on, in the order of the
    /// index. The index does not contain [`DeploymentState::Unreached`].
    ///
    /// The cost is at most that of reading the 64 partitions of the index, 32 read units, however
    /// many devices there are. The index lags behind, as in [`Records::devices_of`].
    pub async fn index_page(
        &self,
        package: PackageId,
        state: DeploymentState,
        from: Option<&DeviceId>,
        most: usize,
    ) -> Result<Page<DeviceId>, RecordsError> {
        let first = from.map_or(0, |device| shard(device, INDEX_SHARDS));
        let mut devices = Vec::new();
        let mut next = first;
        while next < INDEX_SHARDS && devices.len() <= most {
            let end = next.saturating_add(SHARDS_AT_ONCE).min(INDEX_SHARDS);
            let reads = (next..end).map(|at| {
                let from = from.filter(|_| at == first);
                self.index_shard_page(package, at, state, from, most + 1)
            });
            let found: Vec<Vec<DeviceId>> = stream::iter(reads)
                .buffered(SHARDS_AT_ONCE.into())
                .try_collect()
                .await?;
            devices.extend(found.into_iter().flatten());
            next = end;
        }
        Ok(Page::ended(devices, most))
    }
}
