//! The records that follow from changes of the signed state.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_rollout::{LocationRecord, PacingChange};
use packcast_store::records::GroupError;

use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, Kind, RETRY_HINT};
use crate::package::find_kept;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::target::Target;

/// Maximum number of attempts at erasing a group that gets devices or packages meanwhile.
const ATTEMPTS: u32 = 8;

/// Writes the records that follow from these changes, one after the other.
///
/// A record that already has its change stays as it is.
pub(crate) async fn write(
    target: &Target,
    changes: &[StateChange],
    signer: &Signer,
    progress: &Progress,
) -> Result<(), Failure> {
    let writer = RecordWriter { target, signer };
    progress.begin(Work::Recording, changes.iter().map(devices).sum());
    for change in changes {
        writer.write(change).await?;
        progress.advance(devices(change));
    }
    progress.end();
    Ok(())
}

/// Returns the number of devices whose records follow from a change.
fn devices(change: &StateChange) -> u64 {
    match change {
        StateChange::Join { devices, .. } | StateChange::Leave { devices, .. } => {
            devices.len() as u64
        }
        StateChange::Assign {
            to: EntryOwner::Device(_),
            ..
        }
        | StateChange::Unassign {
            from: EntryOwner::Device(_),
            ..
        } => 1,
        _ => 0,
    }
}

#[derive(Clone, Copy)]
struct RecordWriter<'a> {
    target: &'a Target,
    signer: &'a Signer,
}

impl RecordWriter<'_> {
    async fn write(self, change: &StateChange) -> Result<(), Failure> {
        let (records, signing) = (&self.target.records, self.signer.signing());
        match change {
            StateChange::Assign { to, assignment } => {
                let package = self.package(assignment.package).await?;
                self.assign(to, &package, assignment.force).await?;
            }
            StateChange::Unassign { from, package } => self.unassign(from, *package).await?,
            StateChange::Join { group, devices } => self.join(group, devices).await?,
            StateChange::Leave { group, devices } => self.leave(group, devices).await?,
            StateChange::CreateGroup { group } => {
                match records.create_group(group, signing).await {
                    Ok(_) | Err(GroupError::Exists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            StateChange::DeleteGroup { group } => self.erase(group).await?,
            StateChange::Prefer { group, location } => {
                records.prefer(group, location.as_ref(), signing).await?;
            }
            StateChange::Pace { group, pacing } => self.pace(group, pacing).await?,
            StateChange::AddLocation { location, url } => {
                let record = LocationRecord {
                    name: location.clone(),
                    location: url.clone(),
                };
                records.add_location(&record).await?;
            }
            StateChange::RemoveLocation { location } => {
                records.remove_location(location).await?;
            }
            // No revert makes these changes.
            StateChange::RemoveDevices { .. } | StateChange::Prune { .. } | StateChange::Renew => {}
        }
        Ok(())
    }

    async fn package(self, package: PackageId) -> Result<PackageRecord, Failure> {
        let reference = package.to_string().parse().map_err(Failure::failed)?;
        find_kept(self.target, &reference).await
    }

    async fn assign(
        self,
        to: &EntryOwner,
        package: &PackageRecord,
        force: bool,
    ) -> Result<(), Failure> {
        let (records, signing) = (&self.target.records, self.signer.signing());
        match to {
            EntryOwner::Group(group) => {
                records.assign_group(group, package, force, signing).await?;
            }
            EntryOwner::Device(device) => {
                records.assign(device, package, force, signing).await?;
            }
        }
        Ok(())
    }

    async fn unassign(self, from: &EntryOwner, package: PackageId) -> Result<(), Failure> {
        let (records, signing) = (&self.target.records, self.signer.signing());
        match from {
            EntryOwner::Group(group) => {
                match records.unassign_group(group, package, signing).await {
                    Ok(_) | Err(GroupError::NotAssigned { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            EntryOwner::Device(device) => {
                if let Some(package) = records.package(package).await? {
                    records.unassign(device, &package, signing).await?;
                }
            }
        }
        Ok(())
    }

    async fn pace(self, group: &GroupName, pacing: &PacingChange) -> Result<(), Failure> {
        let (records, signing) = (&self.target.records, self.signer.signing());
        records.pace_group(group, pacing, signing).await?;
        Ok(())
    }

    async fn join(self, group: &GroupName, devices: &BTreeSet<DeviceId>) -> Result<(), Failure> {
        stream::iter(devices)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |device| async move {
                let (records, signing) = (&self.target.records, self.signer.signing());
                records.join(device, group, signing).await?;
                Ok::<_, Failure>(())
            })
            .await
    }

    async fn leave(self, group: &GroupName, devices: &BTreeSet<DeviceId>) -> Result<(), Failure> {
        stream::iter(devices)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |device| async move {
                let (records, signing) = (&self.target.records, self.signer.signing());
                records.leave(device, group, signing).await?;
                Ok::<_, Failure>(())
            })
            .await
    }

    /// Erases the record of a group, after its packages and its devices.
    async fn erase(self, group: &GroupName) -> Result<(), Failure> {
        let (target, records) = (self.target, &self.target.records);
        for _ in 0..ATTEMPTS {
            let Some(state) = records.group(group).await? else {
                return Ok(());
            };
            // The packages come first: from here on no package is announced for this group.
            for assignment in &state.assignments {
                let from = EntryOwner::Group(group.clone());
                self.unassign(&from, assignment.package).await?;
            }
            let devices = target.records.members(group).await?;
            self.leave(group, &devices.into_iter().collect()).await?;
            if records.delete_group(group).await? {
                return Ok(());
            }
        }
        Err(Failure::new(Kind::TryLater, not_erased(group)).hint(RETRY_HINT))
    }
}

fn not_erased(group: &GroupName) -> String {
    format!("cannot erase the record of the deleted group {group}: it gets devices or packages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let group = "lab".parse().unwrap();
        insta::assert_snapshot!(not_erased(&group), @"cannot erase the record of the deleted group lab: it gets devices or packages");
    }
}
