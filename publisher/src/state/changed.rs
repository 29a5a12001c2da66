//! The records that follow from a change of the signed state.

use packcast_protocol::state::TrustedRoots;
use packcast_protocol::{Location, LocationName};
use packcast_rollout::LocationRecord;
use packcast_rollout::state::StateChange;
use packcast_store::Records;

use super::commit::Committed;
use super::complete::{Completed, Completing};
use crate::clock::now;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;
use crate::warning::Warning;

/// A change of the signed state, whose records are still incomplete.
#[derive(Debug)]
#[must_use = "the records do not follow from the change yet"]
pub struct Changed<'a> {
    target: &'a Target,
    pub committed: Committed,
    locations: Vec<ChangedLocation>,
}

/// A location that the state has since the change, or does not have any more.
#[derive(Debug)]
struct ChangedLocation {
    name: LocationName,
    url: Option<Location>,
}

/// A change of the signed state with its records.
#[derive(Debug)]
pub struct CompletedChange {
    pub committed: Committed,
    pub records: Completed,
}

impl<'a> Changed<'a> {
    pub(super) fn new(target: &'a Target, committed: Committed, changes: &[StateChange]) -> Self {
        Self {
            target,
            committed,
            locations: changes.iter().filter_map(ChangedLocation::of).collect(),
        }
    }

    /// Completes the records of this change, and of earlier changes whose commands were
    /// interrupted.
    pub async fn complete(self, progress: &Progress) -> Result<CompletedChange, Failure> {
        let records = complete_records(self.target, progress).await?;
        for location in self.locations {
            location.record(&self.target.records).await?;
        }
        Ok(CompletedChange {
            committed: self.committed,
            records,
        })
    }
}

impl ChangedLocation {
    fn of(change: &StateChange) -> Option<Self> {
        match change {
            StateChange::AddLocation { location, url } => Some(Self {
                name: location.clone(),
                url: Some(url.clone()),
            }),
            StateChange::RemoveLocation { location } => Some(Self {
                name: location.clone(),
                url: None,
            }),
            _ => None,
        }
    }

    async fn record(self, records: &Records) -> Result<(), Failure> {
        let Self { name, url } = self;
        match url {
            Some(location) => {
                records
                    .add_location(&LocationRecord { name, location })
                    .await?;
            }
            None => {
                records.remove_location(&name).await?;
            }
        }
        Ok(())
    }
}

/// Completes the records of all changes of a target, so that they follow from its head.
///
/// The urgent records come first: afterwards no device is told of a withdrawn package. If the
/// interface stops the progress from then on, the function returns the records that are written so
/// far, and warns. The next command that changes the target completes the others.
pub(crate) async fn complete_records(
    target: &Target,
    progress: &Progress,
) -> Result<Completed, Failure> {
    // Boxed, because the futures of all commands contain it.
    Box::pin(complete_with(target, &target.trust()?, progress)).await
}

async fn complete_with(
    target: &Target,
    trust: &TrustedRoots,
    progress: &Progress,
) -> Result<Completed, Failure> {
    let completing = Completing::urgent(&target.records, trust, now()).await?;
    let urgent = completing.completed().clone();
    tokio::select! {
        completed = completing.rest(progress) => Ok(completed?),
        () = progress.stopped() => {
            target.warnings.push(incomplete());
            Ok(urgent)
        }
    }
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
}
