use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{AgentId, ResultCode};

use super::*;
use crate::group::tests::group;
use crate::order::{CommandRecord, DeviceCommand};
use crate::record::tests::{id, package, task};

const NOW: UnixTime = UnixTime(1_795_000_000);
const TOLD: UnixTime = UnixTime(1_794_000_000);
const ANNOUNCED: TaskState = TaskState::Announced { announced_at: TOLD };
const WITHDRAWN: TaskState = TaskState::Withdrawn { announced_at: TOLD };

/// A known device of ours and package 1, which nothing has assigned.
#[derive(Clone)]
struct Case {
    device: DeviceId,
    is_known: bool,
    memberships: Memberships,
    groups: Vec<GroupState>,
    tasks: Vec<OpenTask>,
    orders: DeviceCommands,
    package: PackageRecord,
    others: Vec<PackageRecord>,
    finished: Option<FinishedTask>,
    in_history: bool,
    strict: bool,
}

fn ours() -> DeviceId {
    DeviceId::Agent(AgentId::of_public_key(&[1; 32]))
}

fn stock() -> DeviceId {
    "ocs:web01-2026-03-04-05-06-07".parse().unwrap()
}

fn nothing() -> Case {
    Case {
        device: ours(),
        is_known: true,
        memberships: Memberships::default(),
        groups: Vec::new(),
        tasks: Vec::new(),
        orders: DeviceCommands::default(),
        package: package(1),
        others: Vec::new(),
        finished: None,
        in_history: false,
        strict: false,
    }
}

fn open(state: TaskState) -> Case {
    let task = OpenTask {
        state,
        ..task(1, 5)
    };
    Case {
        tasks: vec![task],
        ..nothing()
    }
}

