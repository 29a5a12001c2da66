//! Explanation for the state of a package on a device.
//!
//! The explanation comes from the decisions of a check-in: it decides, from the same records,
//! the changes and announcements of the next check-in, and writes nothing.

use std::slice;

use packcast_protocol::state::exchange::{WaitWord, WaitingPackage};
use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{Action, DeviceId, GroupName, Outcome, PackageId, UnixTime};
use serde::Serialize;

use crate::announce::{Announcement, NotAnnounced, Rules, announce};
use crate::assign::PackageOnDevice;
use crate::change::TaskChange;
use crate::command::DeviceCommands;
use crate::exclusion::ExclusionKind;
use crate::group::{GroupAssignment, GroupState};
use crate::membership::Memberships;
use crate::reconcile::{Reconciling, group_with, reconcile};
use crate::record::{FinishedTask, OpenTask, PackageRecord, PackageState, TaskState};
use crate::rollout::Closed;
use crate::system::DeviceSystem;
use crate::waits::wait_of;

/// Records of one device and one package, from which the explanation follows.
#[derive(Clone, Copy, Debug)]
pub struct ExplainInputs<'a> {
    pub device: &'a DeviceId,
    /// The device has checked in at least once.
    pub is_known: bool,
    pub system: DeviceSystem,
    /// The device is blocked or removed.
    pub excluded: Option<ExclusionKind>,
    pub memberships: &'a Memberships,
    /// The states of the device's groups, except groups that do not exist.
    pub groups: &'a [GroupState],
    /// All open tasks of the device, for all packages.
    pub tasks: &'a [OpenTask],
    /// Announced packages with which the device does not begin, by its own report.
    pub waits: &'a [WaitingPackage],
    pub commands: DeviceCommands,
    pub package: &'a PackageRecord,
    /// The packages of the other open tasks.
    pub others: &'a [PackageRecord],
    /// Result of the latest attempt that has one.
    pub finished: Option<&'a FinishedTask>,
    /// The package history of an OCS agent lists the package.
    pub in_history: bool,
    /// Tasks are announced to the device one priority at a time.
    pub strict: bool,
    /// The wait of the package for its rollout. `None` if the package has no rollout for the device,
    /// or if the rollout lets the device begin.
    pub rollout: Option<RolloutWait>,
}

/// The wait of a package for its rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutWait {
    pub rollout: RolloutId,
    pub closed: Closed,
    /// The wave of the device. `None` if the device is in no wave.
    pub wave: Option<WaveNumber>,
    /// Time from which the wave is open by the calendar. `None` if it stays closed.
    pub opens: Option<UnixTime>,
    /// The wave is open by the calendar. The gate may open it later.
    #[serde(skip)]
    pub is_calendar_open: bool,
}

/// Explanation for the state of a package on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    #[serde(flatten)]
    pub reason: Reason,
    /// Attempt to which the reason applies: the present one, or the one that the next check-in
    /// creates. `None` if there is neither.
    pub attempt: Option<u32>,
    /// The package is assigned to the device itself, and the task is open.
    pub direct: bool,
    /// The device's groups that have the package.
    pub groups: Vec<GroupName>,
    /// Packages of a higher priority that are announced to the device as well, the highest
    /// priority first.
    pub ahead: Vec<PackageId>,
}

