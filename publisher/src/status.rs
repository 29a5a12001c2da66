//! Progress of packages on their devices.

mod devices;
mod failures;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{GroupName, PackageId, PackageRef, UnixTime};
use packcast_rollout::{ExclusionKind, PackageRecord};
use packcast_store::records::Tally;
use serde::Serialize;

pub(crate) use self::devices::states;
pub use self::devices::{DeviceProgress, DeviceResult, devices};
pub use self::failures::{ExampleDevice, FailureCause, FailureCauses, MOST_READ};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::{find, named, newest, state, warn_of_packages};
use crate::target::Target;

/// The number of devices of a package in each state.
#[derive(Debug, Serialize)]
pub struct PackageProgress {
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub state: &'static str,
    /// End of the validity; `None` if the package does not expire.
    pub expires: Option<UnixTime>,
    /// The number of devices that were ever assigned the package.
    pub assigned: u64,
    /// The number of devices of groups that have not checked in since the assignment: an estimate,
    /// too high if devices are in several of the groups, or have the package already.
    pub to_come: u64,
    /// The number of devices to which the package was not announced yet.
    pub waiting: u64,
    pub announced: u64,
    pub withdrawn: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// The number of devices that run another system than the package is for.
    pub not_applicable: u64,
    /// The groups that the package is assigned to.
    pub groups: Vec<GroupSize>,
    /// The failures by their causes. `None` in a list of packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<FailureCauses>,
}

/// The number of devices in a group.
#[derive(Debug, Serialize)]
pub struct GroupSize {
    pub group: GroupName,
    pub devices: u64,
}

/// Returns the progress of one package.
pub async fn of_package(target: &Target, package: &PackageRef) -> Result<PackageProgress, Failure> {
    let package = find(target, package).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    let mut progress = read(target, std::slice::from_ref(&package))
        .await?
        .remove(0);
    progress.failures = Some(failures::causes(target, package.id).await?);
    Ok(progress)
}

/// Returns the progress of the newest `limit` packages, the newest last.
pub async fn of_newest(target: &Target, limit: usize) -> Result<Vec<PackageProgress>, Failure> {
    let packages = newest(target, limit).await?;
    read(target, &packages).await
}

/// Returns the number of blocked devices in the target.
pub async fn blocked(target: &Target) -> Result<usize, Failure> {
    let excluded = target.records.excluded_devices().await?;
    let kinds = excluded.values().map(|found| found.exclusion.kind);
    Ok(kinds.filter(|kind| *kind == ExclusionKind::Blocked).count())
}

/// Reads the progress of packages, without their failures.
pub(crate) async fn read(
    target: &Target,
    packages: &[PackageRecord],
) -> Result<Vec<PackageProgress>, Failure> {
    let counted: Vec<(Tally, Vec<GroupName>)> = stream::iter(packages)
        .map(|package| async {
            let tally = target.records.tally(package.id).await?;
            let groups = target.records.groups_with(package.id).await?;
            Ok::<_, Failure>((tally, groups))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    // Packages share groups: each size is read once.
    let sizes = sizes(target, &counted).await?;
    let progress = packages
        .iter()
        .zip(counted)
        .map(|(package, (tally, groups))| progress(package, &tally, groups, &sizes));
    Ok(progress.collect())
}

/// Returns the size of each group that has one of the packages.
async fn sizes(
    target: &Target,
    counted: &[(Tally, Vec<GroupName>)],
) -> Result<BTreeMap<GroupName, u64>, Failure> {
    let groups: BTreeSet<&GroupName> = counted.iter().flat_map(|(_, groups)| groups).collect();
    stream::iter(groups)
        .map(|group| async { Ok((group.clone(), target.records.size(group).await?)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn progress(
    package: &PackageRecord,
    tally: &Tally,
    groups: Vec<GroupName>,
    sizes: &BTreeMap<GroupName, u64>,
) -> PackageProgress {
    let groups = groups.into_iter().map(|group| GroupSize {
        devices: sizes.get(&group).copied().unwrap_or_default(),
        group,
    });
    let groups: Vec<GroupSize> = groups.collect();
    PackageProgress {
        package: package.id,
        name: named(package),
        state: state(package, now()),
        expires: package.published().and_then(|published| published.expires),
        assigned: tally.assigned,
        to_come: estimated_to_come(tally.assigned, &groups),
        waiting: tally.waiting(),
        announced: tally.announced,
        withdrawn: tally.withdrawn,
        succeeded: tally.succeeded,
        failed: tally.failed,
        cancelled: tally.cancelled,
        not_applicable: tally.not_applicable,
        groups,
        failures: None,
    }
}

/// Returns the number of devices of groups that are not counted as assigned yet.
///
/// This is an estimate from counts, so that its cost does not depend on the number of devices. It is
/// too high if devices are in several of the groups, or have the package already. It is too low if
/// the package is assigned to devices that are in none of the groups.
fn estimated_to_come(assigned: u64, groups: &[GroupSize]) -> u64 {
    let members: u64 = groups.iter().map(|group| group.devices).sum();
    members.saturating_sub(assigned)
}
