//! Choice of the open tasks that are announced to a device.

use packcast_protocol::{PackageId, UnixTime};

use crate::record::{OpenTask, PackageRecord, Published, TaskState};
use crate::system::DeviceSystem;

/// A task that is announced to a device, with its package.
#[derive(Clone, Copy, Debug)]
pub struct AnnouncedTask<'a> {
    pub task: &'a OpenTask,
    pub package: &'a PackageRecord,
    pub published: &'a Published,
}

impl AnnouncedTask<'_> {
    /// Returns true if the task is announced for the first time.
    ///
    /// The store must record such a task as announced before the reply is sent.
    pub const fn is_new(&self) -> bool {
        matches!(self.task.state, TaskState::Pending)
    }
}

/// Reason for not announcing an open task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnnounced {
    /// The package has no record.
    NoPackage,
    NotPublished,
    Deleted,
    NotActive,
    /// The package has expired.
    Expired,
    /// The device runs another system than the package is for.
    OtherSystem,
    /// The package was unassigned.
    Withdrawn,
    /// A task of a higher priority comes first (only if strict is in force).
    BehindPriority,
}

/// Tasks that are announced to a device, in the order of their priority, then of their packages'
/// ids.
#[derive(Debug, Default)]
pub struct Announcement<'a> {
    pub announced: Vec<AnnouncedTask<'a>>,
    pub omitted: Vec<(&'a OpenTask, NotAnnounced)>,
}

impl<'a> Announcement<'a> {
    /// Announces nothing, because the target is paused.
    ///
    /// Only an OCS agent still sees the tasks that were announced to it: it could not finish them
    /// otherwise. A Packcast agent keeps its tasks, which are not cancelled.
    pub fn pause(&mut self, rules: Rules) {
        let stays = |pick: &AnnouncedTask<'_>| rules.is_ocs_agent && !pick.is_new();
        self.announced.retain(stays);
    }

    /// Returns the tasks that were announced earlier and are not announced now.
    ///
    /// A Packcast agent cancels these tasks, and reports that it did. If the assignment is still
    /// there, the report begins the next attempt, which is announced once its package is active
    /// again.
    pub fn cancelled(&self) -> impl Iterator<Item = &'a OpenTask> {
        self.omitted
            .iter()
            .filter(|(task, _)| task.state != TaskState::Pending)
            .map(|(task, _)| *task)
    }

    /// Returns the tasks that end without an announcement, because their packages are for another
    /// system.
    pub fn not_applicable(&self) -> impl Iterator<Item = &'a OpenTask> {
        self.omitted
            .iter()
            .filter(|(_, why)| *why == NotAnnounced::OtherSystem)
            .map(|(task, _)| *task)
    }
}

/// Rules for announcing tasks to a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Announce only the highest priority that can be announced, not all priorities at once.
    pub strict: bool,
    /// The device runs an OCS agent, which must see an announced task until it reports.
    pub is_ocs_agent: bool,
    pub system: DeviceSystem,
}

/// Decides which open tasks are announced to a device.
///
/// For an OCS agent, an announced task stays in the list until its report, even if the task was
/// withdrawn, because an agent that no longer sees the task cannot finish it (protocol reference
/// §8, items 2 and 3). A Packcast agent is asked to cancel tasks that are withdrawn or whose
/// package is no longer active.
pub fn announce<'a>(
    tasks: impl IntoIterator<Item = &'a OpenTask>,
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    rules: Rules,
    now: UnixTime,
) -> Announcement<'a> {
    let mut ordered: Vec<&OpenTask> = tasks.into_iter().collect();
    ordered.sort_by_key(|task| (task.priority, task.package));
    let mut announcement = Announcement::default();
    for task in ordered {
        match pick(task, &package, rules, now) {
            Ok(pick) if rules.strict && pick.is_new() && behind(&announcement.announced, task) => {
                announcement
                    .omitted
                    .push((task, NotAnnounced::BehindPriority));
            }
            Ok(pick) => announcement.announced.push(pick),
            Err(why) => announcement.omitted.push((task, why)),
        }
    }
    announcement
}

