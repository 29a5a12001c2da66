//! Pages of lists, for interfaces that show a part at a time: each page costs the same for any number
//! of packages and devices.

use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, PackageName, UnixTime};
use packcast_rollout::{GroupState, PacingOverride, PackageRecord};
pub use packcast_store::records::{DeploymentState, ReadMeter, ReadUsage, Tally};

use crate::clock::now;
use crate::device::list::{ListedDevice, listed};
use crate::failure::Failure;
use crate::group::GroupPackage;
use crate::known_group::of_all_or_known;
use crate::package::{named, state, warn_of_packages};
use crate::state::warn_of_head;
use crate::target::Target;

/// A part of a list.
#[derive(Debug)]
pub struct ListPage<T, C> {
    pub items: Vec<T>,
    /// The beginning of the next page. `None` on the last page.
    pub next: Option<C>,
}

/// The devices of a package in each state.
#[derive(Debug)]
pub struct PackageCounts {
    pub tally: Tally,
    /// The groups that the package is assigned to.
    pub groups: Vec<GroupName>,
    /// The number of devices of the group that have not checked in since the assignment: an estimate.
    /// `None` if the package is assigned to several groups, whose sizes are not read.
    pub to_come: Option<u64>,
}

/// A group with a part of its packages.
#[derive(Debug)]
pub struct GroupPart {
    pub group: GroupName,
    /// The number of devices.
    pub size: u64,
    pub preferred: Option<LocationName>,
    pub pacing: PacingOverride,
    pub created_at: UnixTime,
    /// The newest packages first.
    pub packages: ListPage<GroupPackage, PackageId>,
    /// The number of all packages.
    pub all_packages: usize,
}

/// The numbers of devices and packages of a group.
#[derive(Debug)]
pub struct GroupNumbers {
    pub devices: u64,
    pub packages: usize,
}

/// Returns at most `most` packages, the newest first, from `from` on.
///
/// Warns as [`newest`](crate::package::newest) does.
pub async fn packages(
    target: &Target,
    from: Option<PackageId>,
    most: usize,
) -> Result<ListPage<PackageRecord, PackageId>, Failure> {
    let page = target.records.package_page(from, most).await?;
    let mut packages = target.records.packages_of(&page.items).await?;
    packages.reverse();
    warn_of_packages(target, &packages).await?;
    Ok(ListPage {
        items: packages,
        next: page.next,
    })
}

/// Returns at most `most` versions of a package, the newest first, with drafts and deleted ones. The
/// second value is the number of all versions.
pub async fn versions(
    target: &Target,
    name: &PackageName,
    most: usize,
) -> Result<(Vec<PackageRecord>, usize), Failure> {
    let ids = target.records.ids_of(name).await?;
    let newest: Vec<PackageId> = ids.iter().rev().take(most).copied().collect();
    let mut packages = target.records.packages_of(&newest).await?;
    packages.reverse();
    Ok((packages, ids.len()))
}

/// Returns the number of a package's devices in each state.
pub async fn counts(target: &Target, package: PackageId) -> Result<PackageCounts, Failure> {
    let tally = target.records.tally(package).await?;
    let groups = target.records.groups_with(package).await?;
    let to_come = match &groups[..] {
        [] => Some(0),
        [group] => {
            let size = target.records.size(group).await?;
            Some(size.saturating_sub(tally.assigned))
        }
        [..] => None,
    };
    Ok(PackageCounts {
        tally,
        groups,
        to_come,
    })
}

/// Returns at most `most` devices of a package in one state, from `from` on. Changes of the last
/// seconds may be missing.
///
/// The index contains no devices that have not checked in since the assignment of a group.
pub async fn package_devices(
    target: &Target,
    package: PackageId,
    state: DeploymentState,
    from: Option<&DeviceId>,
    most: usize,
) -> Result<ListPage<ListedDevice, DeviceId>, Failure> {
    let page = target.records.index_page(package, state, from, most);
    let page = page.await?;
    recorded(target, page.items, page.next).await
}

