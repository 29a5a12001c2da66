//! The pacing of the OCS agents in a group.

use packcast_protocol::GroupName;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use crate::failure::Failure;
use crate::signing::Signer;
use crate::target::Target;

/// The pacing settings of a group.
#[derive(Debug, Serialize)]
pub struct GroupPacing {
    pub group: GroupName,
    pub pace: PacingOverride,
}

/// Changes the pacing settings of a group, and returns its settings after the change.
pub async fn pace(
    target: &Target,
    group: &GroupName,
    change: &PacingChange,
    signer: &Signer,
) -> Result<GroupPacing, Failure> {
    let signing = signer.signing();
    let changed = target.records.pace_group(group, change, signing).await?;
    Ok(GroupPacing {
        group: group.clone(),
        pace: changed.state.pace,
    })
}
