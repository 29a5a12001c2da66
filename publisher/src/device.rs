//! Devices with their packages and results, their exclusion, and the commands and the pacing of
//! OCS agents.

mod command;
pub mod exclusion;
pub mod list;
pub(crate) mod open_task;
mod pacing;
pub mod removal;
pub mod replacement;
pub mod waits;

use std::collections::BTreeMap;

use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::{
    DeviceCommands, DeviceRecord, Exclusion, FactsRecord, FinishedTask, OpenTask, PacingOverride,
    PackageRecord,
};
use packcast_store::records::DeviceState;
use serde::Serialize;

pub use self::command::{CommandSent, send_command};
pub use self::pacing::{DevicePacing, pace};
use crate::device_name::{DeviceName, KNOWN_DEVICES_HINT};
use crate::failure::{Failure, NameKind};
use crate::package::named;
use crate::state::warn_of_head;
use crate::target::Target;

/// A device with its packages and results.
#[derive(Debug, Serialize)]
pub struct DeviceDetails {
    pub device: DeviceRecord,
    /// The daily facts of the device. `None` if it has stated none (OCS agents, older Packcast agents).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactsRecord>,
    /// The device is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
    pub groups: Vec<GroupName>,
    pub commands: DeviceCommands,
    /// The device's own pacing, which replaces the pacing of its groups.
    pub pacing: PacingOverride,
    /// The slowest pacing of its groups, for each setting.
    pub pacing_of_groups: PacingOverride,
    #[serde(serialize_with = "open_task::all")]
    pub open: Vec<OpenTask>,
    /// Announced packages with which the device does not begin, by its own report.
    pub waits: Vec<WaitingPackage>,
    pub finished: Vec<FinishedTask>,
    /// The names of the packages, deleted ones included.
    pub names: BTreeMap<PackageId, String>,
}

/// Returns a device with its packages and results.
pub async fn show(target: &Target, name: &DeviceName) -> Result<DeviceDetails, Failure> {
    Ok(show_results(target, name, None).await?.0)
}

/// Returns a device with its packages and the results of its newest packages: at most `most` of them,
/// from `from` on, the newest first. Also returns the first package of the next part.
pub async fn show_part(
    target: &Target,
    name: &DeviceName,
    from: Option<PackageId>,
    most: usize,
) -> Result<(DeviceDetails, Option<PackageId>), Failure> {
    show_results(target, name, Some((from, most))).await
}

/// Returns a device with all results, or with a part of them.
async fn show_results(
    target: &Target,
    name: &DeviceName,
    part: Option<(Option<PackageId>, usize)>,
) -> Result<(DeviceDetails, Option<PackageId>), Failure> {
    let id = name.find(target).await?;
    let (device, device_state) = known(target, &id).await?;
    warn_of_head(target).await?;
    // Without the mark, there is no item to read.
    let facts = match device.facts {
        Some(_) => target.records.facts(&id).await?,
        None => None,
    };
    let (finished, next) = match part {
        None => (target.records.finished_tasks(&id).await?, None),
        Some((from, most)) => {
            let page = target.records.finished_page(&id, from, most).await?;
            (page.items, page.next.map(|task| task.package))
        }
    };
    let groups: Vec<GroupName> = device_state.memberships.groups().collect();
    // Includes the group `all`, which has a pacing, too.
    let states = target.records.group_states(&groups).await?;
    let ids: Vec<PackageId> = device_state
        .tasks
        .iter()
        .map(|task| task.package)
        .chain(finished.iter().map(|task| task.package))
        .collect();
    let packages = target.records.packages_of(&ids).await?;
    let names = packages
        .into_iter()
        .map(|package| (package.id, lasting_name(&package)))
        .collect();
    let details = DeviceDetails {
        device,
        facts,
        excluded: device_state.excluded,
        groups: device_state.memberships.joined().cloned().collect(),
        commands: device_state.commands,
        pacing: device_state.pace,
        pacing_of_groups: PacingOverride::slowest(states.iter().map(|state| &state.pace)),
        open: device_state.tasks,
        waits: device_state.waits,
        finished,
        names,
    };
    Ok((details, next))
}

/// Reads a device. A device that never checked in, or that was removed, is an error.
async fn known(target: &Target, id: &DeviceId) -> Result<(DeviceRecord, DeviceState), Failure> {
    let mut device_state = target.records.device_state(id).await?;
    match (device_state.device.take(), &device_state.excluded) {
        (Some(device), _) => Ok((device, device_state)),
        (None, None) => Err(unknown(id)),
        (None, Some(excluded)) => Err(removed(id, excluded)),
    }
}

fn removed(id: &DeviceId, excluded: &Exclusion) -> Failure {
    Failure::failed(format!(
        "cannot show device {id}: {}",
        exclusion::words(excluded)
    ))
    .hint(format!(
        "run 'packcast device unblock {id}' if the device may come back as a new device"
    ))
}

fn unknown(id: &DeviceId) -> Failure {
    Failure::failed(format!(
        "cannot find device {id}: the device has never checked in"
    ))
    .hint(KNOWN_DEVICES_HINT)
    .refuses(NameKind::Device, id)
}

/// Returns `name@version`, with a note if the package was deleted: its results stay on record.
fn lasting_name(package: &PackageRecord) -> String {
    if package.is_deleted() {
        format!("{} (deleted)", named(package))
    } else {
        named(package)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_rollout::ExclusionKind;

    use super::*;
    use crate::rendered::failures;

    #[test]
    fn an_unknown_device_has_a_next_step() {
        let id = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        insta::assert_snapshot!(failures([unknown(&id)]), @r"
        Failed: cannot find device ocs:web01-2026-03-04-05-06-07: the device has never checked in
        hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
        ");
        let exclusion = Exclusion {
            kind: ExclusionKind::Removed,
            since: UnixTime(1_795_000_000),
            reason: None,
        };
        insta::assert_snapshot!(failures([removed(&id, &exclusion)]), @r"
        Failed: cannot show device ocs:web01-2026-03-04-05-06-07: removed since 2026-11-18 11:06:40 UTC
        hint: run 'packcast device unblock ocs:web01-2026-03-04-05-06-07' if the device may come back as a new device
        ");
    }
}
