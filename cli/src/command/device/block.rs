//! `packcast device block` and `unblock`: exclude devices, and admit them again.

use packcast_publisher::device::exclusion::{self, DeviceResult, DevicesChanged};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::ExclusionReason;

use crate::output::{self, Format};

pub(super) async fn block(
    target: &Target,
    names: &[DeviceName],
    reason: Option<&ExclusionReason>,
    format: Format,
) -> Result<(), Failure> {
    let changed = exclusion::block(target, names, reason).await?;
    output::result(format, &changed, text);
    changed.complete()
}

pub(super) async fn unblock(
    target: &Target,
    names: &[DeviceName],
    format: Format,
) -> Result<(), Failure> {
    let changed = exclusion::unblock(target, names).await?;
    output::result(format, &changed, text);
    changed.complete()
}

/// Writes the outcome for each device.
pub(super) fn text(changed: &DevicesChanged) -> String {
    let rows = changed
        .0
        .iter()
        .map(|changed| [changed.device.to_string(), words(changed.result).to_owned()]);
    output::table(["DEVICE", "RESULT"], rows)
}

const fn words(result: DeviceResult) -> &'static str {
    match result {
        DeviceResult::Blocked => "blocked",
        DeviceResult::AlreadyBlocked => "blocked before",
        DeviceResult::Unblocked => "unblocked",
        DeviceResult::NotBlocked => "not blocked",
        DeviceResult::Removed => "removed",
        DeviceResult::AlreadyRemoved => "removed before",
        DeviceResult::SeenAgain => "not removed: the device has checked in again",
        DeviceResult::MayReturn => "may come back as a new device, without groups and packages",
        DeviceResult::HalfRemoved => "not unblocked: the removal was interrupted",
        DeviceResult::UnknownDevice => "unknown: the device has never checked in",
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::device::exclusion::DeviceChanged;

    use super::*;
    use crate::fixtures::{OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn every_result_has_words() {
        let results = [
            DeviceResult::Blocked,
            DeviceResult::AlreadyBlocked,
            DeviceResult::Unblocked,
            DeviceResult::NotBlocked,
            DeviceResult::Removed,
            DeviceResult::AlreadyRemoved,
            DeviceResult::SeenAgain,
            DeviceResult::MayReturn,
            DeviceResult::HalfRemoved,
            DeviceResult::UnknownDevice,
        ];
        let changed = results.map(|result| DeviceChanged {
            device: OCS.parse().unwrap(),
            result,
        });
        let shown = DevicesChanged(changed.into());
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        DEVICE                         RESULT
        ocs:web01-2026-03-04-05-06-07  blocked
        ocs:web01-2026-03-04-05-06-07  blocked before
        ocs:web01-2026-03-04-05-06-07  unblocked
        ocs:web01-2026-03-04-05-06-07  not blocked
        ocs:web01-2026-03-04-05-06-07  removed
        ocs:web01-2026-03-04-05-06-07  removed before
        ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in again
        ocs:web01-2026-03-04-05-06-07  may come back as a new device, without groups and
                                       packages
        ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in

        140:
        DEVICE                         RESULT
        ocs:web01-2026-03-04-05-06-07  blocked
        ocs:web01-2026-03-04-05-06-07  blocked before
        ocs:web01-2026-03-04-05-06-07  unblocked
        ocs:web01-2026-03-04-05-06-07  not blocked
        ocs:web01-2026-03-04-05-06-07  removed
        ocs:web01-2026-03-04-05-06-07  removed before
        ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in again
        ocs:web01-2026-03-04-05-06-07  may come back as a new device, without groups and packages
        ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        DEVICE                         RESULT
        ocs:web01-2026-03-04-05-06-07  blocked
        ocs:web01-2026-03-04-05-06-07  blocked before
        ocs:web01-2026-03-04-05-06-07  unblocked
        ocs:web01-2026-03-04-05-06-07  not blocked
        ocs:web01-2026-03-04-05-06-07  removed
        ocs:web01-2026-03-04-05-06-07  removed before
        ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in again
        ocs:web01-2026-03-04-05-06-07  may come back as a new device, without groups and packages
        ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in
        ");
    }
}
