//! Renewal of the signed state, before it expires.

use packcast_protocol::UnixTime;
use packcast_protocol::state::CommitId;
use packcast_rollout::state::StateChange;
use serde::Serialize;

use super::changed::Changed;
use super::commit::Validity;
use super::complete::Scope;
use super::error::StateError;
use super::restored::Restoration;
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
///
/// To write all records, the function makes two commits, and writes the records after each.
/// Somebody who could write to the table knows the order of the next commit, and may have forged
/// records with it. After the first commit, such records count as written.
pub async fn renew(
    target: &Target,
    signer: &mut Signer,
    valid_for_s: u64,
    scope: Scope,
    progress: &Progress,
) -> Result<RenewedState, Failure> {
    let renewed = renew_once(target, signer, valid_for_s, scope, progress).await?;
    match scope {
        Scope::Changed => Ok(renewed),
        Scope::All => renew_once(target, signer, valid_for_s, scope, progress).await,
    }
}

async fn renew_once(
    target: &Target,
    signer: &mut Signer,
    valid_for_s: u64,
    scope: Scope,
    progress: &Progress,
) -> Result<RenewedState, Failure> {
    let mut state = signer.changer(target).await?.valid_for(valid_for_s);
    let changed = state.change_with_validity(&[StateChange::Renew], "packcast sign");
    let (changed, validity) = changed.await?;
    completed(changed, validity, scope, progress).await
}

/// Signs a commit on the head of a restored table, and writes all records again.
///
/// The commit contains all commits that the head leaves out, and repeats their removals. A warning
/// names each commit whose removals the table has lost. As [`renew`] does, the function makes a
/// second commit: a lost commit may have written records of the same number.
pub async fn renew_restored(
    target: &Target,
    signer: &mut Signer,
    restoration: &Restoration<'_>,
    valid_for_s: u64,
    progress: &Progress,
) -> Result<RenewedState, Failure> {
    let mut state = signer.changer(target).await?.valid_for(valid_for_s);
    let changed = state.restore(restoration, "packcast sign --restored");
    let (changed, validity) = changed.await?;
    completed(changed, validity, Scope::All, progress).await?;
    renew_once(target, signer, valid_for_s, Scope::All, progress).await
}

async fn completed(
    changed: Changed<'_>,
    validity: Validity,
    scope: Scope,
    progress: &Progress,
) -> Result<RenewedState, Failure> {
    let expires = validity.commit.ok_or(StateError::NoHead)?;
    let keys_expire = validity.keys.ok_or(StateError::NoKeyList)?;
    let completed = changed.complete_scope(scope, progress).await?;
    Ok(RenewedState {
        commit: completed.committed.into_head()?.commit.id,
        expires,
        keys_expire,
    })
}
