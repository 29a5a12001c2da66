//! Signed documents that a device lacks. The function sends stored documents, and can sign none.

use packcast_protocol::DeviceId;
use packcast_protocol::api::HeldDocuments;
use packcast_protocol::assignments::{Held, SignedAssignments};
use packcast_rollout::GroupState;
use packcast_store::RecordsError;

use crate::CheckInFunction;
use crate::reconcile::Reconciled;

/// Returns the device and group assignments that are later than those that the device holds.
///
/// The record of the device shows the state of its device assignments, and reconciling has already
/// read the groups. So a device that holds all documents costs no further read.
pub(crate) async fn assignments(
    function: &CheckInFunction,
    device: &DeviceId,
    reconciled: &Reconciled,
    holds: &HeldDocuments,
) -> Result<Vec<SignedAssignments>, RecordsError> {
    let mut missing = Vec::new();
    let recorded = reconciled.device_state.signed;
    // The new record of a device that was removed and unblocked names no assignments, but the
    // withdrawal that `remove` has signed is on record.
    let is_new = recorded.is_none() && holds.device.is_some();
    if is_new || is_later(recorded, holds.device) {
        missing.extend(function.records.device_assignments(device).await?);
    }
    let groups = reconciled.groups.iter();
    let later =
        groups.filter(|state| is_later(state.held(), holds.groups.get(&state.group).copied()));
    missing.extend(later.filter_map(GroupState::signed));
    Ok(missing)
}

fn is_later(recorded: Option<Held>, held: Option<Held>) -> bool {
    recorded > held
}
