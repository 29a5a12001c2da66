//! Adds devices to a group, and removes them.
//!
//! Each device is one transaction. After an interruption the same operation completes the rest.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName};
use packcast_store::records::Joined;
use serde::Serialize;

use super::{known, not_all};
use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceName, Found};
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::target::Target;

/// How many devices are looked up together.
const BATCH: usize = 100;

/// The result of adding devices to a group, or of removing them.
#[derive(Debug, Default, Serialize)]
pub struct MembersChanged {
    pub changed: usize,
    /// Devices that were members already, or were none.
    pub unchanged: usize,
    /// Names of devices that never checked in.
    pub unknown: Vec<String>,
    /// Host names of several devices.
    pub ambiguous: Vec<String>,
    /// Devices that are in as many groups as there can be.
    pub in_too_many: Vec<DeviceId>,
}

/// Adds devices to a group. The key of `signer` is read if one of them has a Packcast agent.
///
/// Refused devices do not keep the others out: see [`MembersChanged::complete`].
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
        // Members are read for a hundredth of a read unit each, and not written.
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

/// Removes devices from a group. The key of `signer` is read if one of them has a Packcast
/// agent.
///
/// Refused devices do not keep the others in: see [`MembersChanged::complete`].
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

/// Refuses a group that cannot be changed, and returns each name once.
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

/// Looks up a batch of names; counts those of no device or of several as refused.
async fn look_up(
    target: &Target,
    names: &[DeviceName],
    result: &mut MembersChanged,
    progress: &Progress,
) -> Result<Vec<DeviceId>, Failure> {
    let found: Vec<Found> = stream::iter(names)
        .map(|name| name.look_up(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut devices = Vec::with_capacity(names.len());
    for (name, found) in names.iter().zip(found) {
        match found {
            Found::One(device) => devices.push(device),
            Found::None => result.unknown.push(name.to_string()),
            Found::Several(_) => result.ambiguous.push(name.to_string()),
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

    /// Returns the number of devices that were not added or removed.
    pub fn refused(&self) -> usize {
        self.unknown.len() + self.ambiguous.len() + self.in_too_many.len()
    }

    /// Returns an error if a device was refused, with a hint for each cause.
    pub fn complete(&self, group: &GroupName) -> Result<(), Failure> {
        if self.refused() == 0 {
            return Ok(());
        }
        let mut failure = Failure::failed(format!(
            "{} devices were passed over for group {group}",
            self.refused()
        ));
        for (has_some, hint) in [
            (
                !self.unknown.is_empty(),
                "a device is known from its first check-in on; run the command again then",
            ),
            (
                !self.ambiguous.is_empty(),
                "name those that share a host name by their ids",
            ),
            (
                !self.in_too_many.is_empty(),
                "take devices out of a group with 'packcast group remove' first",
            ),
        ] {
            if has_some {
                failure = failure.hint(hint);
            }
        }
        Err(failure)
    }
}
