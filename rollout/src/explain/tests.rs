use std::collections::BTreeSet;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{AgentId, ResultCode};

use super::*;
use crate::command::{CommandRecord, DeviceCommand};
use crate::group::tests::group;
use crate::record::tests::{id, package, task};
use crate::rollout::Place;

const NOW: UnixTime = UnixTime(1_795_000_000);
const EARLIER: UnixTime = UnixTime(1_794_000_000);
const ANNOUNCED: TaskState = TaskState::Announced {
    announced_at: EARLIER,
};
const WITHDRAWN: TaskState = TaskState::Withdrawn {
    announced_at: EARLIER,
};

/// Inputs for an explanation of package 1.
#[derive(Clone)]
struct Case {
    device: DeviceId,
    is_known: bool,
    system: DeviceSystem,
    excluded: Option<ExclusionKind>,
    memberships: Memberships,
    groups: Vec<GroupState>,
    tasks: Vec<OpenTask>,
    waits: Vec<WaitingPackage>,
    commands: DeviceCommands,
    package: PackageRecord,
    others: Vec<PackageRecord>,
    finished: Option<FinishedTask>,
    in_history: bool,
    strict: bool,
    rollout: Option<RolloutWait>,
}

fn packcast_device() -> DeviceId {
    DeviceId::Agent(AgentId::of_public_key(&[1; 32]))
}

fn ocs_device() -> DeviceId {
    "ocs:web01-2026-03-04-05-06-07".parse().unwrap()
}

fn unassigned() -> Case {
    Case {
        device: packcast_device(),
        is_known: true,
        system: DeviceSystem::Linux,
        excluded: None,
        memberships: Memberships::default(),
        groups: Vec::new(),
        tasks: Vec::new(),
        waits: Vec::new(),
        commands: DeviceCommands::default(),
        package: package(1),
        others: Vec::new(),
        finished: None,
        in_history: false,
        strict: false,
        rollout: None,
    }
}

fn open(state: TaskState) -> Case {
    let task = OpenTask {
        state,
        ..task(1, 5)
    };
    Case {
        tasks: vec![task],
        ..unassigned()
    }
}

/// Returns a case in which the device's group got the package with its second revision, and the
/// observed revision of the device is the group's `revision`-th, or none for 0.
fn by_group(revision: u64) -> Case {
    let first = EARLIER.0;
    let mut state = GroupState::new(group("lab"), first, EARLIER).assigning(&package(1), false);
    state.assignments[0].assigned_at = EARLIER;
    let observed = revision.checked_sub(1).map_or(0, |later| first + later);
    Case {
        memberships: Memberships::from_iter([(group("lab"), observed)]),
        groups: vec![state],
        ..unassigned()
    }
}

