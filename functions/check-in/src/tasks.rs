//! Announcements: decided from a device's open tasks, and on record before the device learns of
//! them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, UnixTime};
use packcast_rollout::apply::used_mandates;
use packcast_rollout::reconcile::announcing_group;
use packcast_rollout::rollout::{GateChange, Place};
use packcast_rollout::{
    Announcement, FinishedTask, GroupState, LocationRecord, OpenTask, Pacing, PackageRecord,
    Published, Rules, announce, locations,
};
use packcast_store::RecordsError;
use packcast_store::records::{Announcing, DeviceState};

use crate::device_access::{DeviceError, admitted_state};
use crate::reconcile::{Reconciled, paused, reconciled};
use crate::rollouts::Gated;
use crate::{CheckInFunction, log_name, rollouts};

/// Maximum number of tries to record the announcements of one check-in.
const MAX_TRIES: usize = 3;

/// Maximum number of tasks for another system that one check-in ends.
const ENDED_AT_ONCE: usize = 32;

/// Announcements for one device.
#[derive(Debug)]
pub(crate) struct Announcements {
    pub(crate) pacing: Pacing,
    /// Announced tasks in the order of their priority.
    pub(crate) tasks: Vec<AnnouncedTask>,
    /// Announced tasks that the device is to cancel: withdrawn ones, and those of inactive packages.
    pub(crate) to_cancel: Vec<OpenTask>,
    /// True if this check-in has put a task on record as announced.
    pub(crate) has_new_task: bool,
    /// The state of the device that the announcements follow from.
    pub(crate) reconciled: Reconciled,
}

/// A task whose announcement is on record.
#[derive(Debug)]
pub(crate) struct AnnouncedTask {
    pub(crate) task: OpenTask,
    pub(crate) package: Arc<PackageRecord>,
    pub(crate) published: Published,
    /// Locations in the order in which the device tries them.
    pub(crate) locations: Vec<LocationRecord>,
}

/// Decides on the announcements for a device, and records the new ones.
///
/// The records refuse an announcement if the package was deactivated or withdrawn a moment ago.
/// Then the function decides on the announcements again, without this package. The records also
/// refuse an announcement if the device was excluded a moment ago: the next read finds the exclusion.
///
/// If the records refuse the same announcement again, although all that it follows from was read
/// again, the copies that it checks are missing or forged. Then the function tries no third time.
pub(crate) async fn announce_tasks(
    function: &CheckInFunction,
    device: &DeviceId,
    mut device_state: DeviceState,
    now: UnixTime,
) -> Result<Announcements, DeviceError> {
    let mut tries_left = MAX_TRIES;
    let mut refused = Vec::new();
    let mut without_copies = BTreeMap::new();
    loop {
        tries_left -= 1;
        let device_now = reconciled(function, device, device_state, now).await?;
        let pacing = device_now.pacing(function.settings.pace);
        let DeviceState {
            tasks, commands, ..
        } = &device_now.device_state;
        let rules = Rules {
            strict: pacing.strict,
            is_ocs_agent: matches!(device, DeviceId::Ocs(_)),
            system: device_now.device_state.system(),
        };
        let gated = rollouts::gated(function, device, &device_now, now).await?;
        // A dropped task may lack its report for a while. Another announcement would start it
        // again. Tasks that wait for their rollout are left out before the announcement is decided:
        // they hold up no other task.
        let tasks = tasks.iter().filter(|task| !commands.told_to_drop(task));
        let tasks = tasks.filter(|task| !gated.closed.contains(&task.package));
        let ids: Vec<PackageId> = tasks.clone().map(|task| task.package).collect();
        let packages = function
            .packages
            .records(&function.records, &ids, now)
            .await?;
        let mut announcement = announce(tasks, |id| packages.get(&id).map(|it| &**it), rules, now);
        if !announcement.announced.is_empty()
            && function
                .state
                .is_target_paused(&function.records, now)
                .await?
        {
            announcement.pause(rules);
        }
        end_not_applicable(function, device, &announcement, now).await?;
        let mut announcing = announcing(function, &device_now, &announcement, &gated, now).await?;
        announcing.retain(|it| !without_copies.contains_key(&it.task.package));
        let on_record = record(function, device, &device_now, &announcing, now).await?;
        gated.told(function, device, &on_record, now);
        let refused_now =
            refused_announcements(&announcing, &on_record, &announcement, &device_now);
        let again = refused_now.iter().filter(|it| refused.contains(*it));
        without_copies.extend(again.map(|it| {
            let PackageRecord { name, version, .. } = &it.package;
            (it.task.package, format!("{name}@{version}"))
        }));
        let may_retry = refused_now
            .iter()
            .any(|it| !without_copies.contains_key(&it.task.package));
        refused = refused_now;
        // After the last try, the device gets the tasks that are on record. The next check-in
        // brings the others.
        if !may_retry || tries_left == 0 {
            log_missing_copies(device, &device_now, &without_copies);
            let groups = &device_now.groups;
            let tasks = told(&announcement, &packages, &on_record, groups);
            return Ok(Announcements {
                pacing,
                tasks,
                to_cancel: announcement.cancelled().cloned().collect(),
                has_new_task: !on_record.is_empty(),
                reconciled: device_now,
            });
        }
        device_state = admitted_state(function, device).await?;
    }
}