/// Returns at most `most` names of groups in their order, from `from` on.
///
/// Warns of the signed state, see [`newest`](crate::package::newest).
pub async fn groups(
    target: &Target,
    from: Option<&GroupName>,
    most: usize,
) -> Result<ListPage<GroupName, GroupName>, Failure> {
    let page = target.records.group_page(from, most).await?;
    warn_of_head(target).await?;
    Ok(ListPage {
        items: page.items,
        next: page.next,
    })
}

/// Returns the numbers of devices and packages of a group. Both are 0 if the group does not exist.
///
/// The cost is a read unit for each 4 KiB of its state, and 16 for its size.
pub async fn group_numbers(target: &Target, group: &GroupName) -> Result<GroupNumbers, Failure> {
    let states = target.records.group_states(std::slice::from_ref(group));
    let packages = states.await?.first().map_or(0, |it| it.assignments.len());
    Ok(GroupNumbers {
        devices: target.records.size(group).await?,
        packages,
    })
}

/// Returns a group with at most `most` of its packages, the newest first, from `from` on.
pub async fn group(
    target: &Target,
    group: &GroupName,
    from: Option<PackageId>,
    most: usize,
) -> Result<GroupPart, Failure> {
    let found: GroupState = of_all_or_known(target, group).await?;
    let all_packages = found.assignments.len();
    let mut assignments = found.assignments;
    assignments.sort_by_key(|it| std::cmp::Reverse(it.package));
    assignments.retain(|it| from.is_none_or(|from| it.package <= from));
    let next = assignments.get(most).map(|it| it.package);
    assignments.truncate(most);
    let ids: Vec<PackageId> = assignments.iter().map(|it| it.package).collect();
    let packages = target.records.packages_of(&ids).await?;
    warn_of_packages(target, &packages).await?;
    let now = now();
    let assigned = assignments.into_iter().map(|assignment| {
        let package = packages.iter().find(|it| it.id == assignment.package);
        GroupPackage {
            name: package.map(named).unwrap_or_default(),
            state: package.map(|it| state(it, now)).unwrap_or_default(),
            // The term is in the signed document, which this page does not read.
            downgrade: None,
            assignment,
        }
    });
    Ok(GroupPart {
        packages: ListPage {
            items: assigned.collect(),
            next,
        },
        all_packages,
        size: target.records.size(group).await?,
        group: found.group,
        preferred: found.preferred,
        pacing: found.pace,
        created_at: found.created_at,
    })
}

/// Returns at most `most` devices of a group in the order of their ids, from `from` on. For the group
/// `all` these are all devices. A group that does not exist has none.
pub async fn devices(
    target: &Target,
    group: &GroupName,
    from: Option<&DeviceId>,
    most: usize,
) -> Result<ListPage<ListedDevice, DeviceId>, Failure> {
    let page = target.records.member_page(group, from, most).await?;
    recorded(target, page.items, page.next).await
}

/// Returns the number of devices of a group. For the group `all` this is the number of all devices.
pub async fn size(target: &Target, group: &GroupName) -> Result<u64, Failure> {
    Ok(target.records.size(group).await?)
}

/// Returns the records of these devices in their order. Devices without a record are left out.
pub async fn recorded_devices(
    target: &Target,
    devices: &[DeviceId],
) -> Result<Vec<ListedDevice>, Failure> {
    let page = recorded(target, devices.to_vec(), None).await?;
    Ok(page.items)
}

