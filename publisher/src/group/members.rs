//! Adds devices to a group, and removes them.
//!
//! Each device is changed in a separate transaction. After an interruption, the same operation
//! completes the remaining devices.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName};
use packcast_store::records::Joined;
use serde::Serialize;

use super::{known, not_all};
use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceMatch, DeviceName};
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::target::Target;
use crate::text::count;

/// The number of devices in one lookup.
const BATCH: usize = 100;

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
}

/// Adds devices to a group. The function reads the key of `signer` if one of the devices has a
/// Packcast agent.
///
/// A refused device does not stop the others; see [`MembersChanged::complete`].
pub async fn add(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let names = checked(target, group, names).await?;
    progress.begin(Work::Adding, names.len() as u64);
    let mut result = MembersChanged::default();
    for batch in names.chunks(BATCH) {
        let devices = look_up(target, batch, &mut result, progress).await?;
        // Reading a membership costs a hundredth of a read unit. It saves the transaction of each
        // device that is a member already.
        let known = target.records.memberships(&devices).await?;
        signer.unlock_for(&devices)?;
        let signer = &signer;
        let mut joined = stream::iter(devices)
            .map(|device| {
                let memberships = known.iter().find(|(known, _)| *known == device);
                let is_member = memberships.map(|(_, groups)| groups.includes(group));
                async move {
                    let joined = match is_member {
                        None => Joined::UnknownDevice,
                        Some(true) => Joined::AlreadyMember,
                        Some(false) => {
                            let (records, signing) = (&target.records, signer.signing());
                            records.join(&device, group, signing).await?
                        }
                    };
                    Ok::<_, Failure>((device, joined))
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((device, joined)) = joined.try_next().await? {
            result.count(device, joined);
            progress.advance(1);
        }
    }
    progress.end();
    Ok(result)
}

/// Removes devices from a group. The function reads the key of `signer` if one of the devices has
/// a Packcast agent.
///
/// A refused device does not stop the others; see [`MembersChanged::complete`].
pub async fn remove(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    progress: &Progress,
) -> Result<MembersChanged, Failure> {
    let names = checked(target, group, names).await?;
    progress.begin(Work::Removing, names.len() as u64);
    let mut result = MembersChanged::default();
    for batch in names.chunks(BATCH) {
        let devices = look_up(target, batch, &mut result, progress).await?;
        signer.unlock_for(&devices)?;
        remove_all(target, group, devices, &signer, &mut result, progress).await?;
    }
    progress.end();
    Ok(result)
}

/// Removes every device from a group.
pub(super) async fn empty(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
    progress: &Progress,
) -> Result<(), Failure> {
    let devices = target.records.members(group).await?;
    progress.begin(Work::Removing, devices.len() as u64);
    let mut result = MembersChanged::default();
    remove_all(target, group, devices, signer, &mut result, progress).await?;
    progress.end();
    Ok(())
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
    names.retain(|name| seen.insert(name.to_string()));
    Ok(names)
}

/// Looks up a batch of names. Names of no device, or of several devices, are counted as refused.
async fn look_up(
    target: &Target,
    names: &[DeviceName],
    result: &mut MembersChanged,
    progress: &Progress,
) -> Result<Vec<DeviceId>, Failure> {
    let found: Vec<DeviceMatch> = stream::iter(names)
        .map(|name| name.look_up(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut devices = Vec::with_capacity(names.len());
    for (name, found) in names.iter().zip(found) {
        match found {
            DeviceMatch::One(device) => devices.push(device),
            DeviceMatch::None => result.unknown.push(name.to_string()),
            DeviceMatch::Several(_) => result.ambiguous.push(name.to_string()),
        }
    }
    progress.advance((names.len() - devices.len()) as u64);
    Ok(devices)
}

async fn remove_all(
    target: &Target,
    group: &GroupName,
    devices: Vec<DeviceId>,
    signer: &Signer,
    result: &mut MembersChanged,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut left = stream::iter(devices)
        .map(|device| async move {
            let (records, signing) = (&target.records, signer.signing());
            records.leave(&device, group, signing).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some(was_member) = left.try_next().await? {
        if was_member {
            result.changed += 1;
        } else {
            result.unchanged += 1;
        }
        progress.advance(1);
    }
    Ok(())
}

impl MembersChanged {
    fn count(&mut self, device: DeviceId, joined: Joined) {
        match joined {
            Joined::New => self.changed += 1,
            Joined::AlreadyMember => self.unchanged += 1,
            Joined::UnknownDevice => self.unknown.push(device.to_string()),
            Joined::TooManyGroups => self.in_too_many.push(device),
        }
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
