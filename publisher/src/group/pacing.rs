//! The pacing of the OCS agents in a group.

use packcast_protocol::GroupName;
use packcast_rollout::state::StateChange;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use super::GroupPlan;
use crate::failure::Failure;
use crate::known_group::{not_unknown, of_all_or_known};
use crate::preview::Preview;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::target::Target;

/// The pacing settings of a group.
#[derive(Debug, Serialize)]
pub struct GroupPacing {
    pub group: GroupName,
    pub pacing: PacingOverride,
}

/// Plans to change the pacing settings of a group.
pub async fn plan_pacing<'a>(
    target: &'a Target,
    group: &GroupName,
    change: &PacingChange,
) -> Result<GroupPlan<'a>, Failure> {
    not_unknown(target, group).await?;
    let preview = Preview::new(format!("Changes the pacing of group {group}"));
    Ok(GroupPlan {
        target,
        group: group.clone(),
        change: StateChange::Pace {
            group: group.clone(),
            pacing: *change,
        },
        command: format!("packcast group pacing {group}"),
        preview: preview
            .with_groups(target, std::slice::from_ref(group))
            .await?,
    })
}

/// Changes the pacing settings of a group, as [`plan_pacing`] has planned, and returns its settings
/// after the change.
pub async fn pace(
    plan: GroupPlan<'_>,
    signer: Signer,
    progress: &Progress,
) -> Result<GroupPacing, Failure> {
    plan.perform(signer, progress).await?;
    let state = of_all_or_known(plan.target, &plan.group).await?;
    Ok(GroupPacing {
        group: plan.group,
        pacing: state.pace,
    })
}
