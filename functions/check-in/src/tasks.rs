//! What a device is told: decided from its open tasks, and committed before it is said.

use std::collections::HashSet;

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::{NotAnnounced, OpenTask, PackageRecord, Published, Rules, announce};
use packcast_store::RecordsError;

use crate::CheckIn;

/// What one device is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// In the order of priority.
    pub(crate) tasks: Vec<Telling>,
    pub(crate) withdrawn: Vec<OpenTask>,
}

/// A task whose announcement is on record.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) task: OpenTask,
    pub(crate) package: PackageRecord,
    pub(crate) published: Published,
}

/// Decides which tasks the device is told, and records the new ones as announced.
///
/// What the records refuse, because a package was deactivated a moment ago, is not told.
pub(crate) async fn tell(
    function: &CheckIn,
    device: &DeviceId,
    tasks: &[OpenTask],
    now: UnixTime,
) -> Result<Told, RecordsError> {
    if tasks.is_empty() {
        return Ok(Told::default());
    }
    let packages = function.packages.of(&function.records, tasks, now).await?;
    let rules = Rules {
        strict: function.settings.strict,
        stock: matches!(device, DeviceId::Ocs(_)),
    };
    let announcement = announce(tasks, |id| packages.get(&id), rules, now);
    let fresh: Vec<&OpenTask> = announcement
        .told
        .iter()
        .filter(|pick| pick.is_new())
        .map(|pick| pick.task)
        .collect();
    let on_record = commit(function, device, &fresh, now).await?;
    let withdrawn = announcement
        .not_told
        .iter()
        .filter(|(_, why)| *why == NotAnnounced::Withdrawn)
        .map(|(task, _)| (*task).clone())
        .collect();
    let tasks = announcement
        .told
        .iter()
        .filter(|pick| !pick.is_new() || on_record.contains(&pick.task.package))
        .map(|pick| Telling {
            task: pick.task.clone(),
            package: pick.package.clone(),
            published: *pick.published,
        })
        .collect();
    Ok(Told { tasks, withdrawn })
}

/// Records the announcements and returns the packages of those that are on record.
async fn commit(
    function: &CheckIn,
    device: &DeviceId,
    fresh: &[&OpenTask],
    now: UnixTime,
) -> Result<HashSet<PackageId>, RecordsError> {
    if fresh.is_empty() {
        return Ok(HashSet::new());
    }
    let announced = function.records.announce(device, fresh, now).await?;
    for id in &announced.refused {
        function.packages.forget(*id);
        tracing::info!(%device, package = %id, "not announced: deactivated meanwhile");
    }
    Ok(announced.told.into_iter().collect())
}
