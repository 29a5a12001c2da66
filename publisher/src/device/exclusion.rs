//! Blocking devices, and lifting their exclusion.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::DeviceId;
use packcast_rollout::{Exclusion, ExclusionReason};
use packcast_store::records::{Blocked, ExcludedDevice, Unblocked};
use serde::Serialize;

use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceName, KNOWN_DEVICES_HINT};
use crate::failure::Failure;
use crate::target::Target;
use crate::text::{count, time};

/// A device with the outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceChanged {
    pub device: DeviceId,
    pub result: DeviceResult,
}

/// Outcome of blocking, unblocking or removing one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceResult {
    Blocked,
    AlreadyBlocked,
    Unblocked,
    NotBlocked,
    Removed,
    AlreadyRemoved,
    /// The device checked in after it was found to be unseen, so it was not removed.
    SeenAgain,
    /// The tombstone of a removed device is gone.
    MayReturn,
    /// The removal of the device must be completed before the device can be unblocked.
    HalfRemoved,
    UnknownDevice,
}

/// Changed devices, in the order of their names.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct DevicesChanged(pub Vec<DeviceChanged>);

/// Blocks devices: the function refuses their requests until they are unblocked.
///
/// After this returns, no task is announced to them. An unknown device does not stop the others;
/// see [`DevicesChanged::complete`].
pub async fn block(
    target: &Target,
    names: &[DeviceName],
    reason: Option<&ExclusionReason>,
) -> Result<DevicesChanged, Failure> {
    let devices = find_all(target, names).await?;
    let by = target.changed_by();
    let blocked = target.records.block(&devices, reason, &by).await?;
    let results = blocked.into_iter().map(|blocked| match blocked {
        Blocked::New => DeviceResult::Blocked,
        Blocked::Already => DeviceResult::AlreadyBlocked,
        Blocked::Removed => DeviceResult::AlreadyRemoved,
        Blocked::UnknownDevice => DeviceResult::UnknownDevice,
    });
    Ok(DevicesChanged::of(devices, results))
}

/// Lifts the exclusion of blocked and removed devices.
///
/// A device without an exclusion, or with an incomplete removal, does not stop the others; see
/// [`DevicesChanged::complete`].
pub async fn unblock(target: &Target, names: &[DeviceName]) -> Result<DevicesChanged, Failure> {
    let devices = find_all(target, names).await?;
    let by = target.changed_by();
    let unblocked = target.records.unblock(&devices, &by).await?;
    let results = unblocked.into_iter().map(|unblocked| match unblocked {
        Unblocked::Blocked => DeviceResult::Unblocked,
        Unblocked::Removed => DeviceResult::MayReturn,
        Unblocked::HalfRemoved => DeviceResult::HalfRemoved,
        Unblocked::NotExcluded => DeviceResult::NotBlocked,
        Unblocked::UnknownDevice => DeviceResult::UnknownDevice,
    });
    Ok(DevicesChanged::of(devices, results))
}

/// Returns all blocked and removed devices, in the order of their ids.
pub async fn excluded(target: &Target) -> Result<Vec<ExcludedDevice>, Failure> {
    let devices = target.records.excluded_devices().await?;
    Ok(devices.into_values().collect())
}

/// Writes an exclusion, such as `blocked since 2026-11-22 21:55:00 UTC: stolen`.
pub fn words(exclusion: &Exclusion) -> String {
    let since = format!("{} since {}", exclusion.kind, time(exclusion.since));
    match &exclusion.reason {
        None => since,
        Some(reason) => format!("{since}: {reason}"),
    }
}

/// Finds the devices with these names, each once. A mistyped host name changes nothing.
pub(super) async fn find_all(
    target: &Target,
    names: &[DeviceName],
) -> Result<Vec<DeviceId>, Failure> {
    let mut devices: Vec<DeviceId> = stream::iter(names)
        .map(|name| name.find(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    devices.sort_unstable();
    devices.dedup();
    Ok(devices)
}

impl DevicesChanged {
    /// Joins devices with their results, which are in the same order.
    fn of(devices: Vec<DeviceId>, results: impl IntoIterator<Item = DeviceResult>) -> Self {
        let changed = devices.into_iter().zip(results);
        let changed = changed.map(|(device, result)| DeviceChanged { device, result });
        Self(changed.collect())
    }

    /// Returns an error if a device could not be changed, with a hint for each cause.
    pub fn complete(&self) -> Result<(), Failure> {
        let with = |result| self.0.iter().any(|changed| changed.result == result);
        let refused = self.0.iter().filter(|changed| changed.is_refused()).count();
        if refused == 0 {
            return Ok(());
        }
        let mut failure = Failure::failed(format!(
            "cannot change {refused} of {}",
            count(self.0.len() as u64, "device")
        ));
        if with(DeviceResult::UnknownDevice) {
            failure = failure.hint(KNOWN_DEVICES_HINT);
        }
        if with(DeviceResult::HalfRemoved) {
            failure = failure.hint(
                "run 'packcast device remove DEVICE' to complete the removal, then run this command again",
            );
        }
        Err(failure)
    }
}

impl DeviceChanged {
    const fn is_refused(&self) -> bool {
        matches!(
            self.result,
            DeviceResult::UnknownDevice | DeviceResult::HalfRemoved
        )
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_rollout::ExclusionKind;

    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_devices_have_next_steps() {
        let device: DeviceId = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let changed = |results: &[DeviceResult]| {
            let devices = results.iter().map(|result| DeviceChanged {
                device: device.clone(),
                result: *result,
            });
            DevicesChanged(devices.collect())
        };
        changed(&[DeviceResult::AlreadyBlocked, DeviceResult::NotBlocked])
            .complete()
            .unwrap();
        let refused = changed(&[
            DeviceResult::Unblocked,
            DeviceResult::UnknownDevice,
            DeviceResult::HalfRemoved,
        ]);
        insta::assert_snapshot!(failures([refused.complete().unwrap_err()]), @r"
        Failed: cannot change 2 of 3 devices
        hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
        hint: run 'packcast device remove DEVICE' to complete the removal, then run this command again
        ");
    }

    #[test]
    fn an_exclusion_is_written_with_its_reason() {
        let blocked = Exclusion {
            kind: ExclusionKind::Blocked,
            since: UnixTime(1_795_000_000),
            reason: Some("stolen".parse().unwrap()),
        };
        insta::assert_snapshot!(words(&blocked), @"blocked since 2026-11-18 11:06:40 UTC: stolen");
        let removed = Exclusion {
            kind: ExclusionKind::Removed,
            reason: None,
            ..blocked
        };
        insta::assert_snapshot!(words(&removed), @"removed since 2026-11-18 11:06:40 UTC");
    }
}
