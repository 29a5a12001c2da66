//! Everything on record that follows from leaves, for a projection of the whole head.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::LeafName;
use packcast_protocol::{GroupName, PackageId};

use super::super::item::SK;
use super::super::key::{DEVICE_SHARDS, Range};
use super::super::{Records, RecordsError};

/// Number of packages at a time whose groups are read.
const AT_ONCE: usize = 8;

/// Names of everything on record that follows from leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedLeaves {
    pub names: BTreeSet<LeafName>,
    /// The packages in whose partitions each group is entered.
    pub packages: BTreeMap<GroupName, BTreeSet<PackageId>>,
}

impl Records {
    /// Returns the names of all groups, devices and locations on record.
    ///
    /// The function reads only keys, so a record with unreadable content is found, too.
    pub async fn recorded_leaves(&self) -> Result<RecordedLeaves, RecordsError> {
        let mut recorded = RecordedLeaves::default();
        let packages = self.keys(&Range::catalogued_packages(), "PACKAGE#").await?;
        let packages = packages.iter().filter_map(|id| id.parse().ok());
        let entered: Vec<(PackageId, Vec<String>)> = stream::iter(packages)
            .map(|id| async move {
                let groups = self.keys(&Range::groups_with(id), "GROUP#").await?;
                Ok::<_, RecordsError>((id, groups))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (package, groups) in entered {
            for group in groups.iter().filter_map(|name| name.parse().ok()) {
                let packages: &mut BTreeSet<PackageId> =
                    recorded.packages.entry(group).or_default();
                packages.insert(package);
            }
        }
        let groups = self.keys(&Range::catalogued_groups(), "GROUP#").await?;
        let groups = groups.iter().filter_map(|name| name.parse().ok());
        let groups = groups.chain(recorded.packages.keys().cloned());
        recorded.names.extend(groups.map(LeafName::Group));
        let locations = self.keys(&Range::locations(), "LOCATION#").await?;
        let locations = locations.iter().filter_map(|name| name.parse().ok());
        recorded.names.extend(locations.map(LeafName::Location));
        let ranges: Vec<Range> = (0..DEVICE_SHARDS).map(Range::catalogued_devices).collect();
        let shards = ranges.iter().map(|range| self.keys(range, "DEVICE#"));
        let devices = try_join_all(shards).await?.into_iter().flatten();
        let devices = devices.filter_map(|device| device.parse().ok());
        recorded.names.extend(devices.map(LeafName::Device));
        Ok(recorded)
    }

    /// Returns the sort keys of a range, without their common prefix.
    pub(super) async fn keys(
        &self,
        range: &Range,
        prefix: &str,
    ) -> Result<Vec<String>, RecordsError> {
        let found = self.range(range).await?.items.into_iter();
        let keys = found.filter_map(|item| {
            let key = item.get(SK)?.as_s().ok()?;
            Some(key.strip_prefix(prefix)?.to_owned())
        });
        Ok(keys.collect())
    }
}
