//! Blocking devices, and lifting their exclusion.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::DeviceId;
use packcast_rollout::{Exclusion, ExclusionReason};
use packcast_store::records::{Blocked, ExcludedDevice, Unblocked};
use serde::Serialize;

use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceName, KNOWN_DEVICES_HINT, host_names};
use crate::failure::Failure;
use crate::preview::Preview;
use crate::target::Target;
use crate::text::{count, time};

/// A device with the outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceChanged {
    pub device: DeviceId,
    /// Empty if the device has no record, or reports none.
    pub host_name: String,
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
    /// The record of the device cannot be read. The device has not changed.
    Unreadable,
}

/// Changed devices, in the order of their names.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct DevicesChanged(pub Vec<DeviceChanged>);

/// A change of the exclusion of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExclusionChange {
    /// The function refuses the requests of the devices until they are unblocked.
    Block {
        /// Replaces an earlier reason.
        reason: Option<ExclusionReason>,
    },
    /// Blocked and removed devices are admitted again.
    Unblock,
}

/// A change of the exclusion of devices with the outcome that each would have now. Nothing is
/// changed yet.
#[derive(Debug)]
pub struct ExclusionPlan<'a> {
    target: &'a Target,
    change: ExclusionChange,
    expected: DevicesChanged,
    preview: Preview,
}

/// Decides on a change of the exclusion of devices. Nothing is changed yet.
pub async fn plan<'a>(
    target: &'a Target,
    names: &[DeviceName],
    change: ExclusionChange,
) -> Result<ExclusionPlan<'a>, Failure> {
    let devices = find_all(target, names).await?;
    // Names only serve the eye: a record that cannot be read must not stop the change.
    let mut host_names = host_names(target, &devices).await.unwrap_or_default();
    let records = &target.records;
    let results: Vec<DeviceResult> = match change {
        ExclusionChange::Block { .. } => {
            let outcomes = records.block_outcomes(&devices).await?;
            outcomes.into_iter().map(DeviceResult::from).collect()
        }
        ExclusionChange::Unblock => {
            let outcomes = records.unblock_outcomes(&devices).await?;
            outcomes.into_iter().map(DeviceResult::from).collect()
        }
    };
    let decided: Vec<(DeviceId, DeviceResult)> = devices.into_iter().zip(results).collect();
    let changed = decided.iter().filter(|(_, result)| result.is_change());
    let changed: Vec<DeviceId> = changed.map(|(device, _)| device.clone()).collect();
    let effect = match change {
        ExclusionChange::Block { .. } => "Blocks devices",
        ExclusionChange::Unblock => "Unblocks devices",
    };
    let preview = Preview::new(effect).with_named_devices(&changed, &host_names);
    let expected = decided.into_iter().map(|(device, result)| DeviceChanged {
        host_name: host_names.remove(&device).unwrap_or_default(),
        device,
        result,
    });
    Ok(ExclusionPlan {
        target,
        change,
        expected: DevicesChanged(expected.collect()),
        preview,
    })
}

impl ExclusionPlan<'_> {
    /// Returns the effect of the change.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the devices that were named.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.expected.0.iter().map(|expected| &expected.device)
    }

    /// Returns the error that the change will have if a device cannot be changed.
    pub fn check(&self) -> Result<(), Failure> {
        self.expected.complete()
    }

    /// Makes the change. After this returns, no task is announced to a blocked device.
    ///
    /// A device that cannot be changed does not stop the others; see [`DevicesChanged::complete`].
    pub async fn perform(self) -> Result<DevicesChanged, Failure> {
        let (records, by) = (&self.target.records, self.target.changed_by());
        let expected = self.expected.0.into_iter();
        let devices: Vec<DeviceId> = expected.clone().map(|it| it.device).collect();
        let results: Vec<DeviceResult> = match &self.change {
            ExclusionChange::Block { reason } => {
                let blocked = records.block(&devices, reason.as_ref(), &by).await?;
                blocked.into_iter().map(DeviceResult::from).collect()
            }
            ExclusionChange::Unblock => {
                let unblocked = records.unblock(&devices, &by).await?;
                unblocked.into_iter().map(DeviceResult::from).collect()
            }
        };
        let changed = expected.zip(results);
        let changed = changed.map(|(expected, result)| DeviceChanged { result, ..expected });
        Ok(DevicesChanged(changed.collect()))
    }
}

