//! Assignments that Packcast agents would take for a downgrade.
//!
//! A Packcast agent that has deployed a later package of the same name waits, unless the assignment
//! allows the downgrade. The publisher tells the administrator before the commit.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, PackageVersion};
use packcast_rollout::PackageRecord;

use crate::assignees::AssigneeNames;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::named;
use crate::target::Target;
use crate::text::for_target;
use crate::warning::Warning;

/// The packages of the same name that were published after a package, in the order of their ids.
#[derive(Debug)]
pub(crate) struct LaterPackages(Vec<PackageRecord>);

impl LaterPackages {
    pub(crate) async fn find(target: &Target, package: &PackageRecord) -> Result<Self, Failure> {
        let mut ids = target.records.ids_of(&package.name).await?;
        ids.retain(|id| *id > package.id);
        let ids: Vec<PackageId> = ids.into_iter().collect();
        Ok(Self(target.records.packages_of(&ids).await?))
    }

    /// Returns the version of the latest package that each Packcast agent has deployed.
    ///
    /// OCS agents deploy packages in any order.
    pub(crate) async fn deployed_on(
        &self,
        target: &Target,
        devices: &[DeviceId],
    ) -> Result<BTreeMap<DeviceId, PackageVersion>, Failure> {
        if self.0.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: BTreeSet<PackageId> = self.0.iter().map(|package| package.id).collect();
        let agents = devices
            .iter()
            .filter(|device| matches!(device, DeviceId::Agent(_)));
        let found: Vec<Option<(DeviceId, PackageVersion)>> = stream::iter(agents)
            .map(|device| {
                let ids = &ids;
                async move {
                    let finished = target.records.finished_of(device, ids).await?;
                    let succeeded = |package: &&PackageRecord| {
                        let result = finished.get(&package.id);
                        result.is_some_and(|result| result.outcome == Outcome::Succeeded)
                    };
                    let latest = self.0.iter().rev().find(succeeded);
                    let version = latest.map(|latest| latest.version.clone());
                    Ok::<_, Failure>(version.map(|version| (device.clone(), version)))
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Warns of the latest package that one of the groups has, or that any device has deployed. `hint`
    /// is the way to allow the downgrade.
    pub(crate) async fn warn_of_groups(
        &self,
        target: &Target,
        package: &PackageRecord,
        groups: &[GroupName],
        hint: &str,
    ) -> Result<Option<Warning>, Failure> {
        for later in self.0.iter().rev() {
            let with = target.records.groups_with(later.id).await?;
            let is_assigned = groups.iter().any(|group| with.contains(group));
            if is_assigned || target.records.tally(later.id).await?.succeeded > 0 {
                return Ok(Some(downgrade(package, later, hint)));
            }
        }
        Ok(None)
    }
}

/// Returns the command that assigns a package with a downgrade, as a hint.
pub(crate) fn assign_hint(package: &PackageRecord, to: &AssigneeNames, target: &str) -> String {
    let package = named(package);
    for_target(
        &format!("run 'packcast assign {package} {to} --allow-downgrade' to allow the downgrade"),
        target,
    )
}

fn downgrade(package: &PackageRecord, later: &PackageRecord, hint: &str) -> Warning {
    let (package, later) = (named(package), named(later));
    Warning::new(format!(
        "{later} was published later: Packcast agents that have deployed it do not downgrade to {package}"
    ))
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::expiring;

    #[test]
    fn a_warning_of_a_downgrade_shows_the_command_that_allows_it() {
        let package = expiring(None);
        let later = PackageRecord {
            version: "2".parse().unwrap(),
            ..package.clone()
        };
        let to = AssigneeNames::Groups(vec!["lab".parse().unwrap()]);
        insta::assert_snapshot!(downgrade(&package, &later, &assign_hint(&package, &to, "prod")), @"
        warning: tool@2 was published later: Packcast agents that have deployed it do not downgrade to tool@1
        hint: run 'packcast --target prod assign tool@1 --group lab --allow-downgrade' to allow the downgrade
        ");
    }
}