/// The first reason for the state of a package on a device.
///
/// Once this reason no longer applies, another one may show.
///
/// The names are part of the command line's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// The device has never checked in.
    NeverSeen,
    /// The device is blocked or removed, and the function refuses its requests.
    Excluded,
    /// The package is assigned neither to the device nor to a group of the device.
    NotAssigned,
    /// A group of the device has the package, and the device has not checked in since.
    #[serde(rename = "to-come")]
    Unreached {
        group: GroupName,
        assigned_at: UnixTime,
    },
    /// A group of the device has the package, but the device's check-in skipped it: the device
    /// had the package, or was not in its audience.
    #[serde(rename = "passed-over")]
    Skipped {
        group: GroupName,
    },
    /// The package is not published completely.
    Draft,
    NotActive,
    /// The package is active, but has no location.
    NoLocation,
    /// The package has expired, so it is not announced, and no Packcast agent acts on it.
    Expired {
        expired_at: UnixTime,
    },
    /// The package was deleted before the device had it.
    Deleted {
        deleted_at: UnixTime,
    },
    /// The audience of the package does not include the device.
    NotInAudience,
    /// The package has an audience, which an OCS agent cannot check.
    OcsAgent,
    /// The package updates Packcast agents, and the device has an OCS agent.
    UpdatesOtherAgent,
    /// A package of a higher priority comes first (only if strict is in force).
    BehindPriority {
        behind: PackageId,
    },
    /// The task will be announced at the next check-in.
    #[serde(rename = "waiting")]
    Pending,
    /// The task was announced, and the device has not reported since.
    Announced {
        announced_at: UnixTime,
    },
    /// The task was announced, and the device has reported why it does not begin.
    Waits {
        announced_at: UnixTime,
        wait: WaitWord,
        /// Time from which the device may begin, if the state names one.
        until: Option<UnixTime>,
    },
    /// The rollout of the package does not let the device begin now.
    Rollout(RolloutWait),
    /// The task was announced, the package is no longer active, and the device has not reported
    /// yet that it cancelled the task.
    Cancelling {
        announced_at: UnixTime,
    },
    /// The task was announced and then withdrawn, and the device has not reported since.
    Withdrawn {
        announced_at: UnixTime,
        /// An OCS agent was commanded to drop the task since.
        told_to_drop: bool,
    },
    /// The package was unassigned, and the device has not checked in since.
    Unassigned {
        announced_at: Option<UnixTime>,
    },
    /// The package history of an OCS agent lists the package.
    InHistory,
    Succeeded,
    Failed,
    /// The device cancelled the task without acting on it.
    Cancelled,
    /// The device runs another system than the package is for.
    NotApplicable,
}

/// Explains the state of a package on a device.
pub fn explain(inputs: &ExplainInputs<'_>, now: UnixTime) -> Explanation {
    let change = next_change(inputs, now);
    // Decide the announcement as the next check-in would, after the change.
    let mut tasks = inputs.tasks.to_vec();
    if let Some(change) = &change {
        change.apply(&mut tasks);
    }
    let rules = Rules {
        strict: inputs.strict,
        is_ocs_agent: runs_ocs_agent(inputs.device),
        system: inputs.system,
    };
    let announcement = announce(&tasks, |id| inputs.find(id), rules, now);
    let open = task_of(inputs.tasks, inputs.package.id);
    let next = task_of(&tasks, inputs.package.id);
    // A blocked device keeps its results, which explain a package that it has finished.
    let is_excluded = match inputs.excluded {
        None => false,
        Some(ExclusionKind::Removed) => true,
        Some(ExclusionKind::Blocked) => open.is_some() || change.is_some(),
    };
    let reason = match (open, &change) {
        _ if is_excluded => Reason::Excluded,
        _ if !inputs.is_known => Reason::NeverSeen,
        (Some(open), Some(_)) if next.is_none_or(is_withdrawn) => unassigned(open),
        (_, Some(_)) => of_next_task(inputs, &announcement),
        (Some(open), None) => of_open(inputs, open, &announcement, now),
        (None, None) => without_task(inputs),
    };
    let finished = inputs.finished.map(|finished| finished.attempt);
    Explanation {
        reason: by_rollout(inputs, open, reason),
        attempt: next.or(open).map(|task| task.attempt).or(finished),
        direct: open.is_some_and(|task| task.direct),
        groups: inputs
            .groups_having()
            .map(|(state, _)| state.group.clone())
            .collect(),
        ahead: next.map_or_else(Vec::new, |task| ahead(&announcement, task)),
    }
}

/// Returns a group of a device that has a package, with its assignment, if the device has not
/// checked in since the assignment.
pub fn unreached<'a>(
    memberships: &Memberships,
    groups: &'a [GroupState],
    package: PackageId,
) -> Option<(&'a GroupState, &'a GroupAssignment)> {
    groups_having(memberships, groups, package)
        .find(|(state, assignment)| assignment.seq > memberships.observed_revision(&state.group))
}

