//! The promise over random histories.

use proptest::prelude::*;

use super::changes::{AGENTS, Back, Change, LAST_PACKAGE, PACKAGES};
use super::device::{Clock, ModelDevice, Reply};
use super::publishers::{Forgery, Publishers};

/// A step of a history. The owner of the table chooses the heads, the lists and the replies.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait {
        hours: u16,
    },
    Change {
        machine: usize,
        head: Option<Back>,
        change: Change,
        days: u8,
        is_lost: bool,
    },
    Adopt {
        machine: usize,
        head: Option<Back>,
        other: Back,
    },
    Renew {
        machine: usize,
    },
    Rotate {
        machine: usize,
        head: Option<Back>,
    },
    Leak {
        machine: usize,
    },
    Forge(Forgery),
    ReplaceLeaked {
        machine: usize,
        head: Option<Back>,
    },
    Forget {
        machine: usize,
        kept: u8,
    },
    Reply {
        device: usize,
        reply: Reply,
    },
    /// Both devices receive the newest state, as from an honest function.
    Deliver,
    Act {
        device: usize,
        package: u32,
    },
    Clock {
        device: usize,
        clock: Clock,
    },
    LoseState {
        device: usize,
    },
    Restart {
        device: usize,
    },
}

fn any_change() -> impl Strategy<Value = Change> {
    let pair = (any::<u8>(), any::<u8>());
    prop_oneof![
        6 => pair.prop_map(|(assignee, package)| Change::Assign { assignee, package }),
        4 => any::<u8>().prop_map(|package| Change::Assign { assignee: 0, package }),
        8 => any::<u8>().prop_map(|which| Change::Unassign { which }),
        2 => pair.prop_map(|(device, group)| Change::Join { device, group }),
        2 => any::<u8>().prop_map(|which| Change::Leave { which }),
        1 => any::<u8>().prop_map(|group| Change::DeleteGroup { group }),
        2 => any::<u8>().prop_map(|group| Change::RenameGroup { group }),
    ]
}

/// One of all, most often a recent one.
fn any_back() -> impl Strategy<Value = Back> {
    prop_oneof![3 => Just(0), 4 => 0_u8..6, 1 => any::<u8>()].prop_map(Back)
}

/// A head that the table owner chooses, or the newest head.
fn any_head() -> impl Strategy<Value = Option<Back>> {
    prop_oneof![1 => Just(None), 1 => any_back().prop_map(Some)]
}

fn any_forgery() -> impl Strategy<Value = Forgery> {
    let issued = prop_oneof![2 => Just(0), 1 => 0_u32..10_000_000, 1 => Just(2_000_000_000)];
    let numbers = (
        any_back(),
        any_back(),
        issued,
        any::<u32>(),
        any::<u8>(),
        any::<bool>(),
    );
    (numbers, any_change()).prop_map(|(numbers, change)| {
        let (content, base, issued, ahead, days, contains_all) = numbers;
        Forgery {
            content,
            base,
            change,
            issued,
            ahead,
            days,
            contains_all,
        }
    })
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let rarely = || proptest::option::weighted(0.05, any_back());
    let lists = (
        proptest::option::weighted(0.8, any_back()),
        proptest::bool::weighted(0.1),
    );
    let commit = proptest::option::weighted(0.8, any_back());
    let parts = (rarely(), rarely(), rarely());
    let without = proptest::option::weighted(0.05, any::<u8>());
    (lists, commit, parts, without).prop_map(|(lists, commit, parts, without)| Reply {
        lists: lists.0,
        lists_reversed: lists.1,
        commit,
        groups: parts.0,
        devices: parts.1,
        ancestors: parts.2,
        without,
    })
}

