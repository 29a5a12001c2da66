//! The question of a device that is about to begin with a package.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::package::PackageId;
use crate::state::CommitId;
use crate::state::exchange::UsedMandates;

/// Time for which the answer [`BeginReply::Go`] is valid, in seconds from the device's request.
pub const GO_VALID_S: u64 = 60;

/// Body of a request to `/v1/begin`.
///
/// A device sends it directly before it starts a program or stores the first file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BeginRequest {
    /// Id of the package.
    pub id: PackageId,
    /// Number of the attempt.
    pub attempt: u32,
    /// The commit of the signed state that the device holds.
    pub commit: CommitId,
    /// The assignments that the attempt will use up, by that commit.
    pub mandates: UsedMandates,
}

/// Reply to the question. A device without a reply does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "answer")]
pub enum BeginReply {
    /// The device may begin, within a minute of its request.
    Go,
    /// The device does not begin, and asks again after a check-in.
    Wait {
        reason: HoldWord,
        /// Seconds after this reply in which the device does not ask again. Without this number, the
        /// device asks again after its next check-in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again_s: Option<u32>,
    },
}

impl BeginReply {
    /// Returns the answer to a device that asks again after its next check-in.
    pub const fn wait(reason: HoldWord) -> Self {
        Self::Wait {
            reason,
            again_s: None,
        }
    }
}

/// Reason of the answer `wait`, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldWord {
    /// An administrator has paused the whole target.
    Paused,
    /// The package is not active.
    Inactive,
    /// The package is not announced to the device any more, or in another attempt.
    Withdrawn,
    /// The device holds a commit that is too old, or that was replaced.
    Outdated,
    /// The wave of the device is not open yet.
    WaveClosed,
    /// Each place of the rollout is taken.
    RolloutFull,
    /// An administrator has paused the rollout.
    RolloutPaused,
    /// Failures have halted the rollout.
    RolloutHalted,
    /// The table was restored from a back-up, and the rollout was not resumed since.
    RolloutRestored,
    /// The rollout has ended, or does not exist.
    RolloutEnded,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}
