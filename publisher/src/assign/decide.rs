//! Decides which devices and groups need a new assignment in the signed state.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{Entries, LeafName, StateEntry, Terms};
use packcast_protocol::{DeviceId, GroupName, PackageVersion};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{NewAssignment, StatePart};

use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::downgrade::LaterPackages;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::state::current_part;
use crate::target::Target;

/// A device with the outcome that its assignment would have now.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) device: DeviceId,
    pub(super) outcome: AssignOutcome,
    pub(super) plan: Plan,
}

/// The steps of an assignment to one device or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The state needs the assignment, and then the records.
    Commit,
    /// The state has the assignment, which the records may lack.
    Record,
    /// The device has the package, or cannot be assigned it.
    Nothing,
}

/// Decides on the assignment to each of these devices.
pub(super) async fn decide(
    target: &Target,
    package: &PackageRecord,
    assignment: &NewAssignment,
    devices: Vec<DeviceId>,
    progress: &Progress,
) -> Result<Vec<Decided>, Failure> {
    let force = assignment.force;
    let outcomes: Vec<(DeviceId, AssignOutcome)> = stream::iter(devices)
        .map(|device| async move {
            let outcome = target
                .records
                .assign_outcome(&device, package, force, now());
            let outcome = outcome.await?;
            progress.advance(1);
            Ok::<_, Failure>((device, outcome))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let repeated = outcomes.iter().filter(|(_, outcome)| may_repeat(outcome));
    let names = repeated.map(|(device, _)| LeafName::Device(device.clone()));
    let state = current_part(target, names.collect()).await?;
    let mut deployed = later_versions(target, package, assignment, &outcomes).await?;
    let decided = outcomes.into_iter().map(|(device, outcome)| {
        let is_allowed = |entry: &StateEntry| entry.terms == Terms::allowing_downgrade();
        let document = state.device(&device).ok().flatten();
        let entry = document.and_then(|document| document.packages.of(package.id));
        let outcome = match deployed.remove(&device) {
            Some(deployed) if !entry.is_some_and(is_allowed) => {
                AssignOutcome::Downgrade { deployed }
            }
            _ => outcome,
        };
        Decided {
            plan: plan(&state, &device, assignment, &outcome),
            device,
            outcome,
        }
    });
    Ok(decided.collect())
}

/// Returns the later version that each device has deployed, if the assignment would be a downgrade
/// that it does not allow.
async fn later_versions(
    target: &Target,
    package: &PackageRecord,
    assignment: &NewAssignment,
    outcomes: &[(DeviceId, AssignOutcome)],
) -> Result<BTreeMap<DeviceId, PackageVersion>, Failure> {
    if assignment.terms == Terms::allowing_downgrade() {
        return Ok(BTreeMap::new());
    }
    let devices = outcomes.iter().filter(|(_, outcome)| {
        matches!(
            outcome,
            AssignOutcome::New { .. } | AssignOutcome::AlreadyOpen { .. }
        )
    });
    let devices: Vec<DeviceId> = devices.map(|(device, _)| device.clone()).collect();
    let later = LaterPackages::find(target, package).await?;
    later.deployed_on(target, &devices).await
}

/// Decides on the assignment to each of these groups.
///
/// If the record of a group has the package, the assignment is a new one: devices on which the
/// package failed try again. If only the state has it, an interrupted command wrote no record.
pub(super) async fn decide_groups(
    target: &Target,
    assignment: &NewAssignment,
    groups: &[GroupName],
) -> Result<BTreeMap<GroupName, Plan>, Failure> {
    let records = target.records.group_states(groups).await?;
    let names = groups.iter().cloned().map(LeafName::Group).collect();
    let state = current_part(target, names).await?;
    let decided = groups.iter().map(|group| {
        let mut records = records.iter().filter(|record| record.group == *group);
        let is_recorded = records.any(|record| record.assignment(assignment.package).is_some());
        let document = state.group(group).ok().flatten();
        let is_assigned = document.is_some_and(|it| has(&it.packages, assignment));
        let plan = if is_assigned && !is_recorded {
            Plan::Record
        } else {
            Plan::Commit
        };
        (group.clone(), plan)
    });
    Ok(decided.collect())
}

/// Returns true if an entry that the state has already may be the wanted assignment.
///
/// A device that has failed needs a new entry. A device without any result does not: the entry is
/// from a command that was interrupted before it wrote the record.
const fn may_repeat(outcome: &AssignOutcome) -> bool {
    matches!(
        outcome,
        AssignOutcome::AlreadyOpen { .. } | AssignOutcome::New { attempt: 1 }
    )
}

fn plan(
    state: &StatePart,
    device: &DeviceId,
    assignment: &NewAssignment,
    outcome: &AssignOutcome,
) -> Plan {
    match outcome {
        AssignOutcome::New { .. } | AssignOutcome::AlreadyOpen { .. } => {
            let document = state.device(device).ok().flatten();
            let is_assigned = document.is_some_and(|it| has(&it.packages, assignment));
            if may_repeat(outcome) && is_assigned {
                Plan::Record
            } else {
                Plan::Commit
            }
        }
        AssignOutcome::AlreadyDone(_)
        | AssignOutcome::InHistory
        | AssignOutcome::Deleted
        | AssignOutcome::NotPublished
        | AssignOutcome::NotForDevice
        | AssignOutcome::OtherSystem
        | AssignOutcome::Downgrade { .. }
        | AssignOutcome::UnknownDevice => Plan::Nothing,
    }
}

/// Returns true if an entry permits as much as the assignment.
fn has(entries: &Entries, assignment: &NewAssignment) -> bool {
    entries.of(assignment.package).is_some_and(|entry| {
        entry.manifest == assignment.manifest
            && (entry.force || !assignment.force)
            && (entry.terms == assignment.terms || assignment.terms == Terms::default())
    })
}
