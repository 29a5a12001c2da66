//! Adds devices to a group, and removes them.
//!
//! All devices change in one commit of the signed state, and then their records. After an
//! interruption, the same operation completes the remaining records.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::GroupState;
use packcast_rollout::membership::{MAX_GROUPS, Memberships};
use packcast_rollout::state::{ChangeOutcome, StateChange};
use packcast_store::records::DeviceProjected;
use serde::Serialize;

use super::{known, not_all};
use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceMatch, DeviceName};
use crate::failure::Failure;
use crate::package::named;
use crate::preview::Preview;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::state::{Committed, CompletedChange, complete_records};
use crate::status::ExampleDevice;
use crate::target::Target;
use crate::text::count;

/// The number of devices in one lookup.
const BATCH: usize = 100;

/// The number of lookups at a time. One after the other, they would take most of the time of the
/// command.
const BATCHES_AT_ONCE: usize = 8;

/// The number of devices that the document about a commit names.
const NAMED: usize = 5;

/// The result of adding devices to a group, or of removing them.
#[derive(Debug, Default, Serialize)]
pub struct MembersChanged {
    /// The number of devices that were added or removed.
    pub changed: usize,
    /// The number of added devices that were members already, or of removed devices that were not
    /// members.
    pub unchanged: usize,
    /// The names of devices that never checked in.
    pub unknown: Vec<String>,
    /// Host names that more than one device has.
    pub ambiguous: Vec<String>,
    /// Devices that are already in the maximum number of groups.
    pub in_too_many: Vec<DeviceId>,
    /// Number of the commit; `None` if the signed state has not changed.
    pub commit: Option<u64>,
    /// Some of the devices that were to be added or removed.
    pub examples: Vec<ExampleDevice>,
}

/// A change of the members of a group whose devices were looked up. Nothing is changed yet.
#[derive(Debug)]
pub struct MembersPlan<'a> {
    target: &'a Target,
    group: GroupName,
    change: MembersChange,
    /// The devices that are refused already.
    refused: MembersChanged,
    /// The command for the document about the commit.
    command: String,
    preview: Preview,
}

/// The devices to add or to remove.
#[derive(Debug)]
enum MembersChange {
    Add(Joining),
    Remove(BTreeSet<DeviceId>),
}

/// Looks up devices to add to a group. Nothing is changed yet, and no key is read.
pub async fn plan_addition<'a>(
    target: &'a Target,
    group: &GroupName,
    names: &[DeviceName],
    progress: &Progress,
) -> Result<MembersPlan<'a>, Failure> {
    let command = command("add", group, names);
    let (state, names) = checked(target, group, names).await?;
    progress.begin(Work::Adding, names.len() as u64);
    let mut result = MembersChanged::default();
    let (mut joining, mut distinct) = (Joining::default(), HashSet::new());
    let mut batches = stream::iter(names.chunks(BATCH))
        .map(|batch| known_devices(target, batch))
        .buffered(BATCHES_AT_ONCE);
    while let Some((found, known)) = batches.try_next().await? {
        let looked_up = found.names;
        for device in result.add_found(found) {
            // A host name and an id may lead to one device.
            if !distinct.insert(device.clone()) {
                continue;
            }
            match known.get(&device) {
                Some(groups) if groups.includes(group) => joining.members.insert(device),
                Some(groups) if groups.joined().count() < MAX_GROUPS => joining.new.insert(device),
                Some(_) => {
                    result.in_too_many.push(device);
                    false
                }
                None => {
                    result.unknown.push(device.to_string());
                    false
                }
            };
        }
        progress.advance(looked_up);
    }
    drop(batches);
    progress.end();
    let devices: Vec<DeviceId> = joining.new.iter().cloned().collect();
    let preview = preview(
        target,
        &state,
        format!("Adds devices to group {group}"),
        &devices,
    );
    let preview = preview.await?;
    result.examples.clone_from(&preview.examples);
    Ok(MembersPlan {
        target,
        group: group.clone(),
        change: MembersChange::Add(joining),
        refused: result,
        command,
        preview,
    })
}