/// An announcement that the records have refused, with all that it follows from.
#[derive(Debug, PartialEq)]
struct RefusedAnnouncement {
    task: OpenTask,
    package: PackageRecord,
    by_group: Option<(GroupName, u64)>,
    place: Option<(Place, GateChange)>,
    leaf_order: u64,
}

fn refused_announcements(
    announcing: &[Announcing<'_>],
    on_record: &HashSet<PackageId>,
    announcement: &Announcement<'_>,
    reconciled: &Reconciled,
) -> Vec<RefusedAnnouncement> {
    let refused = announcing
        .iter()
        .filter(|it| !on_record.contains(&it.task.package));
    let refused = refused.filter_map(|refused| {
        let mut picks = announcement.announced.iter();
        let pick = picks.find(|pick| pick.task.package == refused.task.package)?;
        Some(RefusedAnnouncement {
            task: refused.task.clone(),
            package: pick.package.clone(),
            by_group: refused.by_group.map(|(group, at)| (group.clone(), at)),
            place: refused.place.map(|(place, change)| (place, change.clone())),
            leaf_order: reconciled.device_state.leaf.order,
        })
    });
    refused.collect()
}

/// Warns of packages that are not announced, once for each request.
fn log_missing_copies(
    device: &DeviceId,
    reconciled: &Reconciled,
    packages: &BTreeMap<PackageId, String>,
) {
    let Some((package, name)) = packages.first_key_value() else {
        return;
    };
    let host = log_name::host(&reconciled.device_state);
    tracing::warn!(%host, %name, %device, %package, packages = packages.len(), "not announced: the copies of the package's activation or of the group's revision are missing or wrong: run 'packcast activate {name}', or 'packcast sign --all-records'");
}

/// Ends tasks that are for another system than the one of the device, without an announcement.
///
/// A check-in ends only some of very many such tasks, and the next one continues.
async fn end_not_applicable(
    function: &CheckInFunction,
    device: &DeviceId,
    announcement: &Announcement<'_>,
    now: UnixTime,
) -> Result<(), RecordsError> {
    for task in announcement.not_applicable().take(ENDED_AT_ONCE) {
        let result = FinishedTask {
            package: task.package,
            attempt: task.attempt,
            code: NamedCode::WrongPlatform.into(),
            outcome: Outcome::NotApplicable,
            detail: None,
            output_tail: None,
            mandate: task.mandate,
            used: used_mandates(task, Outcome::NotApplicable, &[]),
            finished_at: now,
        };
        // If the task has changed in the meantime, the next check-in decides on it again.
        function
            .records
            .record_result(device, task, &result)
            .await?;
    }
    Ok(())
}

/// Returns the tasks that the device is told of: those told before, and those whose announcement is on
/// record now.
fn told(
    announcement: &Announcement<'_>,
    packages: &HashMap<PackageId, Arc<PackageRecord>>,
    on_record: &HashSet<PackageId>,
    groups: &[GroupState],
) -> Vec<AnnouncedTask> {
    let picks = announcement.announced.iter();
    let told = picks.filter(|pick| !pick.is_new() || on_record.contains(&pick.task.package));
    let told = told.filter_map(|pick| {
        let package = packages.get(&pick.task.package)?;
        Some(AnnouncedTask {
            task: pick.task.clone(),
            package: Arc::clone(package),
            published: pick.published.clone(),
            locations: locations::in_order(&package.locations, groups),
        })
    });
    told.collect()
}

/// Returns the new announcements, each with a group that has the package unless the device itself has
/// it.
///
/// A task of a group whose records may be incomplete is not announced: perhaps the group does not have
/// the package any more.
async fn announcing<'a>(
    function: &CheckInFunction,
    reconciled: &'a Reconciled,
    announcement: &Announcement<'a>,
    gated: &'a Gated,
    now: UnixTime,
) -> Result<Vec<Announcing<'a>>, RecordsError> {
    let Reconciled {
        device_state,
        groups,
    } = reconciled;
    let new = announcement.announced.iter().filter(|pick| pick.is_new());
    let new: Vec<&OpenTask> = new.map(|pick| pick.task).collect();
    let paused = if new.iter().all(|task| task.direct) {
        Vec::new()
    } else {
        paused(function, device_state, groups, now).await?
    };
    let by_group = |task: &'a OpenTask| {
        let groups = groups.iter().filter(|it| !paused.contains(&it.group));
        let (state, rollout) = announcing_group(&device_state.memberships, groups, task.package)?;
        // A group without a rollout may be paused, and then the gate of another group was not asked.
        let is_asked = rollout.is_none_or(|id| gated.asked.get(&task.package) == Some(&id));
        let place = gated.places.get(&task.package);
        is_asked.then(|| Announcing {
            task,
            by_group: Some((&state.group, state.revision)),
            place: place.map(|(place, change)| (*place, change)),
        })
    };
    let announcing = new.into_iter().filter_map(|task| {
        if task.direct {
            Some(Announcing::direct(task))
        } else {
            by_group(task)
        }
    });
    Ok(announcing.collect())
}

