//! Removal of devices that no longer exist, or that must not come back.
//!
//! The devices leave the signed state in one commit. Then the record of each device is erased
//! separately. After an interruption, the same operation completes the removal.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::assignments::Assignments;
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::check_in::is_unseen_for;
use packcast_rollout::state::StateChange;
use packcast_rollout::{DeviceRecord, Exclusion, ExclusionReason};
use packcast_store::records::Removing;
use serde::Serialize;

use super::exclusion::{DeviceChanged, DeviceResult, DevicesChanged, find_all};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::target::Target;
use crate::text::count;

/// A device to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToRemove {
    pub device: DeviceId,
    /// Host name; `None` if the device was named by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Time of the last check-in on record. If it is given and the device has checked in since,
    /// the device is not removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<UnixTime>,
}

/// Finds the devices with these names.
pub async fn named(target: &Target, names: &[DeviceName]) -> Result<Vec<ToRemove>, Failure> {
    let devices = find_all(target, names).await?.into_iter();
    let to_remove = devices.map(|device| ToRemove {
        device,
        host_name: None,
        last_seen: None,
    });
    Ok(to_remove.collect())
}

/// Finds the devices that have not checked in for `days` days, in the order of their ids.
///
/// Blocked devices are left out, because their check-ins are not recorded. Devices whose removal
/// was interrupted are included.
pub async fn unseen(target: &Target, days: u16) -> Result<Vec<ToRemove>, Failure> {
    let ids = target.records.members(&GroupName::all()).await?;
    let now = now();
    let is_due = |(record, excluded): &(DeviceRecord, Option<Exclusion>)| match excluded {
        None => is_unseen_for(record, days, now),
        Some(excluded) => excluded.is_removed(),
    };
    let records = target.records.device_records(&ids).await?;
    let to_remove = records
        .into_iter()
        .filter(is_due)
        .map(|(record, _)| ToRemove {
            device: record.device,
            host_name: Some(record.host_name),
            last_seen: Some(record.last_seen),
        });
    Ok(to_remove.collect())
}

/// Removes devices from the signed state with one commit, and then from groups, tallies, lists and
/// the index of host names.
///
/// The function refuses the requests of a removed device until it is unblocked with
/// [`unblock`](super::exclusion::unblock).
pub async fn remove(
    target: &Target,
    devices: Vec<ToRemove>,
    reason: Option<&ExclusionReason>,
    mut signer: Signer,
    progress: &Progress,
) -> Result<DevicesChanged, Failure> {
    signer.unlock()?;
    progress.begin(Work::Removing, devices.len() as u64);
    let seen_again = seen_again(target, &devices).await?;
    let to_remove = devices.iter().map(|found| &found.device);
    let to_remove: BTreeSet<DeviceId> = to_remove
        .filter(|device| !seen_again.contains(device))
        .cloned()
        .collect();
    // Before the commit: a removal that cannot be completed could not be undone either.
    check_signatures(target, &to_remove, &signer).await?;
    if !to_remove.is_empty() {
        let command = format!(
            "packcast device remove ({})",
            count(to_remove.len() as u64, "device")
        );
        let change = StateChange::RemoveDevices { devices: to_remove };
        signer
            .changer(target)
            .await?
            .change(&[change], &command)
            .await?;
    }
    let (signer, seen_again) = (&signer, &seen_again);
    let changed = stream::iter(devices)
        .map(|found| async move {
            let device = found.device;
            let result = if seen_again.contains(&device) {
                DeviceResult::SeenAgain
            } else {
                remove_one(target, &device, reason, signer).await?
            };
            progress.advance(1);
            Ok::<_, Failure>(DeviceChanged { device, result })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    progress.end();
    Ok(DevicesChanged(changed))
}

/// Returns the devices that have checked in since they were found to be unseen.
///
/// A check-in after this read comes too late: the commit decides.
async fn seen_again(target: &Target, devices: &[ToRemove]) -> Result<BTreeSet<DeviceId>, Failure> {
    let unseen = devices.iter().filter_map(|found| {
        let last_seen = found.last_seen?;
        Some((found.device.clone(), last_seen))
    });
    let unseen: BTreeMap<DeviceId, UnixTime> = unseen.collect();
    let ids: Vec<DeviceId> = unseen.keys().cloned().collect();
    let records = target.records.device_records(&ids).await?;
    let seen = records.into_iter().filter(|(record, excluded)| {
        let is_removed = excluded.as_ref().is_some_and(Exclusion::is_removed);
        !is_removed && unseen.get(&record.device) != Some(&record.last_seen)
    });
    Ok(seen.map(|(record, _)| record.device).collect())
}

/// Checks that the signer accepts the signed assignments of each device, which it will withdraw.
async fn check_signatures(
    target: &Target,
    devices: &BTreeSet<DeviceId>,
    signer: &Signer,
) -> Result<(), Failure> {
    stream::iter(devices)
        .map(|device| async move {
            let recorded = recorded_assignments(target, device).await?;
            let is_assigned =
                |it: &Assignments| !(it.packages().is_empty() && it.groups().is_empty());
            if recorded.as_ref().is_some_and(is_assigned) {
                let signing = signer.signing();
                target.records.check_assignments(device, signing).await?;
            }
            Ok::<_, Failure>(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn remove_one(
    target: &Target,
    device: &DeviceId,
    reason: Option<&ExclusionReason>,
    signer: &Signer,
) -> Result<DeviceResult, Failure> {
    let records = &target.records;
    let begun = records.begin_removal(device, reason, None, now()).await?;
    let groups = match begun {
        Removing::Begun { groups } => groups,
        Removing::Complete => return Ok(DeviceResult::AlreadyRemoved),
        Removing::SeenAgain => return Ok(DeviceResult::SeenAgain),
        Removing::UnknownDevice => return Ok(DeviceResult::UnknownDevice),
    };
    for group in &groups {
        records.leave(device, group, signer.signing()).await?;
    }
    // Again, because the assignments may have changed before the device was excluded.
    let recorded = recorded_assignments(target, device).await?;
    let assigned = recorded.iter().flat_map(Assignments::packages);
    let assigned: Vec<PackageId> = assigned.map(|assigned| assigned.package).collect();
    for package in records.packages_of(&assigned).await? {
        records.unassign(device, &package, signer.signing()).await?;
    }
    records.erase(device).await?;
    Ok(DeviceResult::Removed)
}

/// Returns the signed device assignments, whose signature is verified when they are withdrawn.
async fn recorded_assignments(
    target: &Target,
    device: &DeviceId,
) -> Result<Option<Assignments>, Failure> {
    let signed = target.records.device_assignments(device).await?;
    Ok(signed.and_then(|signed| serde_json::from_str(signed.document()).ok()))
}
