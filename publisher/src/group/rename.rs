//! Gives a group another name.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{ChangeOutcome, StateChange, StatePart, check_rename};
use packcast_store::records::Tally;
use serde::Serialize;

use super::not_all;
use crate::failure::Failure;
use crate::known_group::{GroupRefusal, unknown};
use crate::package::named;
use crate::preview::Preview;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::state::current_groups_and_rollouts;
use crate::target::Target;
use crate::warning::Warning;

/// Number of packages that a refusal names.
const NAMED: usize = 5;

/// The result of renaming a group.
#[derive(Debug, Serialize)]
pub struct GroupRenamed {
    /// The earlier name.
    pub group: GroupName,
    #[serde(rename = "new_name")]
    pub to: GroupName,
    /// The number of devices in the group.
    pub devices: usize,
    /// Number of the commit; `None` if the group had the name already.
    pub commit: Option<u64>,
}

/// A new name of a group whose conditions hold. Nothing is changed yet.
#[derive(Debug)]
pub struct RenamePlan<'a> {
    target: &'a Target,
    group: GroupName,
    to: GroupName,
    affected: AffectedPackages,
    /// The command for the document about the commit.
    command: String,
    preview: Preview,
}

/// The assigned packages whose devices change with the name, because their signed manifests name
/// groups.
#[derive(Debug, Default)]
struct AffectedPackages {
    /// Packages for the present name only: devices in the group no longer begin with them.
    waiting: Vec<PackageRecord>,
    /// Packages for the new name only: devices in the group may begin with them.
    beginning: Vec<PackageRecord>,
}

impl AffectedPackages {
    const fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.beginning.is_empty()
    }
}

impl RenamePlan<'_> {
    /// Returns the effect of the change.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the changes of the signed state.
    pub fn state_changes(&self) -> Vec<StateChange> {
        vec![StateChange::RenameGroup {
            group: self.group.clone(),
            to: self.to.clone(),
        }]
    }

    /// Returns warnings about packages whose devices change with the name.
    pub fn warnings(&self) -> Vec<Warning> {
        let AffectedPackages { waiting, beginning } = &self.affected;
        let waiting = waiting.iter().map(|it| waits(&self.group, &self.to, it));
        let beginning = beginning.iter();
        let beginning = beginning.map(|it| begins(&self.group, &self.to, it));
        waiting.chain(beginning).collect()
    }
}

/// Plans to give a group another name.
///
/// A package that only devices in this group may deploy names the group in its signed manifest. If
/// such a package is assigned, devices in the renamed group do not begin with it. If the manifest of
/// an assigned package names the new name, they begin with that package.
///
/// # Errors
/// The group does not exist, another group has the name, a rollout names one of both groups, or
/// without `force` a package that is assigned is only for one of both names.
pub async fn plan_rename<'a>(
    target: &'a Target,
    group: &GroupName,
    to: &GroupName,
    force: bool,
) -> Result<RenamePlan<'a>, Failure> {
    not_all(group)?;
    if group == to {
        return Err(Failure::usage(format!(
            "group {group} has this name already"
        )));
    }
    let state = current_groups_and_rollouts(target).await?;
    let document = |name: &GroupName| state.group(name).ok().flatten();
    // An interrupted command may have renamed the group, and not completed its records.
    let is_renamed = document(group).is_none()
        && document(to).is_some_and(|document| document.origin(to).name == *group);
    if document(group).is_none() && !is_renamed {
        return Err(unknown(group));
    }
    if !is_renamed && (to.is_all() || document(to).is_some()) {
        let group = to.clone();
        return Err(GroupRefusal::Exists { group }.into());
    }
    let affected = if is_renamed {
        AffectedPackages::default()
    } else {
        check_rename(&state, group, to).map_err(Failure::conflict)?;
        affected_packages(target, group, to, &state).await?
    };
    if !affected.is_empty() && !force {
        return Err(refused(group, to, &affected));
    }
    let options = if force { " --force" } else { "" };
    let sized = if is_renamed { to } else { group };
    let preview = Preview::new(format!("Renames group {group} to {to}"))
        .with_packages(affected.waiting.iter().map(named))
        .with_packages(affected.beginning.iter().map(named))
        .with_groups(target, std::slice::from_ref(sized))
        .await?;
    Ok(RenamePlan {
        target,
        group: group.clone(),
        to: to.clone(),
        affected,
        command: format!("packcast group rename {group} {to}{options}"),
        preview,
    })
}

/// Gives a group another name with one commit, as [`plan_rename`] has planned. Its devices stay
/// members, and act on no package again.
pub async fn rename(
    plan: RenamePlan<'_>,
    mut signer: Signer,
    progress: &Progress,
) -> Result<GroupRenamed, Failure> {
    let (changes, warnings) = (plan.state_changes(), plan.warnings());
    let RenamePlan {
        target, group, to, ..
    } = plan;
    let done = signer
        .change(target, &changes, &plan.command, progress)
        .await?;
    for warning in warnings {
        target.warnings.push(warning);
    }
    let devices = match done.committed.outcomes() {
        [ChangeOutcome::Devices { changed, .. }] => changed.len(),
        _ => usize::try_from(target.records.size(&to).await?).unwrap_or(usize::MAX),
    };
    Ok(GroupRenamed {
        group,
        to,
        devices,
        commit: done.committed.number(),
    })
}