/// Records the new announcements, and returns the packages whose announcements are on record.
async fn record(
    function: &CheckInFunction,
    device: &DeviceId,
    reconciled: &Reconciled,
    announcing: &[Announcing<'_>],
    now: UnixTime,
) -> Result<HashSet<PackageId>, RecordsError> {
    if announcing.is_empty() {
        return Ok(HashSet::new());
    }
    let leaf_order = reconciled.device_state.leaf.order;
    let announced = function
        .records
        .announce(device, leaf_order, announcing, now)
        .await?;
    let host = log_name::host(&reconciled.device_state);
    for id in &announced.refused {
        let name = log_name::package(function, *id);
        function.packages.invalidate(*id);
        let refused = announcing.iter().filter(|it| it.task.package == *id);
        for refused in refused {
            let group = refused.by_group.map(|(group, _)| group);
            function.groups.invalidate(group);
            if let Some((place, _)) = refused.place {
                function.gates.invalidate(place.rollout);
            }
        }
        tracing::info!(%host, %name, %device, package = %id, "not announced: the package was deactivated or withdrawn, or the device was excluded, in the meantime");
    }
    for id in &announced.on_record {
        let name = log_name::package(function, *id);
        tracing::info!(%host, %name, %device, package = %id, "announced");
        let told = announcing.iter().filter(|it| it.task.package == *id);
        for (place, change) in told.filter_map(|it| it.place) {
            function.gates.apply(place.rollout, change);
        }
    }
    Ok(announced.on_record.into_iter().collect())
}
