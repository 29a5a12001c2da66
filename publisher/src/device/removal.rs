//! Removal of devices that no longer exist, or that must not come back.
//!
//! The devices leave the signed state in one commit. Then the record of each device is erased
//! separately. After an interruption, the same operation completes the removal.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::check_in::is_unseen_for;
use packcast_rollout::state::StateChange;
use packcast_rollout::{DeviceRecord, Exclusion, ExclusionReason};
use packcast_store::records::Removing;
use serde::Serialize;

use super::exclusion::{DeviceChanged, DeviceResult, DevicesChanged, find_all};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceName, host_names};
use crate::failure::Failure;
use crate::preview::Preview;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::target::Target;
use crate::text::count;

/// A device to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToRemove {
    pub device: DeviceId,
    /// Host name; `None` if the device has no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Time of the last check-in on record. If it is given and the device has checked in since,
    /// the device is not removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<UnixTime>,
}

/// Finds the devices with these names.
pub async fn named(target: &Target, names: &[DeviceName]) -> Result<Vec<ToRemove>, Failure> {
    let devices = find_all(target, names).await?;
    let mut host_names = host_names(target, &devices).await?;
    let to_remove = devices.into_iter().map(|device| ToRemove {
        host_name: host_names.remove(&device),
        device,
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

/// Returns the changes of the signed state that the removal of these devices makes.
pub fn state_changes(devices: &[ToRemove]) -> Vec<StateChange> {
    let devices: BTreeSet<DeviceId> = devices.iter().map(|it| it.device.clone()).collect();
    vec![StateChange::RemoveDevices { devices }]
}

/// Returns the effect of the removal of these devices.
pub fn preview(devices: &[ToRemove]) -> Preview {
    let ids: Vec<DeviceId> = devices.iter().map(|it| it.device.clone()).collect();
    let names = devices.iter().filter_map(|it| {
        let host_name = it.host_name.clone()?;
        Some((it.device.clone(), host_name))
    });
    Preview::new("Removes devices").with_named_devices(&ids, &names.collect())
}

/// Returns the error that the removal of these devices will have, because one has never checked in.
pub async fn check(target: &Target, devices: &[ToRemove]) -> Result<(), Failure> {
    let expected: Vec<DeviceChanged> = stream::iter(devices)
        .map(|found| async move {
            let is_known = target.records.is_removable(&found.device).await?;
            let result = if is_known {
                DeviceResult::Removed
            } else {
                DeviceResult::UnknownDevice
            };
            Ok::<_, Failure>(found.changed(result))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    DevicesChanged(expected).complete()
}

/// Removes devices from the signed state with one commit, and then from groups, tallies, lists and
/// the index of host names.
///
/// The function refuses the requests of a removed device until it is unblocked with
/// [`ExclusionChange::Unblock`](super::exclusion::ExclusionChange::Unblock).
pub async fn remove(
    target: &Target,
    devices: Vec<ToRemove>,
    reason: Option<&ExclusionReason>,
    mut signer: Signer,
    progress: &Progress,
) -> Result<DevicesChanged, Failure> {
    let seen_again = seen_again(target, &devices).await?;
    let to_remove = devices.iter().map(|found| &found.device);
    let to_remove: BTreeSet<DeviceId> = to_remove
        .filter(|device| !seen_again.contains(device))
        .cloned()
        .collect();
    leave_state(target, to_remove, &mut signer, progress).await?;
    let (left_out, devices): (Vec<ToRemove>, Vec<ToRemove>) = devices
        .into_iter()
        .partition(|found| seen_again.contains(&found.device));
    let by = target.changed_by();
    let ids: Vec<DeviceId> = devices.iter().map(|found| found.device.clone()).collect();
    let removing = target.records.begin_removal(&ids, reason, &by).await?;
    let begun: Vec<(ToRemove, Removing)> = devices.into_iter().zip(removing).collect();
    // A device may have got a group or a package before it was excluded. From now on it gets none.
    let excluded = begun
        .iter()
        .filter(|(_, begun)| matches!(begun, Removing::Begun { .. }));
    let excluded = excluded.map(|(found, _)| found.device.clone()).collect();
    leave_state(target, excluded, &mut signer, progress).await?;
    progress.begin(Work::Removing, begun.len() as u64);
    let removed: Vec<DeviceChanged> = stream::iter(begun)
        .map(|(found, begun)| async move {
            let result = match begun {
                Removing::Begun { .. } => {
                    target.records.erase(&found.device).await?;
                    DeviceResult::Removed
                }
                Removing::Complete => DeviceResult::AlreadyRemoved,
                Removing::UnknownDevice => DeviceResult::UnknownDevice,
                Removing::Unreadable => DeviceResult::Unreadable,
            };
            progress.advance(1);
            Ok::<_, Failure>(found.changed(result))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    progress.end();
    let left_out = left_out
        .iter()
        .map(|found| found.changed(DeviceResult::SeenAgain));
    let mut changed: Vec<DeviceChanged> = removed.into_iter().chain(left_out).collect();
    changed.sort_by(|one, other| one.device.cmp(&other.device));
    Ok(DevicesChanged(changed))
}

impl ToRemove {
    fn changed(&self, result: DeviceResult) -> DeviceChanged {
        DeviceChanged {
            device: self.device.clone(),
            host_name: self.host_name.clone().unwrap_or_default(),
            result,
        }
    }
}

/// Removes devices from the signed state with one commit, and completes the records: afterwards the
/// devices are in no group, and have no task of their own.
async fn leave_state(
    target: &Target,
    devices: BTreeSet<DeviceId>,
    signer: &mut Signer,
    progress: &Progress,
) -> Result<(), Failure> {
    if devices.is_empty() {
        return Ok(());
    }
    let number = count(devices.len() as u64, "device");
    let command = format!("packcast device remove ({number})");
    let change = StateChange::RemoveDevices { devices };
    signer.change(target, &[change], &command, progress).await?;
    Ok(())
}

/// Returns the devices that have checked in since they were found to be unseen.
///
/// A check-in after this read comes too late: the commit decides.
pub(super) async fn seen_again(
    target: &Target,
    devices: &[ToRemove],
) -> Result<BTreeSet<DeviceId>, Failure> {
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
