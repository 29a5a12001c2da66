//! The effect of a command on the signed state.

use packcast_rollout::state::ChangeOutcome;
use packcast_store::records::Head;

use super::commit::Committed;
use super::error::StateError;

impl Committed {
    /// Returns the outcome of each change, in the order of the changes.
    pub fn outcomes(&self) -> &[ChangeOutcome] {
        match self {
            Self::Done { outcomes, .. } | Self::AlreadySo { outcomes } => outcomes,
        }
    }

    /// Returns the new head of changes that always need a commit.
    pub(super) fn into_head(self) -> Result<Head, StateError> {
        match self {
            Self::Done { head, .. } => Ok(head),
            Self::AlreadySo { .. } => Err(StateError::NoHead),
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
