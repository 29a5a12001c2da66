//! Progress of packages on their devices.

mod devices;
mod failures;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef, UnixTime};
use packcast_rollout::{ExclusionKind, PackageRecord};
use packcast_store::records::{DeploymentState, Tally};
use serde::Serialize;

pub(crate) use self::devices::states;
pub use self::devices::{DeviceProgress, DeviceResult, devices};
pub(crate) use self::failures::last_line;
pub use self::failures::{
    ExampleDevice, FailureCause, FailureCauses, MOST_READ, causes, sampled_causes,
};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::known_group::devices_of;
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
    /// too high if devices are in several of the groups, or have the package already. It is exact on
    /// the devices of one group.
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
#[derive(Clone, Debug, Serialize)]
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

/// Returns the progress of one package on the devices of a group.
///
/// The states of all devices of the package are read, so the cost grows with their number.
pub async fn of_package_in(
    target: &Target,
    package: &PackageRef,
    group: &GroupName,
) -> Result<PackageProgress, Failure> {
    let package = find(target, package).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    let members = devices_of(target, group).await?;
    let (mut progress, failed) = read_in(target, &package, &members).await?;
    progress.failures = Some(failures::causes_on(target, package.id, failed).await?);
    Ok(progress)
}

/// Returns the progress of the newest `limit` packages of a group on its devices, the newest last.
///
/// The states of all devices of each package are read, so the cost grows with their number.
pub async fn of_group(
    target: &Target,
    group: &GroupName,
    limit: usize,
) -> Result<Vec<PackageProgress>, Failure> {
    let members = devices_of(target, group).await?;
    let state = target.records.group(group).await?;
    let assignments = state.map(|state| state.assignments).unwrap_or_default();
    let ids: BTreeSet<PackageId> = assignments.iter().map(|at| at.package).collect();
    let skipped = ids.len().saturating_sub(limit);
    let ids: Vec<PackageId> = ids.into_iter().skip(skipped).collect();
    let mut packages = target.records.packages_of(&ids).await?;
    packages.sort_unstable_by_key(|package| package.id);
    warn_of_packages(target, &packages).await?;
    let mut progress = Vec::new();
    for package in &packages {
        progress.push(read_in(target, package, &members).await?.0);
    }
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

/// Returns the progress of a package on some devices, which are in the order of their ids, and the
/// devices on which it failed.
async fn read_in(
    target: &Target,
    package: &PackageRecord,
    members: &[DeviceId],
) -> Result<(PackageProgress, Vec<DeviceId>), Failure> {
    let mut progress = read(target, std::slice::from_ref(package)).await?.remove(0);
    let mut states = states(target, package, None).await?;
    devices::keep(&mut states, members);
    progress.count(states.values().copied());
    let failed = states
        .into_iter()
        .filter(|(_, state)| *state == DeploymentState::Failed);
    Ok((progress, failed.map(|(device, _)| device).collect()))
}

impl PackageProgress {
    /// Replaces the numbers of devices by those of these states.
    fn count(&mut self, states: impl Iterator<Item = DeploymentState>) {
        let mut counts: BTreeMap<DeploymentState, u64> = BTreeMap::new();
        for state in states {
            *counts.entry(state).or_default() += 1;
        }
        let of = |state| counts.get(&state).copied().unwrap_or_default();
        self.to_come = of(DeploymentState::Unreached);
        self.assigned = counts.values().sum::<u64>() - self.to_come;
        self.waiting = of(DeploymentState::Pending);
        self.announced = of(DeploymentState::Announced);
        self.withdrawn = of(DeploymentState::Withdrawn);
        self.succeeded = of(DeploymentState::Succeeded);
        self.failed = of(DeploymentState::Failed);
        self.cancelled = of(DeploymentState::Cancelled);
        self.not_applicable = of(DeploymentState::NotApplicable);
    }
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

#[cfg(test)]
mod tests {
    use packcast_rollout::state::EntryOwner;
    use packcast_testing::table::device;

    use super::*;
    use crate::test_target::{TestTarget, assign_published, create_lab, join, lab};

    #[tokio::test]
    async fn the_devices_of_a_group_are_counted_apart() {
        let target = TestTarget::start(372).await;
        let (tool, other) = (target.publish("tool").await, target.publish("other").await);
        let mut ids = Vec::new();
        for number in 0..8 {
            ids.push(target.table.device(number).await);
        }
        target.deploy(&ids[..2], &tool, "SUCCESS_0", "").await;
        let full = "E: disk full";
        target
            .deploy(&ids[2..5], &tool, "ERR_EXIT_CODE_3", full)
            .await;
        target.deploy(&ids[..1], &other, "SUCCESS_0", "").await;
        // One success, one failure, and one device that has not checked in since the assignment.
        let members = [0, 2, 7].map(|number| device(number).device);
        let to_lab = assign_published(EntryOwner::Group(lab()), &tool);
        target.change_all(&[create_lab(), join(members)]).await;
        target.change_all(&[to_lab]).await;

        let (target, reference) = (&target.target, PackageRef::Id(tool.id));
        let all = of_package(target, &reference).await.unwrap();
        assert_eq!((all.assigned, all.succeeded, all.failed), (5, 2, 3));
        let in_lab = of_package_in(target, &reference, &lab()).await.unwrap();
        assert_eq!((in_lab.assigned, in_lab.to_come), (2, 1));
        assert_eq!((in_lab.succeeded, in_lab.failed), (1, 1));
        let causes = in_lab.failures.unwrap();
        assert_eq!((causes.read, causes.by_cause.len()), (1, 1));
        let of_lab = of_group(target, &lab(), 10).await.unwrap();
        let shown = of_lab
            .iter()
            .map(|at| (at.package, at.assigned, at.to_come));
        assert_eq!(shown.collect::<Vec<_>>(), [(tool.id, 2, 1)]);
        assert!(of_group(target, &lab(), 0).await.unwrap().is_empty());
        let listed = devices(target, &reference, None, Some(&lab()))
            .await
            .unwrap();
        let listed: Vec<&str> = listed.iter().map(|at| at.host_name.as_str()).collect();
        assert_eq!(listed, ["pc0", "pc2", "pc7"]);
        let failed = Some(DeploymentState::Failed);
        let listed = devices(target, &reference, failed, Some(&lab()))
            .await
            .unwrap();
        assert_eq!(listed[0].host_name, "pc2");
        assert_eq!(listed.len(), 1);
    }
}