/// Looks up devices to remove from a group. Nothing is changed yet, and no key is read.
pub async fn plan_removal<'a>(
    target: &'a Target,
    group: &GroupName,
    names: &[DeviceName],
    progress: &Progress,
) -> Result<MembersPlan<'a>, Failure> {
    let command = command("remove", group, names);
    let (state, names) = checked(target, group, names).await?;
    progress.begin(Work::Removing, names.len() as u64);
    let mut result = MembersChanged::default();
    let mut devices = BTreeSet::new();
    let mut batches = stream::iter(names.chunks(BATCH))
        .map(|batch| look_up(target, batch))
        .buffered(BATCHES_AT_ONCE);
    while let Some(found) = batches.try_next().await? {
        progress.advance(found.names);
        devices.extend(result.add_found(found));
    }
    drop(batches);
    progress.end();
    let leaving: Vec<DeviceId> = devices.iter().cloned().collect();
    let effect = format!("Removes devices from group {group}");
    let preview = preview(target, &state, effect, &leaving).await?;
    result.examples.clone_from(&preview.examples);
    Ok(MembersPlan {
        target,
        group: group.clone(),
        change: MembersChange::Remove(devices),
        refused: result,
        command,
        preview,
    })
}

/// Adds devices to a group, with one commit: looks them up with [`plan_addition`], and makes the
/// change.
pub async fn add(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let plan = plan_addition(target, group, names, progress).await?;
    plan.perform(signer, progress).await
}

/// Removes devices from a group, with one commit: looks them up with [`plan_removal`], and makes the
/// change.
pub async fn remove(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let plan = plan_removal(target, group, names, progress).await?;
    plan.perform(signer, progress).await
}

/// Returns the effect of a change of members: devices, and the packages that they get or lose.
async fn preview(
    target: &Target,
    group: &GroupState,
    effect: String,
    devices: &[DeviceId],
) -> Result<Preview, Failure> {
    let ids: Vec<PackageId> = group.assignments.iter().map(|it| it.package).collect();
    let packages = target.records.packages_of(&ids).await?;
    let preview = Preview::new(effect).with_packages(packages.iter().map(named));
    preview.with_devices(target, devices).await
}

impl MembersPlan<'_> {
    /// Returns the effect of the change.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the changes of the signed state; none if no device is left to add or to remove.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let group = self.group.clone();
        match &self.change {
            change if change.is_empty() => Vec::new(),
            MembersChange::Add(joining) => vec![StateChange::Join {
                group,
                devices: joining.all(),
            }],
            MembersChange::Remove(devices) => vec![StateChange::Leave {
                group,
                devices: devices.clone(),
            }],
        }
    }

    /// Returns the devices that are refused already. Nothing of them is changed.
    pub const fn refused(&self) -> &MembersChanged {
        &self.refused
    }

    /// Returns the number of devices to add that are members already.
    pub fn members(&self) -> usize {
        match &self.change {
            MembersChange::Add(joining) => joining.members.len(),
            MembersChange::Remove(_) => 0,
        }
    }

    /// Returns the error that the change will have if a device is refused.
    pub fn check(&self) -> Result<(), Failure> {
        self.refused.complete(&self.group)
    }

    /// Makes the change with one commit.
    ///
    /// A refused device does not stop the others; see [`MembersChanged::complete`].
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<MembersChanged, Failure> {
        let changes = self.state_changes();
        let (target, group) = (self.target, self.group);
        let mut result = self.refused;
        if changes.is_empty() {
            complete_records(target, progress).await?;
            return Ok(result);
        }
        let done = signer
            .change(target, &changes, &self.command, progress)
            .await?;
        result.commit = done.committed.number();
        match self.change {
            MembersChange::Add(joining) => result.count_joined(joining, &done),
            MembersChange::Remove(devices) => result.count_left(devices, &group, &done),
        }
        Ok(result)
    }
}

impl MembersChange {
    fn is_empty(&self) -> bool {
        match self {
            Self::Add(joining) => joining.new.is_empty() && joining.members.is_empty(),
            Self::Remove(devices) => devices.is_empty(),
        }
    }
}