fn any_clock() -> impl Strategy<Value = Clock> {
    prop_oneof![
        Just(Clock::Right),
        Just(Clock::Epoch),
        (1_u8..200).prop_map(|days| Clock::Behind { days }),
        (1_u8..200).prop_map(|days| Clock::Ahead { days }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let machine = || 0_usize..2;
    let device = || 0..AGENTS;
    let change = (
        machine(),
        any_head(),
        any_change(),
        any::<u8>(),
        proptest::bool::weighted(0.2),
    );
    prop_oneof![
        2 => prop_oneof![2 => 0_u16..24, 1 => 0_u16..40 * 24]
            .prop_map(|hours| Step::Wait { hours }),
        14 => change.prop_map(|(machine, head, change, days, is_lost)| {
            // Most commits are valid for the default time.
            let days = if days % 8 == 0 { days } else { 89 };
            Step::Change { machine, head, change, days, is_lost }
        }),
        2 => (machine(), any_head(), any_back())
            .prop_map(|(machine, head, other)| Step::Adopt { machine, head, other }),
        1 => machine().prop_map(|machine| Step::Renew { machine }),
        2 => (machine(), any_head())
            .prop_map(|(machine, head)| Step::Rotate { machine, head }),
        1 => machine().prop_map(|machine| Step::Leak { machine }),
        3 => any_forgery().prop_map(Step::Forge),
        1 => (machine(), any_head())
            .prop_map(|(machine, head)| Step::ReplaceLeaked { machine, head }),
        2 => (machine(), any::<u8>()).prop_map(|(machine, kept)| Step::Forget { machine, kept }),
        20 => (device(), any_reply()).prop_map(|(device, reply)| Step::Reply { device, reply }),
        6 => Just(Step::Deliver),
        2 => (device(), 0..u32::from(PACKAGES)).prop_map(|(device, package)| Step::Act { device, package }),
        1 => (device(), any_clock()).prop_map(|(device, clock)| Step::Clock { device, clock }),
        1 => device().prop_map(|device| Step::LoseState { device }),
        2 => device().prop_map(|device| Step::Restart { device }),
    ]
}

fn perform(publishers: &mut Publishers, devices: &mut [ModelDevice], step: Step) {
    match step {
        Step::Wait { hours } => {
            publishers.now = publishers.now.plus(u64::from(hours) * 3_600);
        }
        Step::Change {
            machine,
            head,
            change,
            days,
            is_lost,
        } => publishers.change(machine, head, change, days, is_lost),
        Step::Adopt {
            machine,
            head,
            other,
        } => publishers.adopt(machine, head, other),
        Step::Renew { machine } => publishers.renew(machine),
        Step::Rotate { machine, head } => publishers.rotate(machine, head),
        Step::Leak { machine } => publishers.leak(machine),
        Step::Forge(forgery) => publishers.forge(forgery),
        Step::ReplaceLeaked { machine, head } => publishers.replace_leaked(machine, head),
        Step::Forget { machine, kept } => publishers.forget(machine, kept),
        Step::Reply { device, reply } => devices[device].receive(publishers, reply),
        Step::Deliver => {
            for device in devices {
                device.receive(publishers, Reply::newest());
            }
        }
        Step::Act { device, package } => devices[device].act(publishers, package),
        Step::Clock { device, clock } => devices[device].set_clock(clock),
        Step::LoseState { device } => devices[device].lose_state(publishers),
        Step::Restart { device } => devices[device].restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A device acts only under one commit that a trusted key has signed. A package that was
    /// withdrawn does not come back on a device that saw the withdrawal, until the commit expires that
    /// showed it.
    /// An honest publisher always reaches every device again.
    #[test]
    fn nothing_withdrawn_comes_back_and_no_device_is_lost(
        same_key in any::<bool>(),
        shared_memory in any::<bool>(),
        adopts in any::<bool>(),
        steps in proptest::collection::vec(any_step(), 1..100),
    ) {
        let mut publishers = Publishers::new(same_key, shared_memory);
        let mut devices: Vec<ModelDevice> = (0..AGENTS).map(ModelDevice::new).collect();
        for step in steps {
            perform(&mut publishers, &mut devices, step);
        }
        let last = publishers.recover(adopts);
        for device in &mut devices {
            device.recover(&publishers, last, LAST_PACKAGE);
        }
    }
}
