//! The records that follow from a change of the signed state.

use std::collections::BTreeSet;

use packcast_protocol::LocationName;
use packcast_protocol::state::TrustedRoots;
use packcast_rollout::state::StateChange;

use super::commit::{Committed, Leaves};
use super::compare::{check_lists, compare};
use super::complete::{Completed, Completing, Scope, complete_locations};
use super::error::StateError;
use super::reader::TargetState;
use crate::clock::now;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;
use crate::signing::memory_file::MemoryFile;
use crate::target::Target;
use crate::warning::Warning;

/// A change of the signed state, whose records are still incomplete.
#[derive(Debug)]
#[must_use = "the records do not follow from the change yet"]
pub struct Changed<'a> {
    target: &'a Target,
    pub committed: Committed,
    /// Leaves that the commit has changed.
    pub(crate) leaves: Leaves,
    /// Locations that the change leaves as they were. Their records may be missing or wrong.
    unchanged: BTreeSet<LocationName>,
}

/// A change of the signed state with its records.
#[derive(Debug)]
pub struct CompletedChange {
    pub committed: Committed,
    pub records: Completed,
}

impl<'a> Changed<'a> {
    pub(super) fn new(
        target: &'a Target,
        (committed, leaves): (Committed, Leaves),
        changes: &[StateChange],
    ) -> Self {
        let locations = changes.iter().filter_map(|change| match change {
            StateChange::AddLocation { location, .. }
            | StateChange::RemoveLocation { location } => Some(location.clone()),
            _ => None,
        });
        let unchanged = match &committed {
            Committed::AlreadySo { .. } => locations.collect(),
            Committed::Done { .. } => BTreeSet::new(),
        };
        Self {
            target,
            committed,
            leaves,
            unchanged,
        }
    }

    /// Completes the records of this change, and of earlier changes whose commands were
    /// interrupted.
    pub async fn complete(self, progress: &Progress) -> Result<CompletedChange, Failure> {
        self.complete_scope(Scope::Changed, progress).await
    }

    /// Completes the records as [`Changed::complete`] does, or writes all records again.
    pub async fn complete_scope(
        self,
        scope: Scope,
        progress: &Progress,
    ) -> Result<CompletedChange, Failure> {
        let records = complete_after_change(self.target, scope, progress).await?;
        if !self.unchanged.is_empty() {
            let trust = self.target.trust()?;
            complete_locations(&self.target.records, &trust, &self.unchanged).await?;
        }
        Ok(CompletedChange {
            committed: self.committed,
            records,
        })
    }
}

/// Completes the records of all changes of a target, for a command that has nothing to change.
///
/// # Errors
/// This machine does not know the head, or the head leaves out a commit that the machine remembers:
/// the records of later changes must not go back to it.
pub(crate) async fn complete_records(
    target: &Target,
    progress: &Progress,
) -> Result<Completed, Failure> {
    check_head(target).await?;
    complete_after_change(target, Scope::Changed, progress).await
}

/// Compares the head and the key lists with the memory of this machine. A target without commits
/// has no records to complete.
async fn check_head(target: &Target) -> Result<(), Failure> {
    let trust = target.trust()?;
    let mut state = TargetState::read(&target.records, &trust).await?;
    if state.head.is_some() {
        let mut memory = MemoryFile::open(&target.state_memory, &trust).await?;
        // By an earlier list, the commits of a new key count nowhere.
        check_lists(&mut memory, &state)?;
        compare(&target.records, &mut memory, &mut state, None, now()).await?;
    }
    Ok(())
}

/// Completes the records of all changes of a target, so that they follow from its head, which this
/// machine has made or compared with its memory.
///
/// The urgent records come first: afterwards no device is told of a withdrawn package. If the
/// interface stops the progress from then on, the function returns the records that are written so
/// far, and warns. The next command that changes the target completes the others. If the records of a
/// group or device could not be written, it returns this error: perhaps a device is still told. With
/// [`Scope::All`] it returns an error instead: the next command does not know of wrong records.
pub(super) async fn complete_after_change(
    target: &Target,
    scope: Scope,
    progress: &Progress,
) -> Result<Completed, Failure> {
    // Boxed, because the futures of all commands contain it.
    Box::pin(complete_with(target, &target.trust()?, scope, progress)).await
}

async fn complete_with(
    target: &Target,
    trust: &TrustedRoots,
    scope: Scope,
    progress: &Progress,
) -> Result<Completed, Failure> {
    let mut completing = Completing::urgent(&target.records, trust, now(), scope).await?;
    let urgent = completing.completed();
    tokio::select! {
        completed = completing.write_remaining(progress) => Ok(completed?),
        () = progress.stopped() => match (completing.take_failed(), scope) {
            (Some(failed), Scope::Changed) => Err(StateError::from(failed).into()),
            (Some(failed), Scope::All) => {
                Err(Failure::from(StateError::from(failed)).hint(WRITE_ALL))
            }
            (None, Scope::Changed) => {
                target.warnings.push(incomplete());
                Ok(urgent)
            }
            (None, Scope::All) => Err(interrupted()),
        }
    }
}

const WRITE_ALL: &str = "run 'packcast sign --all-records' to write all records again";

fn interrupted() -> Failure {
    let message = "the commit is stored, but the command was interrupted before all records were written again: wrong records may remain";
    Failure::new(Kind::TryLater, message).hint(WRITE_ALL)
}

fn incomplete() -> Warning {
    Warning::new(
        "interrupted before all records were complete: devices without their record get new packages later",
    )
    .hint("run the same command again, or any command that changes the target, to complete the records")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_incomplete_records() {
        insta::assert_snapshot!(incomplete(), @r"
        warning: interrupted before all records were complete: devices without their record get new packages later
        hint: run the same command again, or any command that changes the target, to complete the records
        ");
    }

    #[test]
    fn an_error_of_records_that_are_not_written_again() {
        insta::assert_snapshot!(interrupted(), @r"
        the commit is stored, but the command was interrupted before all records were written again: wrong records may remain
        hint: run 'packcast sign --all-records' to write all records again
        ");
    }
}