fn behind(before: &[AnnouncedTask<'_>], task: &OpenTask) -> bool {
    before.iter().any(|pick| pick.task.priority < task.priority)
}

fn pick<'a>(
    task: &'a OpenTask,
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    rules: Rules,
    now: UnixTime,
) -> Result<AnnouncedTask<'a>, NotAnnounced> {
    if matches!(task.state, TaskState::Withdrawn { .. }) && !rules.is_ocs_agent {
        // A Packcast agent cancels the task, whatever the state of the package.
        return Err(NotAnnounced::Withdrawn);
    }
    let package = package(task.package).ok_or(NotAnnounced::NoPackage)?;
    if package.is_deleted() {
        return Err(NotAnnounced::Deleted);
    }
    let published = package.published().ok_or(NotAnnounced::NotPublished)?;
    let pick = AnnouncedTask {
        task,
        package,
        published,
    };
    // An announced task keeps its place for an OCS agent even if the package is inactive or has
    // expired: only a pending task can be kept back without stranding the agent.
    let is_active = package.active && !package.locations.is_empty();
    match task.state {
        TaskState::Pending if !is_active => Err(NotAnnounced::NotActive),
        TaskState::Announced { .. } if !is_active && !rules.is_ocs_agent => {
            Err(NotAnnounced::NotActive)
        }
        TaskState::Pending if rules.system.is_other_than(package.platform) => {
            Err(NotAnnounced::OtherSystem)
        }
        TaskState::Pending if published.expired(now).is_some() => Err(NotAnnounced::Expired),
        TaskState::Pending | TaskState::Announced { .. } | TaskState::Withdrawn { .. } => Ok(pick),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{package, task};

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const EARLIER: UnixTime = UnixTime(1_794_000_000);

    fn announced(tasks: &[OpenTask], packages: &[PackageRecord], strict: bool) -> Vec<u32> {
        let find = |id| packages.iter().find(|package| package.id == id);
        announce(
            tasks,
            find,
            Rules {
                strict,
                is_ocs_agent: false,
                system: DeviceSystem::Unknown,
            },
            NOW,
        )
        .announced
        .iter()
        .map(|pick| pick.task.package.get() % 100)
        .collect()
    }

    fn why(task: &OpenTask, package: &PackageRecord) -> Option<NotAnnounced> {
        let find = |id| (package.id == id).then_some(package);
        announce([task], find, Rules::default(), NOW)
            .omitted
            .first()
            .map(|(_, why)| *why)
    }

    #[test]
    fn lower_priority_numbers_come_first_in_any_order_of_assignment() {
        let tasks = [task(1, 10), task(2, 5), task(3, 0), task(4, 5)];
        let packages = [1, 2, 3, 4].map(package);
        assert_eq!(announced(&tasks, &packages, false), [3, 2, 4, 1]);
    }

    #[test]
    fn strict_announces_one_priority_at_a_time() {
        let packages = [1, 2, 3].map(package);
        assert_eq!(
            announced(&[task(1, 10), task(2, 5), task(3, 5)], &packages, true),
            [2, 3]
        );
        let mut late = task(1, 10);
        late.state = TaskState::Announced {
            announced_at: EARLIER,
        };
        assert_eq!(
            announced(&[late, task(2, 5), task(3, 6)], &packages, true),
            [2, 1]
        );
    }

    #[test]
    fn a_paused_target_announces_nothing_new() {
        let mut old = task(1, 5);
        old.state = TaskState::Announced {
            announced_at: EARLIER,
        };
        let (tasks, packages) = ([old, task(2, 5)], [1, 2].map(package));
        let paused = |is_ocs_agent| {
            let find = |id| packages.iter().find(|package| package.id == id);
            let rules = Rules {
                strict: false,
                is_ocs_agent,
                system: DeviceSystem::Unknown,
            };
            let mut announcement = announce(&tasks, find, rules, NOW);
            announcement.pause(rules);
            assert_eq!(announcement.cancelled().count(), 0);
            let announced = announcement.announced.iter();
            let ids = announced.map(|pick| pick.task.package.get() % 100);
            ids.collect::<Vec<u32>>()
        };
        assert_eq!(paused(false), [0; 0]);
        assert_eq!(paused(true), [1]);
    }

    #[test]
    fn a_task_that_cannot_be_announced_does_not_delay_lower_priorities() {
        let mut packages = [1, 2].map(package);
        packages[0].active = false;
        assert_eq!(announced(&[task(1, 0), task(2, 5)], &packages, true), [2]);
    }

    #[test]
    fn each_reason_has_its_name() {
        let pending = task(1, 5);
        assert_eq!(why(&pending, &package(1)), None);
        assert_eq!(why(&pending, &package(2)), Some(NotAnnounced::NoPackage));
        let check = |change: &dyn Fn(&mut PackageRecord), expected| {
            let mut package = package(1);
            change(&mut package);
            assert_eq!(why(&pending, &package), Some(expected));
        };
        check(&|package| package.active = false, NotAnnounced::NotActive);
        check(
            &|package| package.locations.clear(),
            NotAnnounced::NotActive,
        );
        check(
            &|package| package.state = crate::PackageState::Draft,
            NotAnnounced::NotPublished,
        );
        check(
            &|package| {
                if let crate::PackageState::Published(published) = &mut package.state {
                    published.expires = Some(NOW);
                }
            },
            NotAnnounced::Expired,
        );
        let mut withdrawn = pending.clone();
        withdrawn.state = TaskState::Withdrawn {
            announced_at: EARLIER,
        };
        assert_eq!(why(&withdrawn, &package(1)), Some(NotAnnounced::Withdrawn));
        let mut deleted = package(1);
        deleted.state = crate::PackageState::Deleted { deleted_at: NOW };
        assert_eq!(why(&pending, &deleted), Some(NotAnnounced::Deleted));
        assert_eq!(why(&withdrawn, &deleted), Some(NotAnnounced::Withdrawn));
    }

    #[test]
    fn a_package_for_another_system_is_not_announced_but_stays_if_it_was() {
        let mut package = package(1);
        package.platform = packcast_protocol::manifest::Platform::Windows;
        let decided = |task: OpenTask, system| {
            let tasks = [task];
            let rules = Rules {
                is_ocs_agent: true,
                system,
                ..Rules::default()
            };
            let announcement = announce(&tasks, |_| Some(&package), rules, NOW);
            let ended = announcement.not_applicable().count();
            (announcement.announced.len(), ended)
        };
        assert_eq!(decided(task(1, 5), DeviceSystem::Windows), (1, 0));
        assert_eq!(decided(task(1, 5), DeviceSystem::Unknown), (1, 0));
        assert_eq!(decided(task(1, 5), DeviceSystem::Linux), (0, 1));
        // The agent cannot finish a task that it no longer sees.
        let mut announced = task(1, 5);
        announced.state = TaskState::Announced {
            announced_at: EARLIER,
        };
        assert_eq!(decided(announced, DeviceSystem::Linux), (1, 0));
    }

    #[test]
    fn ocs_agents_keep_seeing_withdrawn_tasks() {
        let mut withdrawn = task(1, 5);
        withdrawn.state = TaskState::Withdrawn {
            announced_at: EARLIER,
        };
        let package = package(1);
        let rules = Rules {
            is_ocs_agent: true,
            ..Rules::default()
        };
        let tasks = [withdrawn];
        assert_eq!(
            announce(&tasks, |_| Some(&package), rules, NOW)
                .announced
                .len(),
            1
        );
    }

    #[test]
    fn tasks_of_inactive_packages_stay_for_ocs_agents_and_are_cancelled_by_packcast_agents() {
        let mut announced = task(1, 5);
        announced.state = TaskState::Announced {
            announced_at: EARLIER,
        };
        let mut package = package(1);
        package.active = false;
        package.locations.clear();
        let tasks = [announced, task(2, 5)];
        let counts = |is_ocs_agent| {
            let rules = Rules {
                is_ocs_agent,
                ..Rules::default()
            };
            let announcement = announce(&tasks, |_| Some(&package), rules, NOW);
            (
                announcement.announced.len(),
                announcement.cancelled().count(),
            )
        };
        assert_eq!(counts(true), (1, 0));
        assert_eq!(counts(false), (0, 1));
    }
}
