//! A check of the whole fleet: failures by cause, devices that are late with a package, and the records
//! of all devices. Its cost grows with the number of devices.

use std::cmp::Reverse;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, PackageId, PackageRef, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::check_in::is_unseen_for;
use packcast_store::records::DeploymentState;

use crate::concurrency::AT_ONCE;
use crate::device::list::{DeviceFilter, DeviceOrder, ListedDevice, list};
use crate::device_name::{DeviceName, host_names};
use crate::explain::explain;
use crate::failure::Failure;
use crate::package::{named, newest};
use crate::status::{FailureCauses, PackageProgress, causes, read};
use crate::target::Target;

/// The number of the newest packages that a check looks at.
pub const CHECKED_PACKAGES: usize = 100;

/// The number of packages with the most failures, or open devices, that are read in detail.
const DETAILED: usize = 5;

/// The number of devices of a package in one state whose tasks are read.
const READ_OF_STATE: usize = 20;

/// The number of late devices whose reasons are read.
const EXPLAINED: usize = 20;

/// A device is late with a package that was assigned this number of seconds ago and is still open.
pub const LATE_AFTER_S: u64 = 24 * 3_600;

/// A package expires soon if it expires within this number of seconds.
pub const EXPIRES_SOON_S: u64 = 30 * 24 * 3_600;

/// The findings about packages.
#[derive(Debug)]
pub struct PackageFindings {
    /// The packages with failures, the one with the most failures first.
    pub failing: Vec<FailingPackage>,
    /// Devices that are late, at most 20. The package that is assigned for the longest time first.
    pub late: Vec<LateDevice>,
    /// The number of late devices among the tasks that were read.
    pub late_read: usize,
    /// False if more devices are open than were read for late ones.
    pub is_late_complete: bool,
    /// The active packages of the whole catalogue that have expired or expire soon.
    pub expiring: Vec<ExpiringPackage>,
    /// The number of all packages.
    pub packages: usize,
    /// The number of the newest packages that were read for failures and late devices.
    pub counted: usize,
}

/// An active package that has expired or expires soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringPackage {
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub expires: UnixTime,
}

/// A package with failures.
#[derive(Debug)]
pub struct FailingPackage {
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub failed: u64,
    /// The failures by their causes. `None` if other packages have more failures.
    pub causes: Option<FailureCauses>,
}

/// A device with a package that is open for more than a day.
#[derive(Debug)]
pub struct LateDevice {
    pub device: DeviceId,
    /// Empty if the device has no record, or reports none.
    pub host_name: String,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub assigned_at: UnixTime,
    /// The reason as a sentence.
    pub says: String,
}

/// Returns the approximate cost of [`devices`] in read units, for lists that are eventually consistent.
pub const fn units_of_devices(devices: u64) -> u64 {
    // Half a unit for each record, a unit for about 30 entries of the catalogue.
    devices / 2 + devices / 30 + 16
}

/// Returns the approximate cost of [`packages`] in read units at most, besides one for each package.
pub const fn units_of_packages() -> u64 {
    // 32 for each tally, 32 for each read of the index, and one for each failure.
    40 * CHECKED_PACKAGES as u64 + DETAILED as u64 * (96 + 1_000)
}

/// Returns the records of all devices, sorted by their host names.
pub async fn devices(target: &Target) -> Result<Vec<ListedDevice>, Failure> {
    let everything = DeviceFilter::default();
    let found = list(target, &everything, DeviceOrder::Host, usize::MAX).await?;
    Ok(found.devices)
}

/// Returns true if a device has certainly not been seen for this number of days.
pub fn is_unseen(device: &ListedDevice, days: u16, now: UnixTime) -> bool {
    device.excluded.is_none() && is_unseen_for(&device.record, days, now)
}

/// Returns true if two machines use the identity of a device.
pub fn is_cloned(device: &ListedDevice) -> bool {
    let machine = device.record.machine.as_ref();
    machine.is_some_and(|machine| machine.other.is_some())
}

