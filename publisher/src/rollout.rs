//! Rollouts: a package reaches its groups in waves.
//!
//! The calendar of a rollout is a signed document. The gate is a record that the function asks before
//! a device begins. A rollout is live as long as the signed state has its document.

mod control;
mod end;
mod live;
mod members;
mod promote;
mod show;
mod start;
#[cfg(test)]
mod tests;

pub(crate) use self::control::permitted_s;
pub use self::control::{ControlPlan, RolloutChanged, plan_pause, plan_resume};
pub use self::end::{EndPlan, RolloutEnded, plan_end, plan_finish};
pub(crate) use self::live::warn_of_live;
pub use self::live::{RolloutSummary, has_live, is_rolled_out, list, list_without_sizes};
pub use self::promote::{PromotePlan, RolloutPromoted, plan_promotion};
pub use self::show::{
    Awaited, RolloutDetails, RolloutFailure, RolloutReader, RolloutRound, RolloutWave,
    SilentDevice, WaveStates,
};
pub use self::start::{
    LimitChoices, PlannedRollout, RolloutDraw, RolloutStarted, StartPlan, StartRequest, WaveBounds,
    WithoutRollout, plan_start,
};
