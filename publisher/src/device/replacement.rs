//! Replacement of a device by a new one: a machine that was installed again checks in under another
//! id.
//!
//! The new device takes the place of the old one in the signed state with one commit. Then the old
//! device is removed as [`removal`](super::removal) does. After an interruption, the same operation
//! completes the replacement.

use std::collections::BTreeSet;

use packcast_protocol::state::{Entries, LeafName};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::replacement::{NoReplacement, SameMachine, check_replacement};
use packcast_rollout::state::{NewAssignment, NotLoaded, StateChange, StatePart};
use packcast_rollout::{DeviceRecord, Exclusion, FinishedTask};
use serde::Serialize;

use super::exclusion::{self, DeviceResult};
use super::removal::{ToRemove, remove, seen_again};
use super::unknown;
use crate::assign;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::package::named;
use crate::preview::Preview;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::state::current_part;
use crate::status::GroupSize;
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// The outcome of a package that the old device has finished.
const FINISHED: &str = "finished";

/// A replacement whose conditions hold. Nothing is changed yet.
#[derive(Debug)]
pub struct ReplacementPlan<'a> {
    target: &'a Target,
    old: ToRemove,
    new: DeviceId,
    groups: Vec<GroupName>,
    packages: Vec<PackageOfOld>,
    change: StateChange,
    preview: Preview,
    warnings: Vec<Warning>,
}

/// The result of a replacement.
#[derive(Debug, Serialize)]
pub struct DeviceReplaced {
    /// The old device.
    pub device: DeviceId,
    pub replaced_by: DeviceId,
    /// Host name of the old device; empty if the device has no record any more.
    pub host_name: String,
    /// The groups that the new device has joined.
    pub groups: Vec<GroupName>,
    /// The packages that were assigned to the old device itself.
    pub packages: Vec<PackageOfOld>,
    /// Number of the commit; `None` if the signed state has not changed.
    pub commit: Option<u64>,
    /// The outcome of the removal of the old device.
    pub result: DeviceResult,
}

/// A package that was assigned to the old device itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageOfOld {
    /// The package, as `name@version`.
    pub package: String,
    /// `assigned` if the new device is assigned the package, or `finished` if the old device has
    /// finished the package. Otherwise the reason, in the words of an assignment.
    pub result: &'static str,
    /// The new device is assigned the package.
    #[serde(skip)]
    pub is_assigned: bool,
}

/// Decides on the replacement of a device. Nothing is changed yet.
///
/// # Errors
/// The devices are not records of one machine, the old device has checked in since the new one first
/// did, or the new device is unknown, blocked or removed.
pub async fn plan<'a>(
    target: &'a Target,
    old: &DeviceName,
    new: &DeviceName,
) -> Result<ReplacementPlan<'a>, Failure> {
    let (old, new) = (old.find(target).await?, new.find(target).await?);
    if old == new {
        return Err(refused(NoReplacement::SameDevice));
    }
    let new_record = in_use(target, &new).await?;
    let preview = Preview::new(format!("Replaces device {old} by device {new}"));
    let preview = preview
        .with_devices(target, &[old.clone(), new.clone()])
        .await?;
    let state = target.records.device_state(&old).await?;
    let record = match (state.device, &state.excluded) {
        (Some(record), _) => record,
        // An earlier command has erased the record, after its commit.
        (None, Some(_)) => return Ok(completion(target, old, new, preview)),
        (None, None) => return Err(unknown(&old)),
    };
    let same = check_replacement(&record, &new_record).map_err(refused)?;
    let part = documents(target, [&old, &new]).await?;
    let groups = missing_groups(&part, &old, &new).map_err(Failure::failed)?;
    let entries = part.device(&old).map_err(Failure::failed)?;
    let entries = entries.map_or_else(Entries::default, |document| document.packages.clone());
    let packages = carry_over(target, &old, &new, &entries).await?;
    let (ids, packages): (Vec<PackageId>, Vec<PackageOfOld>) = packages.into_iter().unzip();
    let assigned = packages.iter().zip(ids).filter(|(it, _)| it.is_assigned);
    let (names, assigned): (Vec<String>, BTreeSet<PackageId>) =
        assigned.map(|(it, id)| (it.package.clone(), id)).unzip();
    let mut preview = preview.with_packages(names);
    for group in &groups {
        preview.groups.push(GroupSize {
            group: group.clone(),
            devices: target.records.size(group).await?,
        });
    }
    let change = StateChange::ReplaceDevice {
        old: old.clone(),
        new: new.clone(),
        packages: assigned,
    };
    Ok(ReplacementPlan {
        target,
        warnings: warnings(same, &packages, &new),
        old: ToRemove {
            device: old,
            host_name: Some(record.host_name),
            last_seen: Some(record.last_seen),
        },
        new,
        groups,
        packages,
        change,
        preview,
    })
}

