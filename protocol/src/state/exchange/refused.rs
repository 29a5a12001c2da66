//! A state that a device has refused, as its request says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::state::commit::CommitId;

/// The last state that a device has refused.
///
/// The function counts it and does not send the same commit with each reply. An administrator
/// adopts a commit that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedState {
    /// The commit of the state; absent if the device could not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    pub reason: RefusalWord,
}

/// Reason for refusing a state, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalWord {
    /// The commit does not contain the commit that the device holds.
    LeavesOut,
    /// The reply does not show whether the commit contains the commit that the device holds.
    NotShown,
    /// The device holds another commit with the same number.
    Fork,
    /// The number is below that of a commit that the device has accepted, or below the lowest
    /// number of the key list.
    Stale,
    /// The newest key list does not name the key, or the signature does not verify.
    Key,
    /// The state belongs to another target.
    Target,
    /// A tree does not belong to the commit.
    Tree,
    /// The state is too large, or a newer version has written it.
    Unreadable,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn a_refused_state_reads_back_and_a_later_reason_is_kept_as_other() {
        let commit = CommitId {
            number: 7,
            digest: Sha256Digest::of(b""),
        };
        let refused = RefusedState {
            commit: Some(commit),
            reason: RefusalWord::LeavesOut,
        };
        let text = serde_json::to_string(&refused).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"commit":"{commit}","reason":"leaves_out"}}"#)
        );
        assert_eq!(
            serde_json::from_str::<RefusedState>(&text).unwrap(),
            refused
        );
        let later: RefusedState = serde_json::from_str(r#"{"reason":"witness"}"#).unwrap();
        let other = RefusedState {
            commit: None,
            reason: RefusalWord::Other,
        };
        assert_eq!(later, other);
    }
}
