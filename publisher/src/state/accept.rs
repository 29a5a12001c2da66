//! Confirmation of the head, for a machine that does not know it.

use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{AboutDocument, CommitId, Document, TrustedRoots};
use packcast_store::Records;
use serde::Serialize;

use super::compare::{check_lists, compare};
use super::error::StateError;
use super::reader::{TargetState, VerifiedHead};
use crate::clock::now;
use crate::failure::Failure;
use crate::signing::memory_file::MemoryFile;
use crate::target::Target;

/// The head of a target, as a person compares it with another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownHead {
    pub commit: CommitId,
    /// The publisher key that has signed the commit.
    pub key: PublicKey,
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// Author, machine and command. `None` if the table has lost them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<AboutDocument>,
}

/// Returns the verified head of a target, whether or not this machine knows it.
pub async fn shown_head(target: &Target) -> Result<ShownHead, Failure> {
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    shown(target, head(&state)?).await
}

/// Confirms the head, and remembers it. The head must be this commit, or contain it.
///
/// # Errors
/// A head that leaves out a remembered commit is refused even so.
pub async fn accept_head(target: &Target, commit: CommitId) -> Result<ShownHead, Failure> {
    let trust = target.trust()?;
    let mut memory = MemoryFile::open(&target.state_memory, &trust).await?;
    let state = remember(&target.records, &trust, &mut memory, commit, now()).await?;
    shown(target, head(&state)?).await
}

/// Remembers the head if it is this commit, or contains it.
pub(super) async fn remember(
    records: &Records,
    trust: &TrustedRoots,
    memory: &mut MemoryFile,
    commit: CommitId,
    now: UnixTime,
) -> Result<TargetState, StateError> {
    let mut state = TargetState::read(records, trust).await?;
    check_lists(memory, &state)?;
    compare(records, memory, &mut state, Some(commit), now).await?;
    Ok(state)
}

fn head(state: &TargetState) -> Result<&VerifiedHead, StateError> {
    state.head.as_ref().ok_or(StateError::NoHead)
}

pub(super) async fn shown(target: &Target, head: &VerifiedHead) -> Result<ShownHead, Failure> {
    let commit = &head.commit;
    let texts = target.records.documents(&[commit.about]).await?;
    let about = texts.into_iter().next();
    let about = about.and_then(|text| Document::<AboutDocument>::read(text).ok());
    Ok(ShownHead {
        commit: commit.id(),
        key: commit.signer().clone(),
        issued: commit.issued,
        expires: commit.expires,
        about: about.map(|about| (*about).clone()),
    })
}
