//! Packages by the size of their archives, with a mark for unused ones.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_rollout::PackageRecord;
use serde::Serialize;

use super::warn_of_packages;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::target::Target;

/// Packages by the size of their archives, the largest first. It serializes as the list of packages.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct PackageSpace {
    pub packages: Vec<SizedPackage>,
    /// All packages of the target, of which the list may have a part.
    #[serde(skip)]
    pub total: SpaceTotal,
}

/// A package, and if anybody still needs its archive.
#[derive(Debug, Serialize)]
pub struct SizedPackage {
    #[serde(flatten)]
    pub package: PackageRecord,
    /// The package is assigned to no group, and open on no device. A draft is never unused.
    pub unused: bool,
}

/// The number and the size of packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceTotal {
    pub packages: usize,
    /// The size of the archives in bytes.
    pub bytes: u64,
    pub unused: usize,
    pub unused_bytes: u64,
}

impl SizedPackage {
    /// Returns the size of the archive in bytes, 0 if the package has none.
    pub fn bytes(&self) -> u64 {
        let archive = self.package.action.archive();
        archive.map_or(0, |archive| archive.bytes)
    }
}

impl SpaceTotal {
    fn of(packages: &[SizedPackage]) -> Self {
        let unused = packages.iter().filter(|sized| sized.unused);
        Self {
            packages: packages.len(),
            bytes: packages.iter().map(SizedPackage::bytes).sum(),
            unused: unused.clone().count(),
            unused_bytes: unused.map(SizedPackage::bytes).sum(),
        }
    }
}

/// Returns the `limit` largest packages that are not deleted, the largest first.
///
/// Reads tally and groups of each package of the target. Warns as [`super::show`] does.
pub async fn by_size(target: &Target, limit: usize) -> Result<PackageSpace, Failure> {
    let packages = target.records.packages(usize::MAX).await?;
    warn_of_packages(target, &packages).await?;
    let mut packages: Vec<SizedPackage> = stream::iter(packages)
        .map(|package| async {
            let unused = package.published().is_some() && is_unused(target, &package).await?;
            Ok::<_, Failure>(SizedPackage { package, unused })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let total = SpaceTotal::of(&packages);
    // Stable: packages of one size stay in the order of their ids.
    packages.sort_by_key(|sized| std::cmp::Reverse(sized.bytes()));
    packages.truncate(limit);
    Ok(PackageSpace { packages, total })
}

async fn is_unused(target: &Target, package: &PackageRecord) -> Result<bool, Failure> {
    let tally = target.records.tally(package.id).await?;
    if tally.waiting() > 0 || tally.told() > 0 {
        return Ok(false);
    }
    Ok(target.records.groups_with(package.id).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use packcast_rollout::state::EntryOwner;

    use super::*;
    use crate::test_target::{TestTarget, assign_published, create_lab, lab};

    #[tokio::test]
    async fn unused_packages_have_no_group_and_are_open_on_no_device() {
        let target = TestTarget::start(362).await;
        let mut packages = Vec::new();
        for name in ["nobody", "grouped", "open", "finished"] {
            packages.push(target.publish(name).await);
        }
        let grouped = assign_published(EntryOwner::Group(lab()), &packages[1]);
        target.change_all(&[create_lab(), grouped]).await;
        let device = target.table.device(1).await;
        let open = assign_published(EntryOwner::Device(device.clone()), &packages[2]);
        target.change_all(&[open]).await;
        target
            .deploy(&[device], &packages[3], "SUCCESS", "done")
            .await;

        let space = by_size(&target.target, usize::MAX).await.unwrap();
        let unused: Vec<String> = space
            .packages
            .iter()
            .filter(|sized| sized.unused)
            .map(|sized| sized.package.name.to_string())
            .collect();
        assert_eq!(unused, ["nobody", "finished"]);
        assert_eq!((space.total.packages, space.total.unused), (4, 2));
        let part = by_size(&target.target, 2).await.unwrap();
        assert_eq!((part.packages.len(), part.total), (2, space.total));
    }
}
