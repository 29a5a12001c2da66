//! Adds devices to a group, and removes them.
//!
//! All devices change in one commit of the signed state, and then their records. After an
//! interruption, the same operation completes the remaining records.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::membership::{MAX_GROUPS, Memberships};
use packcast_rollout::state::{ChangeOutcome, StateChange};
use packcast_store::records::DeviceProjected;
use serde::Serialize;

use super::{known, not_all};
use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceMatch, DeviceName};
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::state::{Committed, complete_records};
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
}

/// Adds devices to a group, with one commit.
///
/// A refused device does not stop the others; see [`MembersChanged::complete`].
pub async fn add(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let command = command("add", group, names);
    let names = checked(target, group, names).await?;
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
    if joining.is_empty() {
        complete_records(target, progress).await?;
        return Ok(result);
    }
    let join = StateChange::Join {
        group: group.clone(),
        devices: joining.all(),
    };
    let done = signer.change(target, &[join], &command, progress).await?;
    result.commit = done.committed.number();
    // The record of a member may be there although the state has lacked the membership.
    let newly = changed(&done.committed);
    for device in joining.members {
        if newly.contains(&device) {
            result.changed += 1;
        } else {
            result.unchanged += 1;
        }
    }
    for device in joining.new {
        match done.records.devices.get(&device) {
            Some(DeviceProjected::Unknown) => result.unknown.push(device.to_string()),
            _ => result.changed += 1,
        }
    }
    Ok(result)
}

/// Removes devices from a group, with one commit.
///
/// A refused device does not stop the others; see [`MembersChanged::complete`].
pub async fn remove(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let command = command("remove", group, names);
    let names = checked(target, group, names).await?;
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
    if devices.is_empty() {
        complete_records(target, progress).await?;
        return Ok(result);
    }
    let leave = StateChange::Leave {
        group: group.clone(),
        devices: devices.clone(),
    };
    let done = signer.change(target, &[leave], &command, progress).await?;
    result.commit = done.committed.number();
    let left = changed(&done.committed);
    for device in devices {
        let was_recorded = match done.records.devices.get(&device) {
            Some(DeviceProjected::Written(changes)) => changes.left.contains(group),
            _ => false,
        };
        if was_recorded || left.contains(&device) {
            result.changed += 1;
        } else {
            result.unchanged += 1;
        }
    }
    Ok(result)
}

/// Devices to add to a group.
#[derive(Debug, Default)]
struct Joining {
    new: BTreeSet<DeviceId>,
    /// Devices whose record has the membership already.
    members: BTreeSet<DeviceId>,
}

impl Joining {
    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.members.is_empty()
    }

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

/// Checks that the members of the group can be changed, and returns each name once.
async fn checked(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
) -> Result<Vec<DeviceName>, Failure> {
    not_all(group)?;
    known(target, group).await?;
    let mut names = names.to_vec();
    let mut seen = HashSet::with_capacity(names.len());
    names.retain(|name| seen.insert(name.same()));
    Ok(names)
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

    /// Returns the number of devices that could not be added or removed.
    pub fn refused(&self) -> usize {
        self.unknown.len() + self.ambiguous.len() + self.in_too_many.len()
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
