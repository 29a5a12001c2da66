//! What a device is told: decided from its open tasks, and committed before it is said.

use std::collections::{HashMap, HashSet};

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::reconcile::group_with;
use packcast_rollout::{
    Announcement, LocationRecord, OpenTask, Pacing, PackageRecord, Published, Rules, announce,
    locations,
};
use packcast_store::RecordsError;
use packcast_store::records::{Announcing, Standing};

use crate::CheckIn;
use crate::reconcile::{Reconciled, reconciled};

/// How often it is decided anew what a device is told when the records refuse it.
const TRIES: usize = 3;

/// What one device is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) pace: Pacing,
    /// In the order of priority.
    pub(crate) tasks: Vec<Telling>,
    pub(crate) called_off: Vec<OpenTask>,
    /// What it was decided from.
    pub(crate) by: Reconciled,
}

/// A task whose announcement is on record.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) task: OpenTask,
    pub(crate) package: PackageRecord,
    pub(crate) published: Published,
    /// In the order in which the device tries them.
    pub(crate) locations: Vec<LocationRecord>,
}

/// Decides which tasks the device is told, and records the new ones as announced.
///
/// What the records refuse, because a package was deactivated or taken back a moment ago, is
/// decided anew and not told.
pub(crate) async fn tell(
    function: &CheckIn,
    device: &DeviceId,
    mut standing: Standing,
    now: UnixTime,
) -> Result<Told, RecordsError> {
    let mut tries_left = TRIES;
    loop {
        tries_left -= 1;
        let device_now = reconciled(function, device, standing, now).await?;
        let pace = device_now.pace(function.settings.pace);
        let rules = Rules {
            strict: pace.strict,
            stock: matches!(device, DeviceId::Ocs(_)),
        };
        let Standing { tasks, orders, .. } = &device_now.standing;
        let mut tasks = tasks.clone();
        tasks.retain(|task| !orders.have_dropped(task));
        let ids: Vec<PackageId> = tasks.iter().map(|task| task.package).collect();
        let packages = function.packages.of(&function.records, &ids, now).await?;
        let announcement = announce(&tasks, |id| packages.get(&id), rules, now);
        let fresh: HashSet<PackageId> = fresh(&announcement).map(|task| task.package).collect();
        let on_record = commit(function, device, &device_now, &announcement, now).await?;
        if on_record.len() == fresh.len() || tries_left == 0 {
            return Ok(told(pace, &announcement, &on_record, device_now));
        }
        standing = function.records.standing(device).await?;
    }
}

fn fresh<'a>(announcement: &'a Announcement<'_>) -> impl Iterator<Item = &'a OpenTask> {
    let new = announcement.announced.iter().filter(|pick| pick.is_new());
    new.map(|pick| pick.task)
}

fn told(
    pace: Pacing,
    announcement: &Announcement<'_>,
    on_record: &HashSet<PackageId>,
    by: Reconciled,
) -> Told {
    let called_off = announcement.cancelled().cloned().collect();
    let tasks = announcement
        .announced
        .iter()
        .filter(|pick| !pick.is_new() || on_record.contains(&pick.task.package))
        .map(|pick| Telling {
            task: pick.task.clone(),
            package: pick.package.clone(),
            published: *pick.published,
            locations: locations::in_order(&pick.package.locations, &by.groups),
        })
        .collect();
    Told {
        pace,
        tasks,
        called_off,
        by,
    }
}

/// Records the announcements and returns the packages of those that are on record.
async fn commit(
    function: &CheckIn,
    device: &DeviceId,
    reconciled: &Reconciled,
    announcement: &Announcement<'_>,
    now: UnixTime,
) -> Result<HashSet<PackageId>, RecordsError> {
    let memberships = &reconciled.standing.memberships;
    let by_group: HashMap<PackageId, _> = fresh(announcement)
        .filter(|task| !task.direct)
        .filter_map(|task| {
            let state = group_with(memberships, &reconciled.groups, task.package)?;
            Some((task.package, (&state.group, state.revision)))
        })
        .collect();
    let announcing: Vec<Announcing<'_>> = fresh(announcement)
        .map(|task| Announcing {
            task,
            by_group: by_group.get(&task.package).copied(),
        })
        .collect();
    if announcing.is_empty() {
        return Ok(HashSet::new());
    }
    let announced = function.records.announce(device, &announcing, now).await?;
    for id in &announced.refused {
        function.packages.forget(*id);
        let group = by_group.get(id).map(|(group, _)| *group);
        function.groups.doubt(group);
        tracing::info!(%device, package = %id, "not announced: deactivated or taken back meanwhile");
    }
    Ok(announced.on_record.into_iter().collect())
}
