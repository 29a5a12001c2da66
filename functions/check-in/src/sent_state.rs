//! The parts of the signed state in the reply to a check-in.

use std::collections::BTreeSet;

use packcast_protocol::api::CheckInRequest;
use packcast_protocol::state::held::MAX_HELD_ROLLOUTS;
use packcast_protocol::state::{RolloutId, StateText};
use packcast_protocol::{DeviceId, LocationName, UnixTime, with_causes};
use packcast_rollout::GroupState;
use packcast_store::RecordsError;

use crate::reconcile::Reconciled;
use crate::state::{StateFacts, StateQuestion};
use crate::tasks::Announcements;
use crate::{CheckInFunction, answer};

/// Returns the parts of the signed state that a device lacks.
///
/// An invalid record of the state does not cost the device the rest of the reply.
pub(crate) async fn lacking(
    function: &CheckInFunction,
    device: &DeviceId,
    sent: &CheckInRequest,
    announced: &Announcements,
    now: UnixTime,
) -> Result<Option<StateText>, RecordsError> {
    let tasks = announced.tasks.iter();
    let locations: BTreeSet<LocationName> = tasks
        .flat_map(|task| task.locations.iter().map(|at| at.name.clone()))
        .collect();
    let reply = async {
        let facts = facts(function, &announced.reconciled, now).await?;
        let question = StateQuestion {
            device,
            held: &sent.holds,
            facts: facts.as_ref(),
            locations: &locations,
            has_new_task: announced.has_new_task,
        };
        let reply = function.state.reply(&function.records, question, now);
        reply.await
    };
    let reply = match reply.await {
        Err(error @ RecordsError::Corrupt { .. }) => {
            answer::log_records_error(&error);
            return Ok(None);
        }
        reply => reply?,
    };
    let text = reply.map(|reply| StateText::new(&reply)).transpose();
    text.map_or_else(
        |error| {
            tracing::error!(%device, "cannot send the signed state: {}", with_causes(&error));
            Ok(None)
        },
        Ok,
    )
}

/// Returns the documents from which the records of a device and its groups follow.
///
/// The check-in has read these records, so a device that holds all documents costs no further read.
/// `None` if the state had a document of the device, and has none any more: the device may still hold
/// the earlier document, and the absence of a document has no digest that could be compared.
async fn facts(
    function: &CheckInFunction,
    reconciled: &Reconciled,
    now: UnixTime,
) -> Result<Option<StateFacts>, RecordsError> {
    let leaf = reconciled.device_state.leaf;
    if leaf.order > 0 && leaf.digest.is_none() {
        return Ok(None);
    }
    let memberships = &reconciled.device_state.memberships;
    let document = |state: &GroupState| (state.group.clone(), state.document);
    let recorded = reconciled.groups.iter().map(document);
    let mut groups: std::collections::BTreeMap<_, _> =
        memberships.groups().map(|group| (group, None)).collect();
    groups.extend(recorded);
    let assignments = reconciled.groups.iter().flat_map(|it| &it.assignments);
    let rollouts: BTreeSet<RolloutId> = assignments.filter_map(|it| it.rollout).collect();
    let rollouts = rollouts.into_iter().take(MAX_HELD_ROLLOUTS).collect();
    let state = &function.state;
    // Boxed, because few check-ins need it, and the futures of all handlers contain it.
    let rollouts = Box::pin(state.rollout_documents(&function.records, &rollouts, now));
    Ok(Some(StateFacts {
        device: leaf.digest,
        groups,
        rollouts: rollouts.await?,
    }))
}