/// Devices to add to a group.
#[derive(Debug, Default)]
struct Joining {
    new: BTreeSet<DeviceId>,
    /// Devices whose record has the membership already.
    members: BTreeSet<DeviceId>,
}

impl Joining {
    fn all(&self) -> BTreeSet<DeviceId> {
        self.new.union(&self.members).cloned().collect()
    }
}

/// Returns the command for the document about the commit. Many devices are counted, not named.
fn command(verb: &str, group: &GroupName, names: &[DeviceName]) -> String {
    if names.len() > NAMED {
        return format!("packcast group {verb} {group} ({} devices)", names.len());
    }
    let devices: String = names
        .iter()
        .map(|name| format!(" --device {name}"))
        .collect();
    format!("packcast group {verb} {group}{devices}")
}

/// Returns the devices whose membership a commit has changed.
fn changed(committed: &Committed) -> BTreeSet<DeviceId> {
    let outcomes = committed.outcomes().iter();
    let changed = outcomes.filter_map(|outcome| match outcome {
        ChangeOutcome::Devices { changed, .. } => Some(changed),
        _ => None,
    });
    changed.flatten().cloned().collect()
}

/// Checks that the members of the group can be changed. Returns the group, and each name once.
async fn checked(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
) -> Result<(GroupState, Vec<DeviceName>), Failure> {
    not_all(group)?;
    let state = known(target, group).await?;
    let mut names = names.to_vec();
    let mut seen = HashSet::with_capacity(names.len());
    names.retain(|name| seen.insert(name.same()));
    Ok((state, names))
}

/// The devices with the names of a batch.
#[derive(Debug, Default)]
struct FoundDevices {
    /// The number of names.
    names: u64,
    devices: Vec<DeviceId>,
    /// Names of no device.
    unknown: Vec<String>,
    /// Names of several devices.
    ambiguous: Vec<String>,
}