fn groups_having<'a>(
    memberships: &Memberships,
    groups: &'a [GroupState],
    package: PackageId,
) -> impl Iterator<Item = (&'a GroupState, &'a GroupAssignment)> {
    groups
        .iter()
        .filter(|state| memberships.includes(&state.group))
        .filter_map(move |state| Some((state, state.assignment(package)?)))
}

impl<'a> ExplainInputs<'a> {
    fn find(&self, id: PackageId) -> Option<&'a PackageRecord> {
        let mut packages = slice::from_ref(self.package).iter().chain(self.others);
        packages.find(|package| package.id == id)
    }

    /// Returns the device's groups that have the package.
    fn groups_having(&self) -> impl Iterator<Item = (&'a GroupState, &'a GroupAssignment)> {
        groups_having(self.memberships, self.groups, self.package.id)
    }
}

/// Decides the change that the next check-in makes because of the device's groups.
fn next_change(inputs: &ExplainInputs<'_>, now: UnixTime) -> Option<TaskChange> {
    let package = inputs.package;
    let open = task_of(inputs.tasks, package.id);
    let reconciling = Reconciling {
        device: inputs.device,
        memberships: inputs.memberships,
        tasks: open.map_or(&[], slice::from_ref),
        states: inputs.groups,
        paused: &[],
    };
    let on_device = PackageOnDevice {
        is_known: inputs.is_known,
        system: inputs.system,
        open: open.cloned(),
        finished: inputs.finished.cloned(),
        in_history: inputs.in_history,
    };
    let only = |id| (id == package.id).then_some(package);
    let steps = reconcile(&reconciling, |_| on_device.clone(), only, now);
    steps.into_iter().flat_map(|step| step.changes).next()
}

fn runs_ocs_agent(device: &DeviceId) -> bool {
    matches!(device, DeviceId::Ocs(_))
}

fn task_of(tasks: &[OpenTask], package: PackageId) -> Option<&OpenTask> {
    tasks.iter().find(|task| task.package == package)
}

fn is_withdrawn(task: &OpenTask) -> bool {
    matches!(task.state, TaskState::Withdrawn { .. })
}

const fn unassigned(open: &OpenTask) -> Reason {
    let announced_at = match open.state {
        TaskState::Pending => None,
        TaskState::Announced { announced_at } | TaskState::Withdrawn { announced_at } => {
            Some(announced_at)
        }
    };
    Reason::Unassigned { announced_at }
}

/// Returns the reason for a task that the next check-in creates or restores.
fn of_next_task(inputs: &ExplainInputs<'_>, announcement: &Announcement<'_>) -> Reason {
    let unreached = unreached(inputs.memberships, inputs.groups, inputs.package.id);
    match (obstacle(inputs.package, announcement), unreached) {
        (None | Some(Reason::BehindPriority { .. }), Some((state, assignment))) => {
            Reason::Unreached {
                group: state.group.clone(),
                assigned_at: assignment.assigned_at,
            }
        }
        (obstacle, _) => obstacle.unwrap_or(Reason::Pending),
    }
}

fn of_open(
    inputs: &ExplainInputs<'_>,
    open: &OpenTask,
    announcement: &Announcement<'_>,
    now: UnixTime,
) -> Reason {
    match open.state {
        TaskState::Pending => obstacle(inputs.package, announcement).unwrap_or(Reason::Pending),
        TaskState::Withdrawn { announced_at } => Reason::Withdrawn {
            announced_at,
            told_to_drop: inputs.commands.told_to_drop(open),
        },
        // An OCS agent does not read the manifest, so an expired one does not stop it.
        TaskState::Announced { announced_at } => obstacle(inputs.package, announcement)
            .map(|reason| match reason {
                Reason::NotActive | Reason::NoLocation => Reason::Cancelling { announced_at },
                other => other,
            })
            .or_else(|| expired(inputs.package, now).filter(|_| !runs_ocs_agent(inputs.device)))
            .or_else(|| waits(inputs, open, announced_at))
            .unwrap_or(Reason::Announced { announced_at }),
    }
}