/// Returns the active ones of some packages that have expired or expire soon, in the same order.
pub fn expiring(packages: &[PackageRecord], now: UnixTime) -> Vec<ExpiringPackage> {
    let soon = now.plus(EXPIRES_SOON_S);
    let active = packages.iter().filter(|package| package.active);
    let expiring = active.filter_map(|package| {
        let expires = package.published()?.expires.filter(|at| *at < soon)?;
        Some(ExpiringPackage {
            package: package.id,
            name: named(package),
            expires,
        })
    });
    expiring.collect()
}

/// Returns the findings about all packages: their expiry, and of the newest [`CHECKED_PACKAGES`] their
/// failures and late devices.
pub async fn packages(target: &Target, now: UnixTime) -> Result<PackageFindings, Failure> {
    let packages = newest(target, usize::MAX).await?;
    // The newest are last.
    let counted = &packages[packages.len().saturating_sub(CHECKED_PACKAGES)..];
    let progress = read(target, counted).await?;
    let late = late_devices(target, &progress, now).await?;
    Ok(PackageFindings {
        failing: failing(target, &progress).await?,
        late: late.explained,
        late_read: late.read,
        is_late_complete: late.is_complete,
        expiring: expiring(&packages, now),
        packages: packages.len(),
        counted: counted.len(),
    })
}

/// The late devices that were found.
struct FoundLate {
    /// The first ones, with their reasons.
    explained: Vec<LateDevice>,
    read: usize,
    is_complete: bool,
}

async fn failing(
    target: &Target,
    progress: &[PackageProgress],
) -> Result<Vec<FailingPackage>, Failure> {
    let mut failed: Vec<&PackageProgress> = progress.iter().filter(|it| it.failed > 0).collect();
    failed.sort_by_key(|it| Reverse(it.failed));
    let mut failing = Vec::with_capacity(failed.len());
    for (place, package) in failed.into_iter().enumerate() {
        failing.push(FailingPackage {
            package: package.package,
            name: package.name.clone(),
            failed: package.failed,
            causes: if place < DETAILED {
                Some(causes(target, package.package).await?)
            } else {
                None
            },
        });
    }
    Ok(failing)
}