fn finished(outcome: Outcome) -> Case {
    let result = FinishedTask {
        package: id(1),
        attempt: 1,
        code: ResultCode::Exited(3),
        outcome,
        detail: None,
        output_tail: None,
        mandate: None,
        used: BTreeSet::new(),
        finished_at: EARLIER,
    };
    Case {
        finished: Some(result),
        ..unassigned()
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn deleted(self) -> Self {
        self.with(|case| {
            case.package.state = PackageState::Deleted {
                deleted_at: EARLIER,
            }
        })
    }

    fn expired(self) -> Self {
        self.with(|case| {
            if let PackageState::Published(published) = &mut case.package.state {
                published.expires = Some(EARLIER);
            }
        })
    }

    fn explain(&self) -> Explanation {
        let inputs = ExplainInputs {
            device: &self.device,
            is_known: self.is_known,
            system: self.system,
            excluded: self.excluded,
            memberships: &self.memberships,
            groups: &self.groups,
            tasks: &self.tasks,
            waits: &self.waits,
            commands: self.commands,
            package: &self.package,
            others: &self.others,
            finished: self.finished.as_ref(),
            in_history: self.in_history,
            strict: self.strict,
            rollout: self.rollout,
        };
        explain(&inputs, NOW)
    }
}

fn check(case: &Case, expected: &Reason) {
    assert_eq!(case.explain().reason, *expected);
}

#[test]
fn a_device_without_a_task_has_a_reason() {
    let only_for = |device: &DeviceId| {
        unassigned().with(|case| {
            case.device = device.clone();
            case.package.audience = Audience::Devices(BTreeSet::new());
        })
    };
    check(&unassigned(), &Reason::NotAssigned);
    check(
        &unassigned().with(|case| case.is_known = false),
        &Reason::NeverSeen,
    );
    check(
        &unassigned().deleted(),
        &Reason::Deleted {
            deleted_at: EARLIER,
        },
    );
    check(&only_for(&packcast_device()), &Reason::NotInAudience);
    let for_windows = |case: Case| case.with(|case| case.package.platform = Platform::Windows);
    let cases = [
        unassigned(),
        open(TaskState::Pending),
        by_group(0),
        finished(Outcome::NotApplicable),
    ];
    for case in cases {
        check(&for_windows(case), &Reason::NotApplicable);
    }
    check(&only_for(&ocs_device()), &Reason::OcsAgent);
    let update = |device: &DeviceId| {
        unassigned().with(|case| {
            case.device = device.clone();
            case.package.action = crate::record::tests::update();
        })
    };
    check(&update(&ocs_device()), &Reason::UpdatesOtherAgent);
    check(&update(&packcast_device()), &Reason::NotAssigned);
    check(
        &unassigned().with(|case| case.in_history = true),
        &Reason::InHistory,
    );
    let group = group("lab");
    check(&by_group(2), &Reason::Skipped { group });
}

#[test]
fn an_excluded_device_has_no_other_reason_except_the_results_of_a_blocked_one() {
    let excluded = |case: Case, kind| case.with(|case| case.excluded = Some(kind));
    let (blocked, removed) = (ExclusionKind::Blocked, ExclusionKind::Removed);
    for case in [open(TaskState::Pending), open(ANNOUNCED), by_group(0)] {
        check(&excluded(case.clone(), blocked), &Reason::Excluded);
        check(&excluded(case, removed), &Reason::Excluded);
    }
    let finished = finished(Outcome::Succeeded);
    check(&excluded(finished.clone(), blocked), &Reason::Succeeded);
    check(&excluded(unassigned(), blocked), &Reason::NotAssigned);
    let unknown = unassigned().with(|case| case.is_known = false);
    check(&excluded(unknown, removed), &Reason::Excluded);
}

#[test]
fn a_finished_attempt_has_its_outcome() {
    check(&finished(Outcome::Succeeded), &Reason::Succeeded);
    check(&finished(Outcome::Succeeded).deleted(), &Reason::Succeeded);
    check(&finished(Outcome::Failed), &Reason::Failed);
    check(&finished(Outcome::Cancelled), &Reason::Cancelled);
    assert_eq!(finished(Outcome::Failed).explain().attempt, Some(1));
}

#[test]
fn a_pending_task_names_its_obstacle() {
    let pending = || open(TaskState::Pending);
    check(&pending(), &Reason::Pending);
    check(
        &pending().deleted(),
        &Reason::Deleted {
            deleted_at: EARLIER,
        },
    );
    check(
        &pending().expired(),
        &Reason::Expired {
            expired_at: EARLIER,
        },
    );
    let inactive = pending().with(|case| case.package.active = false);
    check(&inactive, &Reason::NotActive);
    let nowhere = pending().with(|case| case.package.locations.clear());
    check(&nowhere, &Reason::NoLocation);
    let draft = pending().with(|case| case.package.state = PackageState::Draft);
    check(&draft, &Reason::Draft);
}

#[test]
fn a_higher_priority_comes_first_on_strict_targets_and_is_named_on_all() {
    let crowded = |strict| {
        open(TaskState::Pending).with(|case| {
            case.tasks.extend([task(2, 0), task(3, 5), task(4, 9)]);
            case.others = [2, 3, 4].map(package).to_vec();
            case.strict = strict;
        })
    };
    check(&crowded(false), &Reason::Pending);
    check(&crowded(true), &Reason::BehindPriority { behind: id(2) });
    for strict in [false, true] {
        assert_eq!(crowded(strict).explain().ahead, [id(2)]);
    }
}

#[test]
fn an_announced_task_has_the_reason_of_the_device() {
    let waiting = |attempt| WaitingPackage {
        package: id(1),
        attempt,
        reason: WaitWord::CommitExpired,
        until: Some(NOW),
    };
    let waits = open(ANNOUNCED).with(|case| case.waits = vec![waiting(case.tasks[0].attempt)]);
    let reason = Reason::Waits {
        announced_at: EARLIER,
        wait: WaitWord::CommitExpired,
        until: Some(NOW),
    };
    check(&waits, &reason);
    let announced = Reason::Announced {
        announced_at: EARLIER,
    };
    check(
        &waits.clone().with(|case| case.waits = vec![waiting(9)]),
        &announced,
    );
    let inactive = waits.with(|case| case.package.active = false);
    let cancelling = Reason::Cancelling {
        announced_at: EARLIER,
    };
    check(&inactive, &cancelling);
}

#[test]
fn an_announced_task_names_its_obstacle() {
    let announced = Reason::Announced {
        announced_at: EARLIER,
    };
    check(&open(ANNOUNCED), &announced);
    let inactive = open(ANNOUNCED).with(|case| case.package.active = false);
    let cancelling = Reason::Cancelling {
        announced_at: EARLIER,
    };
    check(&inactive, &cancelling);
    let ocs_agent_continues = inactive.with(|case| case.device = ocs_device());
    check(&ocs_agent_continues, &announced);
    check(
        &open(ANNOUNCED).expired(),
        &Reason::Expired {
            expired_at: EARLIER,
        },
    );
    let ocs_agent = open(ANNOUNCED)
        .expired()
        .with(|case| case.device = ocs_device());
    check(&ocs_agent, &announced);
    check(
        &open(ANNOUNCED).deleted(),
        &Reason::Deleted {
            deleted_at: EARLIER,
        },
    );
}

#[test]
fn a_task_with_which_the_device_has_not_begun_names_its_rollout() {
    let rollout = RolloutId::from_bytes([7; 16]);
    let wait = RolloutWait {
        rollout,
        closed: Closed::Full,
        wave: Some(WaveNumber::FIRST),
        opens: Some(EARLIER),
        is_calendar_open: true,
    };
    let by_rollout = |case: Case| case.with(|case| case.rollout = Some(wait));
    let expected = Reason::Rollout(wait);
    check(&by_rollout(open(TaskState::Pending)), &expected);
    check(&by_rollout(open(ANNOUNCED)), &expected);
    let waits = |reason| {
        by_rollout(open(ANNOUNCED)).with(|case| {
            case.waits.push(WaitingPackage {
                package: id(1),
                attempt: 1,
                reason,
                until: None,
            });
        })
    };
    check(&waits(WaitWord::Held), &expected);
    let clock = Reason::Waits {
        announced_at: EARLIER,
        wait: WaitWord::Clock,
        until: None,
    };
    check(&waits(WaitWord::Clock), &clock);
    // The device has its place already.
    let begun = by_rollout(open(ANNOUNCED)).with(|case| {
        case.tasks[0].place = Some(Place { rollout, round: 1 });
    });
    let announced_at = EARLIER;
    check(&begun, &Reason::Announced { announced_at });
    let inactive = by_rollout(open(TaskState::Pending)).with(|case| case.package.active = false);
    check(&inactive, &Reason::NotActive);
    check(&by_rollout(finished(Outcome::Failed)), &Reason::Failed);
}

#[test]
fn a_withdrawn_task_shows_the_command_to_drop() {
    let withdrawn = |told_to_drop| Reason::Withdrawn {
        announced_at: EARLIER,
        told_to_drop,
    };
    check(&open(WITHDRAWN), &withdrawn(false));
    check(&open(WITHDRAWN).deleted(), &withdrawn(false));
    let dropped = open(WITHDRAWN).with(|case| {
        case.device = ocs_device();
        case.commands.drop = Some(CommandRecord {
            command: DeviceCommand::Drop,
            asked_at: EARLIER,
            told_at: Some(NOW),
        });
    });
    check(&dropped, &withdrawn(true));
}

#[test]
fn an_assignment_to_a_group_reaches_the_device_at_its_next_check_in() {
    let unreached = Reason::Unreached {
        group: group("lab"),
        assigned_at: EARLIER,
    };
    for observed in [0, 1] {
        check(&by_group(observed), &unreached);
        let explanation = by_group(observed).explain();
        assert_eq!(explanation.groups, [group("lab")]);
        assert_eq!(explanation.attempt, Some(1));
    }
    let inactive = by_group(0).with(|case| case.package.active = false);
    check(&inactive, &Reason::NotActive);
    check(
        &by_group(0).deleted(),
        &Reason::Deleted {
            deleted_at: EARLIER,
        },
    );
    let never_seen = by_group(0).with(|case| case.is_known = false);
    check(&never_seen, &Reason::NeverSeen);
    let had_it = by_group(0).with(|case| case.in_history = true);
    check(&had_it, &Reason::InHistory);
}

#[test]
fn assigning_to_a_group_again_explains_the_next_attempt() {
    let failed = by_group(1).with(|case| case.finished = finished(Outcome::Failed).finished);
    let explanation = failed.explain();
    assert!(matches!(explanation.reason, Reason::Unreached { .. }));
    assert_eq!(explanation.attempt, Some(2));
    let reconciled = failed.with(|case| case.memberships = by_group(2).memberships);
    check(&reconciled, &Reason::Failed);
    let withdrawn = by_group(1).with(|case| case.tasks = open(WITHDRAWN).tasks);
    let explanation = withdrawn.explain();
    assert!(matches!(explanation.reason, Reason::Unreached { .. }));
    assert_eq!(explanation.attempt, Some(1));
}

#[test]
fn a_task_without_an_assignment_ends_at_the_next_check_in() {
    let of_a_group = |state| open(state).with(|case| case.tasks[0].direct = false);
    let ended = |announced_at| Reason::Unassigned { announced_at };
    check(&of_a_group(TaskState::Pending), &ended(None));
    check(&of_a_group(ANNOUNCED), &ended(Some(EARLIER)));
    let explanation = of_a_group(TaskState::Pending).explain();
    assert_eq!((explanation.direct, explanation.attempt), (false, Some(1)));
    assert!(open(TaskState::Pending).explain().direct);
}
