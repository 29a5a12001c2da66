//! Which of its open tasks a device is told.

use packcast_protocol::{PackageId, UnixTime};

use crate::record::{OpenTask, PackageRecord, Published, TaskState};

/// A task that the device is told, with what it needs to know of the package.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    pub task: &'a OpenTask,
    pub package: &'a PackageRecord,
    pub published: &'a Published,
}

impl Pick<'_> {
    /// Tells whether the records must say `announced` before the device may be told.
    pub const fn is_new(&self) -> bool {
        matches!(self.task.state, TaskState::Held)
    }
}

/// Why a device is not told of an open task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnnounced {
    /// No record of the package can be found.
    NoPackage,
    NotPublished,
    Deleted,
    NotActive,
    /// Its manifest has expired, so no agent of ours would act on it.
    Expired,
    /// The assignment was taken back.
    Withdrawn,
    /// A task of a higher priority comes first (only where strict is in force).
    BehindPriority,
}

/// What a device is told: tasks in the order of their priority, then of their packages' ids.
#[derive(Debug, Default)]
pub struct Announcement<'a> {
    pub told: Vec<Pick<'a>>,
    pub not_told: Vec<(&'a OpenTask, NotAnnounced)>,
}

impl<'a> Announcement<'a> {
    /// Returns the tasks that the device was told of and is not any more: an agent of ours
    /// cancels them, and says so. One whose assignment holds begins anew then, and is told of
    /// once its package is active again.
    pub fn called_off(&self) -> impl Iterator<Item = &'a OpenTask> {
        self.not_told
            .iter()
            .filter(|(task, _)| task.state != TaskState::Held)
            .map(|(task, _)| *task)
    }
}

/// How a device is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Only the highest priority that can be announced is, not all at once.
    pub strict: bool,
    /// The device runs a stock agent, which must keep seeing what it was told of.
    pub stock: bool,
}

/// Decides what a device is told of its open tasks.
///
/// For stock agents a task that was announced stays in the list until its report, even when it
/// was withdrawn, as one that no longer sees it cannot finish it (protocol reference §8, items
/// 2 and 3). An agent of ours is told to cancel what is withdrawn or no longer active.
pub fn announce<'a>(
    tasks: &'a [OpenTask],
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    rules: Rules,
    now: UnixTime,
) -> Announcement<'a> {
    let mut ordered: Vec<&OpenTask> = tasks.iter().collect();
    ordered.sort_by_key(|task| (task.priority, task.package));
    let mut announcement = Announcement::default();
    for task in ordered {
        match pick(task, &package, rules, now) {
            Ok(pick) if rules.strict && pick.is_new() && behind(&announcement.told, task) => {
                announcement
                    .not_told
                    .push((task, NotAnnounced::BehindPriority));
            }
            Ok(pick) => announcement.told.push(pick),
            Err(why) => announcement.not_told.push((task, why)),
        }
    }
    announcement
}