impl ReplacementPlan<'_> {
    /// Returns the effect of the replacement.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns warnings about the replacement.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Lets the new device take the place of the old one with one commit, and removes the old device.
    ///
    /// # Errors
    /// The old device has checked in since the plan was made.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<DeviceReplaced, Failure> {
        let Self {
            target, old, new, ..
        } = self;
        if !seen_again(target, std::slice::from_ref(&old))
            .await?
            .is_empty()
        {
            let (old, new) = (old.device, new);
            return Err(refused(NoReplacement::BothInUse { old, new }));
        }
        let command = format!("packcast device replace {} {new}", old.device);
        let done = signer
            .change(target, &[self.change], &command, progress)
            .await?;
        let reason = format!("replaced by {new}").parse().ok();
        let to_remove = ToRemove {
            last_seen: None,
            ..old.clone()
        };
        let removed = remove(target, vec![to_remove], reason.as_ref(), signer, progress).await?;
        removed.complete()?;
        let result = removed.0.first().map(|removed| removed.result);
        Ok(DeviceReplaced {
            device: old.device,
            replaced_by: new,
            host_name: old.host_name.unwrap_or_default(),
            groups: self.groups,
            packages: self.packages,
            commit: done.committed.number(),
            result: result.unwrap_or(DeviceResult::UnknownDevice),
        })
    }
}

/// Returns the plan that completes the replacement by an interrupted command.
fn completion(
    target: &Target,
    old: DeviceId,
    new: DeviceId,
    preview: Preview,
) -> ReplacementPlan<'_> {
    let devices = BTreeSet::from([old.clone()]);
    ReplacementPlan {
        target,
        old: ToRemove {
            device: old,
            host_name: None,
            last_seen: None,
        },
        new,
        groups: Vec::new(),
        packages: Vec::new(),
        change: StateChange::RemoveDevices { devices },
        preview,
        warnings: Vec::new(),
    }
}

/// Returns the record of a device that may check in.
async fn in_use(target: &Target, id: &DeviceId) -> Result<DeviceRecord, Failure> {
    let state = target.records.device_state(id).await?;
    match (state.device, &state.excluded) {
        (_, Some(excluded)) => Err(not_in_use(id, excluded)),
        (Some(record), None) => Ok(record),
        (None, None) => Err(unknown(id)),
    }
}

/// Returns the documents of devices, and of the groups that they name.
async fn documents(target: &Target, devices: [&DeviceId; 2]) -> Result<StatePart, Failure> {
    let mut names: BTreeSet<LeafName> =
        devices.into_iter().cloned().map(LeafName::Device).collect();
    let part = current_part(target, names.clone()).await?;
    let documents = part.devices().filter_map(|(_, document)| document);
    let groups = documents.flat_map(|document| document.groups.as_map().keys());
    names.extend(groups.cloned().map(LeafName::Group));
    current_part(target, names).await
}

/// Returns the groups that the old device is in and the new one is not.
fn missing_groups(
    part: &StatePart,
    old: &DeviceId,
    new: &DeviceId,
) -> Result<Vec<GroupName>, NotLoaded> {
    let has = part.groups_of(new)?;
    let groups = part.groups_of(old)?.into_keys();
    let missing = groups.filter(|group| !has.contains_key(*group));
    Ok(missing.cloned().collect())
}

/// Decides which packages of the old device itself the new device is assigned.
async fn carry_over(
    target: &Target,
    old: &DeviceId,
    new: &DeviceId,
    entries: &Entries,
) -> Result<Vec<(PackageId, PackageOfOld)>, Failure> {
    let ids: Vec<PackageId> = entries.as_slice().iter().map(|it| it.package).collect();
    let finished = target.records.finished_tasks(old).await?;
    let mut packages = Vec::with_capacity(ids.len());
    for package in target.records.packages_of(&ids).await? {
        let Some(entry) = entries.of(package.id) else {
            continue;
        };
        let (is_assigned, result) = if is_finished(&finished, entry.package, entry.seq) {
            (false, FINISHED)
        } else {
            let assignment = NewAssignment::of(entry);
            let expected = assign::expected(target, &package, &assignment, new).await?;
            (expected.is_new, expected.result)
        };
        let of_old = PackageOfOld {
            package: named(&package),
            result,
            is_assigned,
        };
        packages.push((package.id, of_old));
    }
    packages.sort_by(|(_, one), (_, other)| one.package.cmp(&other.package));
    Ok(packages)
}

