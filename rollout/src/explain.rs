//! Why a device has a package, or has it not.
//!
//! The answer comes from the decisions of a check-in: what the next one would change and tell
//! is decided from the same records, and nothing is written.

use std::slice;

use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, UnixTime};
use serde::Serialize;

use crate::announce::{Announcement, NotAnnounced, Rules, announce};
use crate::assign::Situation;
use crate::change::TaskChange;
use crate::group::{GroupAssignment, GroupState};
use crate::membership::Memberships;
use crate::order::DeviceCommands;
use crate::reconcile::{Reconciling, reconcile, wanting};
use crate::record::{FinishedTask, OpenTask, PackageRecord, PackageState, TaskState};

/// What is on record of one device and one package.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub device: &'a DeviceId,
    /// Whether the device was ever in contact.
    pub is_known: bool,
    pub memberships: &'a Memberships,
    /// The states of the device's groups; a group that does not exist has none.
    pub groups: &'a [GroupState],
    /// All open tasks of the device, of whatever package.
    pub tasks: &'a [OpenTask],
    pub orders: DeviceCommands,
    pub package: &'a PackageRecord,
    /// The packages of the other open tasks.
    pub others: &'a [PackageRecord],
    /// The result of the latest attempt that has one.
    pub finished: Option<&'a FinishedTask>,
    /// Whether a stock agent's own history lists the package.
    pub in_history: bool,
    /// Whether the device is told one priority level at a time.
    pub strict: bool,
}

/// Why a device has a package, or has it not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    #[serde(flatten)]
    pub reason: Reason,
    /// The attempt that the reason is about, if there is one, or is to be at the next check-in.
    pub attempt: Option<u32>,
    /// Whether the device itself has the package assigned and has not finished it.
    pub direct: bool,
    /// The device's groups that have the package.
    pub groups: Vec<GroupName>,
    /// Packages of a higher priority that the device is told of as well, the highest first.
    pub ahead: Vec<PackageId>,
}

/// The reason that comes first: once it is gone, another may show.
///
/// The names are part of the command line's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// The device was never in contact.
    NeverSeen,
    /// Neither the device nor a group of it was assigned the package.
    NotAssigned,
    /// A group of the device has the package, and the device has not checked in since.
    Unreached {
        group: GroupName,
        assigned_at: UnixTime,
    },
    /// A group of the device has the package, but the device was not to get it when it checked
    /// in: it had it, or the package was not meant for it then.
    PassedOver {
        group: GroupName,
    },
    /// The package is not published completely.
    Draft,
    NotActive,
    /// The package is active, but nowhere.
    NoLocation,
    /// The package's manifest has expired, so no agent of ours acts on it any more.
    Expired {
        expired_at: UnixTime,
    },
    /// The package was deleted before the device had it.
    Deleted {
        deleted_at: UnixTime,
    },
    /// The package is meant for other devices.
    NotInAudience,
    /// The package is meant for some devices only, and a stock agent cannot check for which.
    OcsAgent,
    /// A package of a higher priority comes first (only where strict is in force).
    BehindPriority {
        behind: PackageId,
    },
    /// The device is told at its next check-in.
    Held,
    /// The device was told, and has not reported since.
    Announced {
        announced_at: UnixTime,
    },
    /// The device was told, the package is not active any more, and the device has not said yet
    /// that it cancels.
    Cancelling {
        announced_at: UnixTime,
    },
    /// The device was told, it was taken back, and the device has not reported since.
    Withdrawn {
        announced_at: UnixTime,
        /// Whether a stock agent was told to drop it since.
        told_to_drop: bool,
    },
    /// It was taken back, and the device has not checked in since.
    Unassigned {
        announced_at: Option<UnixTime>,
    },
    /// A stock agent's own history lists the package.
    InHistory,
    Succeeded,
    Failed,
    /// The device dropped it without having acted on it.
    Cancelled,
}

