//! The pacing of the OCS agents in a group.

use packcast_protocol::GroupName;
use packcast_rollout::state::StateChange;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use super::{not_unknown, of_all_or_known};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::target::Target;

/// The pacing settings of a group.
#[derive(Debug, Serialize)]
pub struct GroupPacing {
    pub group: GroupName,
    pub pacing: PacingOverride,
}

/// Changes the pacing settings of a group with one commit, and returns its settings after the
/// change.
pub async fn pace(
    target: &Target,
    group: &GroupName,
    change: &PacingChange,
    mut signer: Signer,
    progress: &Progress,
) -> Result<GroupPacing, Failure> {
    not_unknown(target, group).await?;
    let pacing = StateChange::Pace {
        group: group.clone(),
        pacing: *change,
    };
    let command = format!("packcast group pacing {group}");
    signer.change(target, &[pacing], &command, progress).await?;
    Ok(GroupPacing {
        group: group.clone(),
        pacing: of_all_or_known(target, group).await?.pace,
    })
}
