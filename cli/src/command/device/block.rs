//! `packcast device block` and `unblock`: exclude devices, and admit them again.

use packcast_publisher::device::exclusion::{self, DevicesChanged, ExclusionChange};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};

use crate::confirm::ConfirmArgs;
use crate::globals::Globals;
use crate::output;

pub(super) async fn change(
    target: &Target,
    names: &[DeviceName],
    change: ExclusionChange,
    confirm: ConfirmArgs,
    globals: &Globals,
) -> Result<(), Failure> {
    let plan = exclusion::plan(target, names, change).await?;
    if !confirm.is_agreed(globals, plan.preview())? {
        return plan.check();
    }
    let changed = plan.perform().await?;
    output::result(globals.format, &changed, text);
    changed.complete()
}

/// Writes the outcome for each device.
pub(super) fn text(changed: &DevicesChanged) -> String {
    let rows = changed.0.iter().map(|changed| {
        [
            changed.host_name.clone(),
            changed.device.to_string(),
            changed.result.words().to_owned(),
        ]
    });
    output::table(["HOST", "DEVICE", "RESULT"], rows)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::device::exclusion::{DeviceChanged, DeviceResult};

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
            DeviceResult::Unreadable,
        ];
        let changed = results.map(|result| DeviceChanged {
            device: OCS.parse().unwrap(),
            host_name: "web01".to_owned(),
            result,
        });
        let shown = DevicesChanged(changed.into());
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        HOST   DEVICE                         RESULT
        web01  ocs:web01-2026-03-04-05-06-07  blocked
        web01  ocs:web01-2026-03-04-05-06-07  blocked before
        web01  ocs:web01-2026-03-04-05-06-07  unblocked
        web01  ocs:web01-2026-03-04-05-06-07  not blocked
        web01  ocs:web01-2026-03-04-05-06-07  removed
        web01  ocs:web01-2026-03-04-05-06-07  removed before
        web01  ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in
                                              again
        web01  ocs:web01-2026-03-04-05-06-07  may come back as a new device, without
                                              groups and packages
        web01  ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        web01  ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in
        web01  ocs:web01-2026-03-04-05-06-07  failed: its record cannot be read

        140:
        HOST   DEVICE                         RESULT
        web01  ocs:web01-2026-03-04-05-06-07  blocked
        web01  ocs:web01-2026-03-04-05-06-07  blocked before
        web01  ocs:web01-2026-03-04-05-06-07  unblocked
        web01  ocs:web01-2026-03-04-05-06-07  not blocked
        web01  ocs:web01-2026-03-04-05-06-07  removed
        web01  ocs:web01-2026-03-04-05-06-07  removed before
        web01  ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in again
        web01  ocs:web01-2026-03-04-05-06-07  may come back as a new device, without groups and packages
        web01  ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        web01  ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in
        web01  ocs:web01-2026-03-04-05-06-07  failed: its record cannot be read
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        HOST   DEVICE                         RESULT
        web01  ocs:web01-2026-03-04-05-06-07  blocked
        web01  ocs:web01-2026-03-04-05-06-07  blocked before
        web01  ocs:web01-2026-03-04-05-06-07  unblocked
        web01  ocs:web01-2026-03-04-05-06-07  not blocked
        web01  ocs:web01-2026-03-04-05-06-07  removed
        web01  ocs:web01-2026-03-04-05-06-07  removed before
        web01  ocs:web01-2026-03-04-05-06-07  not removed: the device has checked in again
        web01  ocs:web01-2026-03-04-05-06-07  may come back as a new device, without groups and packages
        web01  ocs:web01-2026-03-04-05-06-07  not unblocked: the removal was interrupted
        web01  ocs:web01-2026-03-04-05-06-07  unknown: the device has never checked in
        web01  ocs:web01-2026-03-04-05-06-07  failed: its record cannot be read
        ");
    }
}