/// Says why a device has a package, or has it not.
pub fn explain(evidence: &Evidence<'_>, now: UnixTime) -> Explanation {
    let change = next_change(evidence, now);
    let mut tasks = evidence.tasks.to_vec();
    if let Some(change) = &change {
        change.apply(&mut tasks);
    }
    let rules = Rules {
        strict: evidence.strict,
        stock: is_stock(evidence.device),
    };
    let announcement = announce(&tasks, |id| evidence.find(id), rules, now);
    let open = task_of(evidence.tasks, evidence.package.id);
    let next = task_of(&tasks, evidence.package.id);
    let reason = match (open, &change) {
        _ if !evidence.is_known => Reason::NeverSeen,
        (Some(open), Some(_)) if next.is_none_or(is_withdrawn) => taken_back(open),
        (_, Some(_)) => to_come(evidence, &announcement),
        (Some(open), None) => of_open(evidence, open, &announcement, now),
        (None, None) => without_task(evidence),
    };
    let finished = evidence.finished.map(|finished| finished.attempt);
    Explanation {
        reason,
        attempt: next.or(open).map(|task| task.attempt).or(finished),
        direct: open.is_some_and(|task| task.direct),
        groups: evidence
            .having()
            .map(|(state, _)| state.group.clone())
            .collect(),
        ahead: next.map_or_else(Vec::new, |task| ahead(&announcement, task)),
    }
}

/// Returns a group of a device that has a package, if its assignment is news to the device: it
/// has not checked in since.
pub fn unreached<'a>(
    memberships: &Memberships,
    groups: &'a [GroupState],
    package: PackageId,
) -> Option<(&'a GroupState, &'a GroupAssignment)> {
    having(memberships, groups, package)
        .find(|(state, assignment)| assignment.seq > memberships.mark(&state.group))
}

fn having<'a>(
    memberships: &Memberships,
    groups: &'a [GroupState],
    package: PackageId,
) -> impl Iterator<Item = (&'a GroupState, &'a GroupAssignment)> {
    groups
        .iter()
        .filter(|state| memberships.includes(&state.group))
        .filter_map(move |state| Some((state, state.assignment(package)?)))
}

impl<'a> Evidence<'a> {
    fn find(&self, id: PackageId) -> Option<&'a PackageRecord> {
        let mut packages = slice::from_ref(self.package).iter().chain(self.others);
        packages.find(|package| package.id == id)
    }

    /// Returns the device's groups that have the package.
    fn having(&self) -> impl Iterator<Item = (&'a GroupState, &'a GroupAssignment)> {
        having(self.memberships, self.groups, self.package.id)
    }
}

/// Decides what the next check-in changes because of the device's groups.
fn next_change(evidence: &Evidence<'_>, now: UnixTime) -> Option<TaskChange> {
    let package = evidence.package;
    let open = task_of(evidence.tasks, package.id);
    let reconciling = Reconciling {
        device: evidence.device,
        memberships: evidence.memberships,
        tasks: open.map_or(&[], slice::from_ref),
        states: evidence.groups,
    };
    let situation = Situation {
        is_known: evidence.is_known,
        open: open.cloned(),
        finished: evidence.finished.cloned(),
        in_history: evidence.in_history,
    };
    let only = |id| (id == package.id).then_some(package);
    let steps = reconcile(&reconciling, |_| situation.clone(), only, now);
    steps.into_iter().flat_map(|step| step.changes).next()
}

fn is_stock(device: &DeviceId) -> bool {
    matches!(device, DeviceId::Ocs(_))
}

fn task_of(tasks: &[OpenTask], package: PackageId) -> Option<&OpenTask> {
    tasks.iter().find(|task| task.package == package)
}

fn is_withdrawn(task: &OpenTask) -> bool {
    matches!(task.state, TaskState::Withdrawn { .. })
}

