//! Decides which devices need a new assignment in the signed state.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::DeviceId;
use packcast_protocol::state::{LeafName, Terms};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{NewAssignment, StatePart};

use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::state::current_part;
use crate::target::Target;

/// A device with the outcome that its assignment would have now.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) device: DeviceId,
    pub(super) outcome: AssignOutcome,
    pub(super) plan: Plan,
}

/// The steps of an assignment to one device.
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
) -> Result<Vec<Decided>, Failure> {
    let force = assignment.force;
    let outcomes: Vec<(DeviceId, AssignOutcome)> = stream::iter(devices)
        .map(|device| async move {
            let outcome = target
                .records
                .assign_outcome(&device, package, force, now());
            outcome.await.map(|outcome| (device, outcome))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let repeated = outcomes.iter().filter(|(_, outcome)| may_repeat(outcome));
    let names = repeated.map(|(device, _)| LeafName::Device(device.clone()));
    let state = current_part(target, names.collect()).await?;
    let decided = outcomes.into_iter().map(|(device, outcome)| Decided {
        plan: plan(&state, &device, assignment, &outcome),
        device,
        outcome,
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
            if may_repeat(outcome) && has(state, device, assignment) {
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
        | AssignOutcome::UnknownDevice => Plan::Nothing,
    }
}

/// Returns true if the state has an entry that permits as much as the assignment.
fn has(state: &StatePart, device: &DeviceId, assignment: &NewAssignment) -> bool {
    let document = state.device(device).ok().flatten();
    let entry = document.and_then(|document| document.packages.of(assignment.package));
    entry.is_some_and(|entry| {
        entry.manifest == assignment.manifest
            && (entry.force || !assignment.force)
            && (entry.terms == assignment.terms || assignment.terms == Terms::default())
    })
}
