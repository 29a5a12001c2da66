//! The signed state of a table that an administrator has restored from a back-up.

use std::collections::BTreeSet;

use packcast_protocol::state::CommitId;
use serde::Serialize;

use crate::failure::Failure;
use crate::log::logged;
use crate::owned_commit::OwnedCommit;
use crate::signing::memory_file::MemoryFile;
use crate::state::accept::{ShownHead, shown_head};
use crate::state::restored::LeftOut;
use crate::state::{History, StateError};
use crate::target::Target;

/// A restored head, before a person confirms it.
#[derive(Debug, Serialize)]
pub struct RestoredHead {
    pub head: ShownHead,
    /// The commits that the head leaves out, the newest first.
    pub left_out: Vec<OwnedCommit>,
    /// Serial numbers of the key lists that the table lacks, and that the next commit stores again.
    pub lists: Vec<u64>,
}

/// Returns the head of a restored table, and everything that it leaves out. `also` are commits that
/// devices hold and no machine remembers.
///
/// # Errors
/// This machine remembers nothing of the target, or the head leaves out nothing.
pub async fn restored_head(
    target: &Target,
    also: &BTreeSet<CommitId>,
) -> Result<RestoredHead, Failure> {
    let trust = target.trust()?;
    let head = shown_head(target).await?;
    let memory = MemoryFile::open(&target.state_memory, &trust).await?;
    let memory = memory.memory();
    let mut history = History::begin(&target.records, &trust).await?;
    let left_out = LeftOut::find(&mut history, memory, &trust, also).await?;
    if !memory.knows_a_head() && also.is_empty() {
        return Err(StateError::UnknownHead { head: head.commit }.into());
    }
    if left_out.is_empty() {
        return Err(StateError::NothingRestored.into());
    }
    let commits = logged(&history, left_out.commits).await?;
    Ok(RestoredHead {
        head,
        left_out: OwnedCommit::all(commits, memory),
        lists: left_out.lists.iter().map(|list| list.id.serial).collect(),
    })
}