/// Returns the records of the devices of a page, in the order of the page.
async fn recorded(
    target: &Target,
    ids: Vec<DeviceId>,
    next: Option<DeviceId>,
) -> Result<ListPage<ListedDevice, DeviceId>, Failure> {
    let mut found = target.records.device_records(&ids).await?;
    let order = |device: &DeviceId| ids.iter().position(|id| id == device);
    found.sort_by_key(|(record, _)| order(&record.device));
    Ok(ListPage {
        items: found.into_iter().map(listed).collect(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::PackageRef;
    use packcast_rollout::state::EntryOwner;
    use packcast_testing::table::device;

    use super::*;
    use crate::status;
    use crate::test_target::{TestTarget, assign_published, create_lab, join, lab};

    /// Follows the pages of a list from the first to the last.
    async fn all<T, C: Clone>(page: impl AsyncFn(Option<C>) -> ListPage<T, C>) -> Vec<Vec<T>> {
        let (mut pages, mut from) = (Vec::new(), None);
        loop {
            let ListPage { items, next } = page(from).await;
            pages.push(items);
            from = next;
            if from.is_none() {
                return pages;
            }
        }
    }

    #[tokio::test]
    async fn pages_have_every_item_once() {
        let test = TestTarget::start(381).await;
        let mut packages = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            packages.push(test.publish(name).await);
        }
        let mut ids = Vec::new();
        for number in 0..23 {
            ids.push(test.table.device(number).await);
        }
        test.deploy(&ids[..20], &packages[0], "ERR_EXIT_CODE_3", "no")
            .await;
        test.deploy(&ids[20..21], &packages[0], "SUCCESS_0", "")
            .await;
        test.change_all(&[create_lab(), join((0..7).map(|n| device(n).device))])
            .await;
        let (target, _) = test.target.for_display();
        let (target, every) = (&target, &GroupName::all());

        let listed = all(async |from| super::packages(target, from, 2).await.unwrap()).await;
        let names: Vec<Vec<String>> = listed
            .iter()
            .map(|page| page.iter().map(|it| it.name.to_string()).collect())
            .collect();
        assert_eq!(names, [vec!["e", "d"], vec!["c", "b"], vec!["a"]]);

        let hosts = |pages: Vec<Vec<ListedDevice>>| {
            let devices = pages.into_iter().flatten();
            let mut hosts: Vec<DeviceId> = devices.map(|it| it.record.device).collect();
            hosts.sort_unstable();
            hosts
        };
        ids.sort_unstable();
        let pages = all(async |from: Option<DeviceId>| {
            devices(target, every, from.as_ref(), 4).await.unwrap()
        });
        assert_eq!(hosts(pages.await), ids);
        let pages = all(async |from: Option<DeviceId>| {
            devices(target, &lab(), from.as_ref(), 3).await.unwrap()
        });
        assert_eq!(hosts(pages.await).len(), 7);
        let failed = DeploymentState::Failed;
        let pages = all(async |from: Option<DeviceId>| {
            let id = packages[0].id;
            package_devices(target, id, failed, from.as_ref(), 3)
                .await
                .unwrap()
        });
        let found = hosts(pages.await);
        assert_eq!(found.len(), 20);
        let reference = PackageRef::Id(packages[0].id);
        let of_status = status::devices(target, &reference, Some(failed), None);
        let mut of_status: Vec<DeviceId> = of_status
            .await
            .unwrap()
            .into_iter()
            .map(|it| it.device)
            .collect();
        of_status.sort_unstable();
        assert_eq!(found, of_status);
    }

    #[tokio::test]
    async fn a_page_of_a_group_has_its_newest_packages() {
        let test = TestTarget::start(382).await;
        let (old, new) = (test.publish("old").await, test.publish("new").await);
        for number in 0..3 {
            test.table.device(number).await;
        }
        test.change_all(&[create_lab(), join((0..3).map(|n| device(n).device))])
            .await;
        for package in [&old, &new] {
            let to_lab = assign_published(EntryOwner::Group(lab()), package);
            test.change_all(&[to_lab]).await;
        }
        let (target, meter) = test.target.for_display();
        let shown = group(&target, &lab(), None, 1).await.unwrap();
        assert_eq!((shown.size, shown.all_packages), (3, 2));
        assert_eq!(shown.packages.items[0].name, "new@1");
        assert_eq!(shown.packages.next, Some(old.id));
        assert!(meter.usage().units > 0.0 && meter.usage().requests > 0);
        let counted = counts(&target, old.id).await.unwrap();
        assert_eq!((counted.groups, counted.to_come), (vec![lab()], Some(3)));
        let numbers = group_numbers(&target, &lab()).await.unwrap();
        assert_eq!((numbers.devices, numbers.packages), (3, 2));
        let (versions, number) = versions(&target, &old.name, 5).await.unwrap();
        assert_eq!((versions.len(), number), (1, 1));
    }
}
