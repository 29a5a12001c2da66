//! Renewal of the signed state, before it expires.

use packcast_protocol::UnixTime;
use packcast_protocol::state::CommitId;
use packcast_rollout::state::StateChange;
use serde::Serialize;

use super::commit::Committed;
use super::complete::Scope;
use super::error::StateError;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::target::Target;

/// A state that was signed again, without a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenewedState {
    pub commit: CommitId,
    pub expires: UnixTime,
    /// End of the validity of the key list, which is renewed, too, if it expires within 60 days and
    /// the key of the signer is a root key.
    pub keys_expire: UnixTime,
}

/// Signs the state of a target again, for this time in seconds. Reads the key of the signer, and
/// completes the records of interrupted commands, or all records.
pub async fn renew(
    target: &Target,
    signer: &mut Signer,
    valid_for_s: u64,
    scope: Scope,
    progress: &Progress,
) -> Result<RenewedState, Failure> {
    let mut state = signer.changer(target).await?.valid_for(valid_for_s);
    let (changed, validity) = state
        .change_with_validity(&[StateChange::Renew], "packcast sign")
        .await?;
    let expires = validity.commit.ok_or(StateError::NoHead)?;
    let keys_expire = validity.keys.ok_or(StateError::NoKeyList)?;
    let Committed::Done { head, .. } = changed.complete_scope(scope, progress).await?.committed
    else {
        return Err(StateError::NoHead.into());
    };
    Ok(RenewedState {
        commit: head.commit.id,
        expires,
        keys_expire,
    })
}