fn behind(told: &[Pick<'_>], task: &OpenTask) -> bool {
    told.iter().any(|pick| pick.task.priority < task.priority)
}

fn pick<'a>(
    task: &'a OpenTask,
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    rules: Rules,
    now: UnixTime,
) -> Result<Pick<'a>, NotAnnounced> {
    if matches!(task.state, TaskState::Withdrawn { .. }) && !rules.stock {
        // Ours is told to cancel it, whatever became of the package.
        return Err(NotAnnounced::Withdrawn);
    }
    let package = package(task.package).ok_or(NotAnnounced::NoPackage)?;
    if package.is_deleted() {
        return Err(NotAnnounced::Deleted);
    }
    let published = package.published().ok_or(NotAnnounced::NotPublished)?;
    let pick = Pick {
        task,
        package,
        published,
    };
    let is_active = package.active && !package.locations.is_empty();
    match task.state {
        TaskState::Held if !is_active => Err(NotAnnounced::NotActive),
        TaskState::Announced { .. } if !is_active && !rules.stock => Err(NotAnnounced::NotActive),
        TaskState::Held if published.expires <= now => Err(NotAnnounced::Expired),
        TaskState::Held | TaskState::Announced { .. } | TaskState::Withdrawn { .. } => Ok(pick),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{package, task};

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const TOLD: UnixTime = UnixTime(1_794_000_000);

    fn told(tasks: &[OpenTask], packages: &[PackageRecord], strict: bool) -> Vec<u32> {
        let find = |id| packages.iter().find(|package| package.id == id);
        announce(
            tasks,
            find,
            Rules {
                strict,
                stock: false,
            },
            NOW,
        )
        .told
        .iter()
        .map(|pick| pick.task.package.get() % 100)
        .collect()
    }

    fn why(task: &OpenTask, package: &PackageRecord) -> Option<NotAnnounced> {
        let find = |id| (package.id == id).then_some(package);
        announce(std::slice::from_ref(task), find, Rules::default(), NOW)
            .not_told
            .first()
            .map(|(_, why)| *why)
    }

    #[test]
    fn lower_numbers_come_first_whatever_the_order_of_assignment() {
        let tasks = [task(1, 10), task(2, 5), task(3, 0), task(4, 5)];
        let packages = [1, 2, 3, 4].map(package);
        assert_eq!(told(&tasks, &packages, false), [3, 2, 4, 1]);
    }

    #[test]
    fn strict_tells_one_level_at_a_time() {
        let packages = [1, 2, 3].map(package);
        assert_eq!(
            told(&[task(1, 10), task(2, 5), task(3, 5)], &packages, true),
            [2, 3]
        );
        let mut late = task(1, 10);
        late.state = TaskState::Announced { announced_at: TOLD };
        assert_eq!(
            told(&[late, task(2, 5), task(3, 6)], &packages, true),
            [2, 1]
        );
    }

    #[test]
    fn strict_is_not_held_up_by_what_cannot_be_announced() {
        let mut packages = [1, 2].map(package);
        packages[0].active = false;
        assert_eq!(told(&[task(1, 0), task(2, 5)], &packages, true), [2]);
    }

    #[test]
    fn each_reason_has_its_name() {
        let held = task(1, 5);
        assert_eq!(why(&held, &package(1)), None);
        assert_eq!(why(&held, &package(2)), Some(NotAnnounced::NoPackage));
        let check = |change: &dyn Fn(&mut PackageRecord), expected| {
            let mut package = package(1);
            change(&mut package);
            assert_eq!(why(&held, &package), Some(expected));
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
                    published.expires = NOW;
                }
            },
            NotAnnounced::Expired,
        );
        let mut withdrawn = held.clone();
        withdrawn.state = TaskState::Withdrawn { announced_at: TOLD };
        assert_eq!(why(&withdrawn, &package(1)), Some(NotAnnounced::Withdrawn));
        let mut deleted = package(1);
        deleted.state = crate::PackageState::Deleted { deleted_at: NOW };
        assert_eq!(why(&held, &deleted), Some(NotAnnounced::Deleted));
        assert_eq!(why(&withdrawn, &deleted), Some(NotAnnounced::Withdrawn));
    }

    #[test]
    fn stock_agents_keep_seeing_what_was_withdrawn() {
        let mut withdrawn = task(1, 5);
        withdrawn.state = TaskState::Withdrawn { announced_at: TOLD };
        let package = package(1);
        let rules = Rules {
            strict: false,
            stock: true,
        };
        let tasks = [withdrawn];
        assert_eq!(
            announce(&tasks, |_| Some(&package), rules, NOW).told.len(),
            1
        );
    }

    #[test]
    fn what_was_announced_stays_listed_for_stock_agents_and_is_called_off_for_ours() {
        let mut announced = task(1, 5);
        announced.state = TaskState::Announced { announced_at: TOLD };
        let mut package = package(1);
        package.active = false;
        package.locations.clear();
        let tasks = [announced, task(2, 5)];
        let said = |stock| {
            let rules = Rules {
                strict: false,
                stock,
            };
            let said = announce(&tasks, |_| Some(&package), rules, NOW);
            (said.told.len(), said.called_off().count())
        };
        assert_eq!(said(true), (1, 0));
        assert_eq!(said(false), (0, 1));
    }
}
