//! The effect of a command on the signed state.

use packcast_rollout::state::ChangeOutcome;

use super::commit::Committed;

impl Committed {
    /// Returns the outcome of each change, in the order of the changes.
    pub fn outcomes(&self) -> &[ChangeOutcome] {
        match self {
            Self::Done { outcomes, .. } | Self::AlreadySo { outcomes } => outcomes,
        }
    }

    /// Returns the number of the new commit; `None` if nothing was signed.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Done { head, .. } => Some(head.commit.id.number),
            Self::AlreadySo { .. } => None,
        }
    }
}