/// Returns true if a result follows from the entry with this `seq`, or from a later one.
fn is_finished(finished: &[FinishedTask], package: PackageId, seq: u64) -> bool {
    let mut results = finished.iter().filter(|task| task.package == package);
    results.any(|task| task.mandate.is_some_and(|mandate| mandate >= seq))
}

fn warnings(same: SameMachine, packages: &[PackageOfOld], new: &DeviceId) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if same == SameMachine::HostName {
        warnings.push(Warning::new(
            "only the host name shows that both devices are one machine: the ids of the machines show nothing",
        ));
    }
    let left = packages.iter().filter(|package| !package.is_assigned);
    let left: Vec<String> = left
        .map(|left| format!("{} ({})", left.package, left.result))
        .collect();
    if !left.is_empty() {
        let number = count(left.len() as u64, "package");
        let names = left.join(", ");
        let text = format!("the new device is not assigned {number} of the old one: {names}");
        warnings.push(Warning::new(text).hint(format!(
            "run 'packcast assign PACKAGE --device {new}' to assign a package to the new device"
        )));
    }
    warnings
}

fn refused(why: NoReplacement) -> Failure {
    let hint = match &why {
        NoReplacement::SameDevice
        | NoReplacement::HostName { .. }
        | NoReplacement::OtherMachine => "run 'packcast device list' to see the devices".to_owned(),
        NoReplacement::SharedIdentity { old } => format!(
            "run 'packcast device show {old}': one of the machines must enrol again before its device is replaced"
        ),
        NoReplacement::BothInUse { .. } => {
            "name the old device first, and then the new one".to_owned()
        }
    };
    Failure::conflict(why).hint(hint)
}

fn not_in_use(id: &DeviceId, excluded: &Exclusion) -> Failure {
    Failure::conflict(format!(
        "device {id} cannot take the place of another device: {}",
        exclusion::words(excluded)
    ))
    .hint(format!("run 'packcast device unblock {id}' first"))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_rollout::ExclusionKind;

    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refusals_and_warnings_have_next_steps() {
        let [old, new] = ["03", "04"].map(|day| format!("ocs:pc-2026-03-{day}-05-06-07"));
        let [old, new]: [DeviceId; 2] = [old, new].map(|id| id.parse().unwrap());
        let blocked = Exclusion {
            kind: ExclusionKind::Blocked,
            since: UnixTime(1_795_000_000),
            reason: None,
        };
        let refused = [
            refused(NoReplacement::OtherMachine),
            refused(NoReplacement::SharedIdentity { old: old.clone() }),
            refused(NoReplacement::BothInUse {
                old,
                new: new.clone(),
            }),
            not_in_use(&new, &blocked),
        ];
        insta::assert_snapshot!(failures(refused), @r"
        Conflict: the devices are different machines: the ids of their hardware differ
        hint: run 'packcast device list' to see the devices
        Conflict: two machines use the identity of device ocs:pc-2026-03-03-05-06-07
        hint: run 'packcast device show ocs:pc-2026-03-03-05-06-07': one of the machines must enrol again before its device is replaced
        Conflict: device ocs:pc-2026-03-03-05-06-07 has checked in after device ocs:pc-2026-03-04-05-06-07 was new, so both are in use
        hint: name the old device first, and then the new one
        Conflict: device ocs:pc-2026-03-04-05-06-07 cannot take the place of another device: blocked since 2026-11-18 11:06:40 UTC
        hint: run 'packcast device unblock ocs:pc-2026-03-04-05-06-07' first
        ");
        let package = |package: &str, is_assigned, result| PackageOfOld {
            package: package.to_owned(),
            result,
            is_assigned,
        };
        let packages = [
            package("extra@1", false, FINISHED),
            package("tool@1", true, "assigned"),
            package("vlc@2", false, "not-for-device"),
        ];
        assert_eq!(
            warnings(SameMachine::HostNameAndId, &packages[1..2], &new),
            []
        );
        let warnings = warnings(SameMachine::HostName, &packages, &new);
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: only the host name shows that both devices are one machine: the ids of the machines show nothing
        warning: the new device is not assigned 2 packages of the old one: extra@1 (finished), vlc@2 (not-for-device)
        hint: run 'packcast assign PACKAGE --device ocs:pc-2026-03-04-05-06-07' to assign a package to the new device
        ");
    }
}
