//! The signed documents that a device lacks. The function passes them on, and cannot make one.

use packcast_protocol::DeviceId;
use packcast_protocol::api::HeldDocuments;
use packcast_protocol::assignments::{Held, SignedAssignments};
use packcast_rollout::GroupState;
use packcast_store::RecordsError;

use crate::CheckIn;
use crate::reconcile::Reconciled;

/// Returns the assignments of a device and of its groups that are later than what it holds.
///
/// The record of the device says which its own are, and the groups are those that its tasks
/// come from: a device that holds all of them costs no read.
pub(crate) async fn assignments(
    function: &CheckIn,
    device: &DeviceId,
    reconciled: &Reconciled,
    holds: &HeldDocuments,
) -> Result<Vec<SignedAssignments>, RecordsError> {
    let mut lacking = Vec::new();
    if is_later(reconciled.standing.signed, holds.device) {
        lacking.extend(function.records.device_assignments(device).await?);
    }
    let groups = reconciled.groups.iter();
    let later =
        groups.filter(|state| is_later(state.held(), holds.groups.get(&state.group).copied()));
    lacking.extend(later.filter_map(GroupState::signed));
    Ok(lacking)
}

fn is_later(recorded: Option<Held>, held: Option<Held>) -> bool {
    recorded > held
}