/// Replaces the reason of a task with which the device has not begun, if its rollout is closed.
///
/// A device with a place has begun, or may begin once its rollout runs.
fn by_rollout(inputs: &ExplainInputs<'_>, open: Option<&OpenTask>, reason: Reason) -> Reason {
    let has_place = open.is_some_and(|open| open.place.is_some());
    let has_not_begun = match reason {
        Reason::Pending => true,
        Reason::Announced { .. } => !has_place,
        Reason::Waits { wait, .. } => wait == WaitWord::Held,
        _ => false,
    };
    match inputs.rollout {
        Some(wait) if has_not_begun => Reason::Rollout(wait),
        Some(_) | None => reason,
    }
}

fn waits(inputs: &ExplainInputs<'_>, open: &OpenTask, announced_at: UnixTime) -> Option<Reason> {
    let waiting = wait_of(inputs.waits, open)?;
    Some(Reason::Waits {
        announced_at,
        wait: waiting.reason,
        until: waiting.until,
    })
}

fn without_task(inputs: &ExplainInputs<'_>) -> Reason {
    let package = inputs.package;
    if let Some(finished) = inputs.finished {
        return match finished.outcome {
            Outcome::Succeeded => Reason::Succeeded,
            Outcome::Failed => Reason::Failed,
            Outcome::Cancelled => Reason::Cancelled,
            Outcome::NotApplicable => Reason::NotApplicable,
        };
    }
    if inputs.in_history {
        return Reason::InHistory;
    }
    if let Some(deleted) = deleted(package) {
        return deleted;
    }
    if package.published().is_none() {
        return Reason::Draft;
    }
    if !package.is_for(inputs.device) {
        return if runs_ocs_agent(inputs.device) {
            match package.action {
                Action::Update { .. } => Reason::UpdatesOtherAgent,
                _ => Reason::OcsAgent,
            }
        } else {
            Reason::NotInAudience
        };
    }
    if inputs.system.is_other_than(package.platform) {
        return Reason::NotApplicable;
    }
    let group_with = group_with(inputs.memberships, inputs.groups, package.id);
    group_with.map_or(Reason::NotAssigned, |state| Reason::Skipped {
        group: state.group.clone(),
    })
}

/// Returns the reason for not announcing the package, or `None` if it is announced.
fn obstacle(package: &PackageRecord, announcement: &Announcement<'_>) -> Option<Reason> {
    let mut omitted = announcement.omitted.iter();
    let (_, why) = omitted.find(|(task, _)| task.package == package.id)?;
    match why {
        NotAnnounced::Deleted => deleted(package),
        NotAnnounced::NotPublished => Some(Reason::Draft),
        NotAnnounced::NotActive if package.active => Some(Reason::NoLocation),
        NotAnnounced::NotActive => Some(Reason::NotActive),
        NotAnnounced::Expired => package
            .published()
            .and_then(|published| published.expires)
            .map(|expired_at| Reason::Expired { expired_at }),
        NotAnnounced::OtherSystem => Some(Reason::NotApplicable),
        NotAnnounced::BehindPriority => {
            let first = announcement.announced.first()?;
            let behind = first.task.package;
            Some(Reason::BehindPriority { behind })
        }
        NotAnnounced::NoPackage | NotAnnounced::Withdrawn => None,
    }
}

fn deleted(package: &PackageRecord) -> Option<Reason> {
    match package.state {
        PackageState::Deleted { deleted_at } => Some(Reason::Deleted { deleted_at }),
        PackageState::Draft | PackageState::Published(_) => None,
    }
}

fn expired(package: &PackageRecord, now: UnixTime) -> Option<Reason> {
    let expired_at = package.expired(now)?;
    Some(Reason::Expired { expired_at })
}

/// Returns the announced packages with a higher priority than the task.
fn ahead(announcement: &Announcement<'_>, task: &OpenTask) -> Vec<PackageId> {
    announcement
        .announced
        .iter()
        .filter(|pick| pick.task.priority < task.priority)
        .map(|pick| pick.task.package)
        .collect()
}

#[cfg(test)]
mod tests;