impl From<Blocked> for DeviceResult {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::New => Self::Blocked,
            Blocked::Already => Self::AlreadyBlocked,
            Blocked::Removed => Self::AlreadyRemoved,
            Blocked::UnknownDevice => Self::UnknownDevice,
            Blocked::Unreadable => Self::Unreadable,
        }
    }
}

impl From<Unblocked> for DeviceResult {
    fn from(unblocked: Unblocked) -> Self {
        match unblocked {
            Unblocked::Blocked => Self::Unblocked,
            Unblocked::Removed => Self::MayReturn,
            Unblocked::HalfRemoved => Self::HalfRemoved,
            Unblocked::NotExcluded => Self::NotBlocked,
            Unblocked::UnknownDevice => Self::UnknownDevice,
            Unblocked::Unreadable => Self::Unreadable,
        }
    }
}

impl DeviceResult {
    /// Returns true if blocking or unblocking has changed the device.
    const fn is_change(self) -> bool {
        matches!(self, Self::Blocked | Self::Unblocked | Self::MayReturn)
    }

    /// Returns the result in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::AlreadyBlocked => "blocked before",
            Self::Unblocked => "unblocked",
            Self::NotBlocked => "not blocked",
            Self::Removed => "removed",
            Self::AlreadyRemoved => "removed before",
            Self::SeenAgain => "not removed: the device has checked in again",
            Self::MayReturn => "may come back as a new device, without groups and packages",
            Self::HalfRemoved => "not unblocked: the removal was interrupted",
            Self::UnknownDevice => "unknown: the device has never checked in",
            Self::Unreadable => "failed: its record cannot be read",
        }
    }

    const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::UnknownDevice | Self::HalfRemoved | Self::Unreadable
        )
    }
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
    /// Returns an error if a device could not be changed, with a hint for each cause.
    pub fn complete(&self) -> Result<(), Failure> {
        let with = |result| self.0.iter().any(|changed| changed.result == result);
        let refused = self
            .0
            .iter()
            .filter(|changed| changed.result.is_refusal())
            .count();
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

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_rollout::ExclusionKind;

    use super::*;
    use crate::rendered::failures;
    use crate::test_target::TestTarget;

    #[tokio::test]
    async fn an_unreadable_record_does_not_stop_the_block_of_others() {
        let target = TestTarget::start(393).await;
        let devices = [target.table.device(1).await, target.table.device(2).await];
        let pk = format!("DEVICE#{}", devices[0]);
        let mut broken = target.table.item(&pk, "0#DEVICE").await;
        broken["last_seen"] = serde_json::json!({ "S": "long ago" });
        target.table.put(&broken).await;
        let names = devices.each_ref().map(|it| DeviceName::Id(it.clone()));
        let change = ExclusionChange::Block { reason: None };
        let plan = plan(&target.target, &names, change).await.unwrap();
        assert_eq!(plan.preview().devices, 1);
        let changed = plan.perform().await.unwrap();
        let results: Vec<_> = changed.0.iter().map(|it| it.result).collect();
        assert_eq!(results, [DeviceResult::Unreadable, DeviceResult::Blocked]);
        insta::assert_snapshot!(failures([changed.complete().unwrap_err()]), @"Failed: cannot change 1 of 2 devices");
        let excluded = target.target.records.excluded_devices().await.unwrap();
        assert_eq!(excluded.keys().collect::<Vec<_>>(), [&devices[1]]);
    }

    #[test]
    fn refused_devices_have_next_steps() {
        let device: DeviceId = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let changed = |results: &[DeviceResult]| {
            let devices = results.iter().map(|result| DeviceChanged {
                device: device.clone(),
                host_name: String::new(),
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