/// Finds late devices of the packages with the most open devices.
async fn late_devices(
    target: &Target,
    progress: &[PackageProgress],
    now: UnixTime,
) -> Result<FoundLate, Failure> {
    let is_old =
        |it: &&PackageProgress| now.since(UnixTime(it.package.get().into())) >= LATE_AFTER_S;
    let mut open: Vec<&PackageProgress> = progress
        .iter()
        .filter(|it| it.state == "active" && it.waiting + it.announced > 0)
        .filter(is_old)
        .collect();
    open.sort_by_key(|it| Reverse(it.waiting + it.announced));
    let mut is_complete = open.len() <= DETAILED;
    open.truncate(DETAILED);
    let mut found = Vec::new();
    for package in open {
        for state in [DeploymentState::Pending, DeploymentState::Announced] {
            let id = package.package;
            let devices = target.records.index_page(id, state, None, READ_OF_STATE);
            let page = devices.await?;
            is_complete &= page.next.is_none();
            let assigned: Vec<Option<(DeviceId, UnixTime)>> = stream::iter(page.items)
                .map(|device| async move {
                    let state = target.records.device_state(&device).await?;
                    let task = state.tasks.iter().find(|task| task.package == id);
                    let at = task.map(|task| task.assigned_at);
                    Ok::<_, Failure>(at.map(|at| (device, at)))
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            let late = assigned.into_iter().flatten();
            let late = late.filter(|(_, at)| now.since(*at) >= LATE_AFTER_S);
            found.extend(late.map(|(device, at)| (at, device, package)));
        }
    }
    found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let late_read = found.len();
    found.truncate(EXPLAINED);
    let ids: Vec<DeviceId> = found.iter().map(|(_, device, _)| device.clone()).collect();
    let mut names = host_names(target, &ids).await?;
    let mut late = Vec::with_capacity(found.len());
    for (assigned_at, device, package) in found {
        let name = DeviceName::Id(device.clone());
        let explained = explain(target, &name, &PackageRef::Id(package.package)).await?;
        late.push(LateDevice {
            host_name: names.remove(&device).unwrap_or_default(),
            device,
            package: package.package,
            name: package.name.clone(),
            assigned_at,
            says: explained.says,
        });
    }
    Ok(FoundLate {
        explained: late,
        read: late_read,
        is_complete,
    })
}

#[cfg(test)]
mod tests {
    use packcast_rollout::PackageState;
    use packcast_rollout::state::EntryOwner;

    use super::*;
    use crate::clock::now;
    use crate::test_target::{TestTarget, assign_published};

    #[tokio::test]
    async fn failures_are_found_with_their_causes() {
        let test = TestTarget::start(391).await;
        let (tool, fine) = (test.publish("tool").await, test.publish("fine").await);
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(test.table.device(number).await);
        }
        let output = "E: disk full";
        test.deploy(&ids[..3], &tool, "ERR_EXIT_CODE_3", output)
            .await;
        test.deploy(&ids[3..], &fine, "SUCCESS_0", "").await;
        let found = packages(&test.target, now()).await.unwrap();
        assert_eq!(found.failing.len(), 1);
        let failing = &found.failing[0];
        assert_eq!((failing.package, failing.failed), (tool.id, 3));
        let causes = failing.causes.as_ref().unwrap();
        assert_eq!(causes.by_cause[0].devices, 3);
        assert!(found.late.is_empty() && found.is_late_complete);
        assert_eq!((found.packages, found.counted), (2, 2));
        assert_eq!(devices(&test.target).await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_device_is_late_a_day_after_the_assignment() {
        let test = TestTarget::start(392).await;
        let tool = test.publish("tool").await;
        let by = packcast_testing::table::mia();
        let at = [packcast_testing::table::location()];
        let activated = test.table.records.activate(tool.id, &at, &by);
        activated.await.unwrap();
        let device = test.table.device(1).await;
        let to = EntryOwner::Device(device.clone());
        test.change_all(&[assign_published(to, &tool)]).await;
        let today = packages(&test.target, now()).await.unwrap();
        assert!(today.late.is_empty());
        let later = now().plus(LATE_AFTER_S + 60);
        let found = packages(&test.target, later).await.unwrap();
        assert_eq!(found.late_read, 1);
        let late = &found.late[0];
        assert_eq!((&late.device, late.package), (&device, tool.id));
        assert_eq!(
            (late.host_name.as_str(), late.name.as_str()),
            ("pc1", "tool@1")
        );
        assert!(!late.says.is_empty());
        assert!(found.is_late_complete);
    }

    #[tokio::test]
    async fn more_open_devices_than_a_check_reads_are_reported() {
        let test = TestTarget::start(393).await;
        let tool = test.publish("tool").await;
        let by = packcast_testing::table::mia();
        let at = [packcast_testing::table::location()];
        let activated = test.table.records.activate(tool.id, &at, &by);
        activated.await.unwrap();
        let mut changes = Vec::new();
        for number in 0..=u32::try_from(READ_OF_STATE).unwrap() {
            let to = EntryOwner::Device(test.table.device(number).await);
            changes.push(assign_published(to, &tool));
        }
        test.change_all(&changes).await;
        let later = now().plus(LATE_AFTER_S + 60);
        let found = packages(&test.target, later).await.unwrap();
        assert_eq!(found.late_read, READ_OF_STATE);
        assert!(!found.is_late_complete);
    }

    #[tokio::test]
    async fn only_active_packages_expire_soon() {
        let test = TestTarget::start(394).await;
        let mut package = test.publish("tool").await;
        let now = now();
        assert_eq!(expiring(std::slice::from_ref(&package), now), []);
        package.active = true;
        for (expires, is_expiring) in [
            (None, false),
            (Some(now.plus(EXPIRES_SOON_S)), false),
            (Some(now.plus(EXPIRES_SOON_S - 1)), true),
            (Some(UnixTime(now.0 - 1)), true),
        ] {
            let PackageState::Published(published) = &mut package.state else {
                panic!("the package is published");
            };
            published.expires = expires;
            let found = expiring(std::slice::from_ref(&package), now);
            assert_eq!(found.len(), usize::from(is_expiring), "{expires:?}");
        }
    }
}