const fn taken_back(open: &OpenTask) -> Reason {
    let announced_at = match open.state {
        TaskState::Held => None,
        TaskState::Announced { announced_at } | TaskState::Withdrawn { announced_at } => {
            Some(announced_at)
        }
    };
    Reason::Unassigned { announced_at }
}

/// Says what keeps the device from a task that begins, or is wanted again, at its next check-in.
fn to_come(evidence: &Evidence<'_>, announcement: &Announcement<'_>) -> Reason {
    let news = unreached(evidence.memberships, evidence.groups, evidence.package.id);
    match (obstacle(evidence.package, announcement), news) {
        (None | Some(Reason::BehindPriority { .. }), Some((state, assignment))) => {
            Reason::Unreached {
                group: state.group.clone(),
                assigned_at: assignment.assigned_at,
            }
        }
        (obstacle, _) => obstacle.unwrap_or(Reason::Held),
    }
}

fn of_open(
    evidence: &Evidence<'_>,
    open: &OpenTask,
    announcement: &Announcement<'_>,
    now: UnixTime,
) -> Reason {
    match open.state {
        TaskState::Held => obstacle(evidence.package, announcement).unwrap_or(Reason::Held),
        TaskState::Withdrawn { announced_at } => Reason::Withdrawn {
            announced_at,
            told_to_drop: evidence.orders.have_dropped(open),
        },
        // A stock agent does not look at the manifest.
        TaskState::Announced { announced_at } => obstacle(evidence.package, announcement)
            .map(|reason| match reason {
                Reason::NotActive | Reason::NoLocation => Reason::Cancelling { announced_at },
                other => other,
            })
            .or_else(|| expired(evidence.package, now).filter(|_| !is_stock(evidence.device)))
            .unwrap_or(Reason::Announced { announced_at }),
    }
}

fn without_task(evidence: &Evidence<'_>) -> Reason {
    let package = evidence.package;
    if let Some(finished) = evidence.finished {
        return match finished.outcome {
            Outcome::Succeeded => Reason::Succeeded,
            Outcome::Failed => Reason::Failed,
            Outcome::Cancelled => Reason::Cancelled,
        };
    }
    if evidence.in_history {
        return Reason::InHistory;
    }
    if let Some(deleted) = deleted(package) {
        return deleted;
    }
    if package.published().is_none() {
        return Reason::Draft;
    }
    if !package.audience.includes_device(evidence.device) {
        return if is_stock(evidence.device) {
            Reason::OcsAgent
        } else {
            Reason::NotInAudience
        };
    }
    let wanting = wanting(evidence.memberships, evidence.groups, package.id);
    wanting.map_or(Reason::NotAssigned, |state| Reason::PassedOver {
        group: state.group.clone(),
    })
}

/// Says why the device is not told of the package, if it is not.
fn obstacle(package: &PackageRecord, announcement: &Announcement<'_>) -> Option<Reason> {
    let mut not_told = announcement.not_told.iter();
    let (_, why) = not_told.find(|(task, _)| task.package == package.id)?;
    match why {
        NotAnnounced::Deleted => deleted(package),
        NotAnnounced::NotPublished => Some(Reason::Draft),
        NotAnnounced::NotActive if package.active => Some(Reason::NoLocation),
        NotAnnounced::NotActive => Some(Reason::NotActive),
        NotAnnounced::Expired => package.published().map(|published| Reason::Expired {
            expired_at: published.expires,
        }),
        NotAnnounced::BehindPriority => {
            let first = announcement.told.first()?;
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
    let expired_at = package.published()?.expires;
    (expired_at <= now).then_some(Reason::Expired { expired_at })
}

/// Returns the packages that the device is told of and that come before the task.
fn ahead(announcement: &Announcement<'_>, task: &OpenTask) -> Vec<PackageId> {
    announcement
        .told
        .iter()
        .filter(|pick| pick.task.priority < task.priority)
        .map(|pick| pick.task.package)
        .collect()
}

#[cfg(test)]
mod tests;