/// Looks up a batch of names.
async fn look_up(target: &Target, names: &[DeviceName]) -> Result<FoundDevices, Failure> {
    let matches: Vec<DeviceMatch> = stream::iter(names)
        .map(|name| name.look_up(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut found = FoundDevices {
        names: names.len() as u64,
        ..FoundDevices::default()
    };
    for (name, matched) in names.iter().zip(matches) {
        match matched {
            DeviceMatch::One(device) => found.devices.push(device),
            DeviceMatch::None => found.unknown.push(name.to_string()),
            DeviceMatch::Several(_) => found.ambiguous.push(name.to_string()),
        }
    }
    Ok(found)
}

/// Looks up a batch of names, and reads the groups of the devices that are on record.
async fn known_devices(
    target: &Target,
    names: &[DeviceName],
) -> Result<(FoundDevices, BTreeMap<DeviceId, Memberships>), Failure> {
    let found = look_up(target, names).await?;
    // Reading a membership costs a hundredth of a read unit.
    let known = target.records.memberships(&found.devices).await?;
    Ok((found, known.into_iter().collect()))
}

impl MembersChanged {
    /// Counts names without a device, or with several devices, as refused. Returns the devices.
    fn add_found(&mut self, found: FoundDevices) -> Vec<DeviceId> {
        self.unknown.extend(found.unknown);
        self.ambiguous.extend(found.ambiguous);
        found.devices
    }

    /// Counts the devices of a commit that adds them.
    fn count_joined(&mut self, joining: Joining, done: &CompletedChange) {
        // The record of a member may be there although the state has lacked the membership.
        let newly = changed(&done.committed);
        for device in joining.members {
            if newly.contains(&device) {
                self.changed += 1;
            } else {
                self.unchanged += 1;
            }
        }
        for device in joining.new {
            match done.records.devices.get(&device) {
                Some(DeviceProjected::Unknown) => self.unknown.push(device.to_string()),
                _ => self.changed += 1,
            }
        }
    }

    /// Counts the devices of a commit that removes them.
    fn count_left(
        &mut self,
        devices: BTreeSet<DeviceId>,
        group: &GroupName,
        done: &CompletedChange,
    ) {
        let left = changed(&done.committed);
        for device in devices {
            let was_recorded = match done.records.devices.get(&device) {
                Some(DeviceProjected::Written(changes)) => changes.left.contains(group),
                _ => false,
            };
            if was_recorded || left.contains(&device) {
                self.changed += 1;
            } else {
                self.unchanged += 1;
            }
        }
    }

    /// Returns the number of devices that could not be added or removed.
    pub fn refused(&self) -> usize {
        self.unknown.len() + self.ambiguous.len() + self.in_too_many.len()
    }

    /// Returns the refused devices by the reason of their refusal, without reasons of no device.
    pub fn refusals(&self) -> Vec<(&'static str, Vec<String>)> {
        let in_too_many = self.in_too_many.iter().map(ToString::to_string);
        let mut refusals = vec![
            (
                "the device has never checked in, or was removed",
                self.unknown.clone(),
            ),
            (
                "several devices have this host name",
                self.ambiguous.clone(),
            ),
            (
                "the device is in 40 groups, the limit",
                in_too_many.collect(),
            ),
        ];
        refusals.retain(|(_, devices)| !devices.is_empty());
        refusals
    }

    /// Returns an error if a device was refused, with a hint for each cause.
    pub fn complete(&self, group: &GroupName) -> Result<(), Failure> {
        if self.refused() == 0 {
            return Ok(());
        }
        let mut failure = Failure::failed(format!(
            "cannot change group {group} for {}",
            count(self.refused() as u64, "device")
        ));
        for (has_some, hint) in [
            (
                !self.unknown.is_empty(),
                "run the command again after the first check-in of the unknown devices",
            ),
            (
                !self.ambiguous.is_empty(),
                "pass the ids of devices that share a host name",
            ),
            (
                !self.in_too_many.is_empty(),
                "run 'packcast group remove GROUP --device DEVICE' first for devices that are in too many groups",
            ),
        ] {
            if has_some {
                failure = failure.hint(hint);
            }
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;
    use crate::test_target::{TestTarget, create_lab, lab};

    #[tokio::test]
    async fn a_device_under_several_names_is_changed_once() {
        let target = TestTarget::start(360).await;
        let device = target.table.device(2).await;
        target.change_all(&[create_lab()]).await;
        let id = device.to_string();
        let names = ["pc2", "PC2", id.as_str(), "pc9", "PC9"].map(|name| name.parse().unwrap());
        let signer = || Signer::new(&target.target, None);
        let progress = Progress::none();
        let added = add(&target.target, &lab(), &names, signer(), &progress).await;
        let added = added.unwrap();
        assert_eq!((added.changed, added.unchanged), (1, 0));
        assert_eq!(added.unknown, ["pc9"]);
        let removed = remove(&target.target, &lab(), &names, signer(), &progress).await;
        let removed = removed.unwrap();
        assert_eq!((removed.changed, removed.unchanged), (1, 0));
        assert_eq!(removed.unknown, ["pc9"]);
    }

    #[test]
    fn a_command_with_many_devices_counts_them() {
        let (lab, names) = (
            "lab".parse().unwrap(),
            vec!["pc1".parse().unwrap(); NAMED + 1],
        );
        let lines = [
            command("add", &lab, &names[..2]),
            command("remove", &lab, &names),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        packcast group add lab --device pc1 --device pc1
        packcast group remove lab (6 devices)
        ");
    }

    #[test]
    fn refused_devices_have_next_steps() {
        let result = MembersChanged {
            unknown: vec!["pc1".to_owned()],
            ambiguous: vec!["pc2".to_owned()],
            in_too_many: vec!["ocs:pc3-2026-03-04-05-06-07".parse().unwrap()],
            ..MembersChanged::default()
        };
        let failure = result.complete(&"lab".parse().unwrap()).unwrap_err();
        insta::assert_snapshot!(failures([failure]), @r"
        Failed: cannot change group lab for 3 devices
        hint: run the command again after the first check-in of the unknown devices
        hint: pass the ids of devices that share a host name
        hint: run 'packcast group remove GROUP --device DEVICE' first for devices that are in too many groups
        ");
    }
}