/// The device's group has the package since its second revision, and the device is reconciled
/// up to the group's `revision`-th, 0 for none.
fn by_group(revision: u64) -> Case {
    let first = TOLD.0;
    let state = GroupState::new(group("lab"), first, TOLD);
    let mark = revision.checked_sub(1).map_or(0, |later| first + later);
    Case {
        memberships: Memberships::from_iter([(group("lab"), mark)]),
        groups: vec![state.assign(&package(1), false, TOLD).unwrap()],
        ..nothing()
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
        finished_at: TOLD,
    };
    Case {
        finished: Some(result),
        ..nothing()
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn deleted(self) -> Self {
        self.with(|case| case.package.state = PackageState::Deleted { deleted_at: TOLD })
    }

    fn expired(self) -> Self {
        self.with(|case| {
            if let PackageState::Published(published) = &mut case.package.state {
                published.expires = TOLD;
            }
        })
    }

    fn explain(&self) -> Explanation {
        let evidence = Evidence {
            device: &self.device,
            is_known: self.is_known,
            memberships: &self.memberships,
            groups: &self.groups,
            tasks: &self.tasks,
            orders: self.orders,
            package: &self.package,
            others: &self.others,
            finished: self.finished.as_ref(),
            in_history: self.in_history,
            strict: self.strict,
        };
        explain(&evidence, NOW)
    }
}

fn check(case: &Case, expected: &Reason) {
    assert_eq!(case.explain().reason, *expected);
}

#[test]
fn what_a_device_without_a_task_lacks() {
    let only_for = |device: &DeviceId| {
        nothing().with(|case| {
            case.device = device.clone();
            case.package.audience = Audience::Devices(BTreeSet::new());
        })
    };
    check(&nothing(), &Reason::NotAssigned);
    check(
        &nothing().with(|case| case.is_known = false),
        &Reason::NeverSeen,
    );
    check(&nothing().deleted(), &Reason::Deleted { deleted_at: TOLD });
    check(&only_for(&ours()), &Reason::NotInAudience);
    check(&only_for(&stock()), &Reason::OcsAgent);
    check(
        &nothing().with(|case| case.in_history = true),
        &Reason::InHistory,
    );
    let group = group("lab");
    check(&by_group(2), &Reason::PassedOver { group });
}

#[test]
fn how_an_attempt_ended() {
    check(&finished(Outcome::Succeeded), &Reason::Succeeded);
    check(&finished(Outcome::Succeeded).deleted(), &Reason::Succeeded);
    check(&finished(Outcome::Failed), &Reason::Failed);
    check(&finished(Outcome::Cancelled), &Reason::Cancelled);
    assert_eq!(finished(Outcome::Failed).explain().attempt, Some(1));
}

#[test]
fn what_keeps_a_held_task_back() {
    let held = || open(TaskState::Held);
    check(&held(), &Reason::Held);
    check(&held().deleted(), &Reason::Deleted { deleted_at: TOLD });
    check(&held().expired(), &Reason::Expired { expired_at: TOLD });
    let inactive = held().with(|case| case.package.active = false);
    check(&inactive, &Reason::NotActive);
    let nowhere = held().with(|case| case.package.locations.clear());
    check(&nowhere, &Reason::NoLocation);
    let draft = held().with(|case| case.package.state = PackageState::Draft);
    check(&draft, &Reason::Draft);
}

#[test]
fn a_higher_priority_comes_first_on_strict_targets_and_is_named_on_all() {
    let crowded = |strict| {
        open(TaskState::Held).with(|case| {
            case.tasks.extend([task(2, 0), task(3, 5), task(4, 9)]);
            case.others = [2, 3, 4].map(package).to_vec();
            case.strict = strict;
        })
    };
    check(&crowded(false), &Reason::Held);
    check(&crowded(true), &Reason::BehindPriority { behind: id(2) });
    for strict in [false, true] {
        assert_eq!(crowded(strict).explain().ahead, [id(2)]);
    }
}

#[test]
fn what_became_of_a_task_that_was_told() {
    let announced = Reason::Announced { announced_at: TOLD };
    check(&open(ANNOUNCED), &announced);
    let inactive = open(ANNOUNCED).with(|case| case.package.active = false);
    let called_off = Reason::Cancelling { announced_at: TOLD };
    check(&inactive, &called_off);
    let stock_goes_on = inactive.with(|case| case.device = stock());
    check(&stock_goes_on, &announced);
    check(
        &open(ANNOUNCED).expired(),
        &Reason::Expired { expired_at: TOLD },
    );
    let stock_agent = open(ANNOUNCED).expired().with(|case| case.device = stock());
    check(&stock_agent, &announced);
    check(
        &open(ANNOUNCED).deleted(),
        &Reason::Deleted { deleted_at: TOLD },
    );
}

#[test]
fn what_was_withdrawn_goes_on_until_it_is_dropped() {
    let withdrawn = |told_to_drop| Reason::Withdrawn {
        announced_at: TOLD,
        told_to_drop,
    };
    check(&open(WITHDRAWN), &withdrawn(false));
    check(&open(WITHDRAWN).deleted(), &withdrawn(false));
    let dropped = open(WITHDRAWN).with(|case| {
        case.device = stock();
        case.orders.cancel = Some(CommandRecord {
            order: DeviceCommand::Cancel,
            asked_at: TOLD,
            told_at: Some(NOW),
        });
    });
    check(&dropped, &withdrawn(true));
}

#[test]
fn what_a_group_has_is_news_until_the_next_check_in() {
    let unreached = Reason::Unreached {
        group: group("lab"),
        assigned_at: TOLD,
    };
    for mark in [0, 1] {
        check(&by_group(mark), &unreached);
        let explanation = by_group(mark).explain();
        assert_eq!(explanation.groups, [group("lab")]);
        assert_eq!(explanation.attempt, Some(1));
    }
    let inactive = by_group(0).with(|case| case.package.active = false);
    check(&inactive, &Reason::NotActive);
    check(
        &by_group(0).deleted(),
        &Reason::Deleted { deleted_at: TOLD },
    );
    let never_seen = by_group(0).with(|case| case.is_known = false);
    check(&never_seen, &Reason::NeverSeen);
    let had_it = by_group(0).with(|case| case.in_history = true);
    check(&had_it, &Reason::InHistory);
}

#[test]
fn what_a_group_has_again_is_the_next_attempt() {
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
fn what_no_group_has_any_more_is_taken_back_at_the_next_check_in() {
    let of_a_group = |state| open(state).with(|case| case.tasks[0].direct = false);
    let taken_back = |announced_at| Reason::Unassigned { announced_at };
    check(&of_a_group(TaskState::Held), &taken_back(None));
    check(&of_a_group(ANNOUNCED), &taken_back(Some(TOLD)));
    let explanation = of_a_group(TaskState::Held).explain();
    assert_eq!((explanation.direct, explanation.attempt), (false, Some(1)));
    assert!(open(TaskState::Held).explain().direct);
}
