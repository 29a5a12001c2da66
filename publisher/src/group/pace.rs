//! The pace of a group's devices with stock agents.

use packcast_protocol::GroupName;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use crate::failure::Failure;
use crate::signing::Signer;
use crate::target::Target;

/// A group's own pace.
#[derive(Debug, Serialize)]
pub struct GroupPace {
    pub group: GroupName,
    pub pace: PacingOverride,
}

/// Changes a group's own pace, and returns the pace after the change.
pub async fn pace(
    target: &Target,
    group: &GroupName,
    change: &PacingChange,
    signer: &Signer,
) -> Result<GroupPace, Failure> {
    let signing = signer.signing();
    let changed = target.records.pace_group(group, change, signing).await?;
    Ok(GroupPace {
        group: group.clone(),
        pace: changed.state.pace,
    })
}
