//! Signed documents that a device lacks. The function sends stored documents, and can sign none.

use std::collections::BTreeSet;

use packcast_protocol::api::{CheckInRequest, HeldDocuments};
use packcast_protocol::assignments::{Held, SignedAssignments};
use packcast_protocol::keys::SignedKeyList;
use packcast_protocol::state::StateText;
use packcast_protocol::{DeviceId, LocationName, UnixTime, with_causes};
use packcast_rollout::GroupState;
use packcast_store::RecordsError;

use crate::reconcile::Reconciled;
use crate::state::StateQuestion;
use crate::tasks::Announcements;
use crate::{CheckInFunction, answer};

/// The signed documents in the reply to a check-in.
#[derive(Debug, Default)]
pub(crate) struct SentDocuments {
    pub(crate) keys: Vec<SignedKeyList>,
    pub(crate) assignments: Vec<SignedAssignments>,
    /// Parts of the signed state, for a device that follows it.
    pub(crate) state: Option<StateText>,
}

/// Returns the documents that a device lacks. A device that follows the signed state gets parts of
/// the state, and no other documents.
pub(crate) async fn lacking(
    function: &CheckInFunction,
    device: &DeviceId,
    sent: &CheckInRequest,
    announced: &Announcements,
    now: UnixTime,
) -> Result<SentDocuments, RecordsError> {
    let Some(held) = &sent.holds_state else {
        let reconciled = &announced.reconciled;
        return Ok(SentDocuments {
            keys: function.groups.key_lists_after(sent.holds.keys),
            assignments: assignments(function, device, reconciled, &sent.holds).await?,
            state: None,
        });
    };
    let tasks = announced.tasks.iter();
    let locations: BTreeSet<LocationName> = tasks
        .flat_map(|task| task.locations.iter().map(|at| at.name.clone()))
        .collect();
    let question = StateQuestion {
        device,
        held,
        facts: None,
        locations: &locations,
        has_new_task: announced.has_new_task,
    };
    Ok(SentDocuments {
        state: state(function, question, now).await?,
        ..SentDocuments::default()
    })
}

/// Returns the parts of the signed state that a device lacks.
///
/// An invalid record of the state does not cost the device the rest of the reply.
async fn state(
    function: &CheckInFunction,
    question: StateQuestion<'_>,
    now: UnixTime,
) -> Result<Option<StateText>, RecordsError> {
    let Some(cache) = &function.state else {
        function.without_state.call_once(|| {
            tracing::warn!(
                "cannot send the signed state to devices: set PACKCAST_TRUST to the trust line of the target"
            );
        });
        return Ok(None);
    };
    let reply = match cache.reply(&function.records, question, now).await {
        Err(error @ RecordsError::Corrupt { .. }) => {
            answer::log_records_error(&error);
            return Ok(None);
        }
        reply => reply?,
    };
    let text = reply.map(|reply| StateText::new(&reply)).transpose();
    text.map_or_else(
        |error| {
            let device = question.device;
            tracing::error!(%device, "cannot send the signed state: {}", with_causes(&error));
            Ok(None)
        },
        Ok,
    )
}

/// Returns the device and group assignments that are later than those that the device holds.
///
/// The record of the device shows the state of its device assignments, and reconciling has already
/// read the groups. So a device that holds all documents costs no further read.
async fn assignments(
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