/// Returns the packages that are assigned, and that are only for devices in some groups, with one
/// of the two names among them.
async fn affected_packages(
    target: &Target,
    group: &GroupName,
    to: &GroupName,
    state: &StatePart,
) -> Result<AffectedPackages, Failure> {
    let documents = state.groups().filter_map(|(_, document)| document);
    let entries = documents.flat_map(|document| document.packages.as_slice());
    let of_groups: BTreeSet<PackageId> = entries.map(|entry| entry.package).collect();
    let mut affected = AffectedPackages::default();
    for package in target.records.packages(usize::MAX).await? {
        let Audience::Groups(audience) = &package.audience else {
            continue;
        };
        let of_kind = match (audience.contains(group), audience.contains(to)) {
            (true, false) => &mut affected.waiting,
            (false, true) => &mut affected.beginning,
            // The devices stay among those of the package, or outside.
            (true, true) | (false, false) => continue,
        };
        if package.is_deleted() {
            continue;
        }
        if of_groups.contains(&package.id) || is_open(&target.records.tally(package.id).await?) {
            of_kind.push(package);
        }
    }
    Ok(affected)
}

/// Returns true if a device has a task for the package, also one of its own.
const fn is_open(tally: &Tally) -> bool {
    tally.waiting() > 0 || tally.announced > 0
}

fn refused(group: &GroupName, to: &GroupName, affected: &AffectedPackages) -> Failure {
    let AffectedPackages { waiting, beginning } = affected;
    let mut reasons = Vec::new();
    if !waiting.is_empty() {
        reasons.push(format!(
            "these packages are assigned, and their signed manifests allow only devices in group {group}: {}",
            first_names(waiting)
        ));
    }
    if !beginning.is_empty() {
        reasons.push(format!(
            "these packages are assigned for devices in group {to}, so devices in the renamed group would begin with them: {}",
            first_names(beginning)
        ));
    }
    let hint = if waiting.is_empty() {
        format!(
            "unassign these packages, or choose another name, or run 'packcast group rename {group} {to} --force': devices then begin with them"
        )
    } else {
        format!(
            "publish new versions with '--only-for-group {to}' and unassign these packages, or run 'packcast group rename {group} {to} --force': devices that have not deployed them then wait"
        )
    };
    Failure::conflict(format!(
        "cannot rename group {group}: {}",
        reasons.join("; ")
    ))
    .hint(hint)
}

fn first_names(packages: &[PackageRecord]) -> String {
    let names: Vec<String> = packages.iter().take(NAMED).map(named).collect();
    let others = packages.len() - names.len();
    let others = (others > 0).then(|| format!(" and {others} more"));
    format!("{}{}", names.join(", "), others.unwrap_or_default())
}

fn waits(group: &GroupName, to: &GroupName, package: &PackageRecord) -> Warning {
    let name = named(package);
    Warning::new(format!(
        "package {name} is only for devices in group {group}: devices that have not deployed it wait"
    ))
    .hint(format!(
        "publish a new version with '--only-for-group {to}', and unassign {name}"
    ))
}

fn begins(group: &GroupName, to: &GroupName, package: &PackageRecord) -> Warning {
    let name = named(package);
    Warning::new(format!(
        "package {name} is for devices in group {to}: devices that were in group {group} may begin with it"
    ))
    .hint(format!("if they must not begin with it, unassign {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use packcast_rollout::PackageState;

    use crate::rendered::{failures, package_record};

    #[test]
    fn a_refusal_names_the_packages_for_the_group() {
        let (group, to) = ("lab".parse().unwrap(), "office".parse().unwrap());
        let packages = |number: usize| -> Vec<PackageRecord> {
            (0..number)
                .map(|_| package_record(PackageState::Draft))
                .collect()
        };
        let refused = |waiting, beginning| {
            let affected = AffectedPackages {
                waiting: packages(waiting),
                beginning: packages(beginning),
            };
            refused(&group, &to, &affected)
        };
        insta::assert_snapshot!(failures([refused(6, 0), refused(0, 1), refused(1, 1)]), @"
        Conflict: cannot rename group lab: these packages are assigned, and their signed manifests allow only devices in group lab: tool@1, tool@1, tool@1, tool@1, tool@1 and 1 more
        hint: publish new versions with '--only-for-group office' and unassign these packages, or run 'packcast group rename lab office --force': devices that have not deployed them then wait
        Conflict: cannot rename group lab: these packages are assigned for devices in group office, so devices in the renamed group would begin with them: tool@1
        hint: unassign these packages, or choose another name, or run 'packcast group rename lab office --force': devices then begin with them
        Conflict: cannot rename group lab: these packages are assigned, and their signed manifests allow only devices in group lab: tool@1; these packages are assigned for devices in group office, so devices in the renamed group would begin with them: tool@1
        hint: publish new versions with '--only-for-group office' and unassign these packages, or run 'packcast group rename lab office --force': devices that have not deployed them then wait
        ");
        let package = package_record(PackageState::Draft);
        insta::assert_snapshot!(waits(&group, &to, &package), @"
        warning: package tool@1 is only for devices in group lab: devices that have not deployed it wait
        hint: publish a new version with '--only-for-group office', and unassign tool@1
        ");
        insta::assert_snapshot!(begins(&group, &to, &package), @"
        warning: package tool@1 is for devices in group office: devices that were in group lab may begin with it
        hint: if they must not begin with it, unassign tool@1
        ");
    }
}
