//! The random plan of an administrator for a fleet.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::model::FleetModel;

/// The groups, in the order of their names, `all` last.
pub(super) const GROUPS: [&str; 5] = ["lab", "site-1", "site-2", "site-3", "all"];
const ALL: usize = GROUPS.len() - 1;

/// The priorities of the packages.
pub(super) const PRIORITIES: [u8; 10] = [5, 5, 0, 10, 3, 5, 7, 0, 9, 1];

/// Number of rounds: the administrator acts, devices check in and report.
pub(super) const ROUNDS: usize = 4;

/// A command of the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Join(usize, usize),
    Leave(usize, usize),
    Assign {
        group: usize,
        package: usize,
        force: bool,
    },
    Unassign {
        group: usize,
        package: usize,
    },
    AssignDevice(usize, usize),
    UnassignDevice(usize, usize),
    Activate(usize),
    Deactivate(usize),
}

/// Draws the acts of a round: three lists in sequence; the acts of one list are concurrent.
pub(super) fn round(number: usize, model: &FleetModel, random: &mut Rng) -> [Vec<Act>; 3] {
    let acts = match number {
        0 => [devices_join(model, random), first_packages(random), vec![]],
        1 => [
            some_move(model, random, 15, 10),
            changes(model, random),
            some_devices(model, random, Act::AssignDevice),
        ],
        2 => [
            some_move(model, random, 5, 5),
            withdrawals(model),
            some_devices(model, random, Act::UnassignDevice),
        ],
        _ => [vec![], vec![], vec![]],
    };
    acts.map(|mut acts| {
        random.shuffle(&mut acts);
        acts
    })
}

/// Applies an act to the model.
pub(super) fn follow(model: &mut FleetModel, act: Act) {
    match act {
        Act::Join(device, group) => model.join(device, group),
        Act::Leave(device, group) => model.leave(device, group),
        Act::Assign {
            group,
            package,
            force,
        } => model.assign(group, package, force),
        Act::Unassign { group, package } => model.unassign(group, package),
        Act::AssignDevice(device, package) => model.assign_device(device, package),
        Act::UnassignDevice(device, package) => model.unassign_device(device, package),
        Act::Activate(package) => model.packages[package].is_active = true,
        Act::Deactivate(package) => model.packages[package].is_active = false,
    }
}

fn percent(random: &mut Rng, percent: u32) -> bool {
    random.u32(0..100) < percent
}

fn devices_join(model: &FleetModel, random: &mut Rng) -> Vec<Act> {
    let mut acts = Vec::new();
    for device in 0..model.devices.len() {
        let joined = (0..ALL).filter(|_| percent(random, 40));
        acts.extend(joined.map(|group| Act::Join(device, group)));
    }
    acts
}

/// One package for all, and six for one or two groups each; one of them is activated later.
fn first_packages(random: &mut Rng) -> Vec<Act> {
    let mut acts = vec![assign(ALL, 0), Act::Deactivate(6)];
    for package in 1..7 {
        acts.extend(some_groups(random).map(|group| assign(group, package)));
    }
    acts
}

/// Three more packages, of which one is never activated; a package assigned again, for devices on
/// which it failed; two packages that a group loses.
fn changes(model: &FleetModel, random: &mut Rng) -> Vec<Act> {
    let mut acts = vec![Act::Activate(6), Act::Deactivate(9)];
    for package in 7..10 {
        acts.extend(some_groups(random).map(|group| assign(group, package)));
    }
    acts.extend(model.having(3).into_iter().map(|group| assign(group, 3)));
    for package in [1, 2] {
        let group = model.having(package)[0];
        acts.push(Act::Unassign { group, package });
    }
    acts
}

/// Two packages that all groups lose, and one that is forced on devices that already have it.
fn withdrawals(model: &FleetModel) -> Vec<Act> {
    let lost = [0, 4].into_iter().flat_map(|package| {
        let groups = model.having(package).into_iter();
        groups.map(move |group| Act::Unassign { group, package })
    });
    let forced = model.having(5).into_iter().map(|group| Act::Assign {
        group,
        package: 5,
        force: true,
    });
    lost.chain(forced).collect()
}

fn assign(group: usize, package: usize) -> Act {
    Act::Assign {
        group,
        package,
        force: false,
    }
}

/// Draws one or two groups.
fn some_groups(random: &mut Rng) -> impl Iterator<Item = usize> {
    let groups = BTreeSet::from([random.usize(0..ALL), random.usize(0..ALL)]);
    groups.into_iter()
}

/// Lets some devices join another group, and some leave one.
fn some_move(model: &FleetModel, random: &mut Rng, join: u32, leave: u32) -> Vec<Act> {
    let mut acts = Vec::new();
    for device in 0..model.devices.len() {
        let joined: Vec<usize> = model.joined(device).collect();
        let group = random.usize(0..ALL);
        if percent(random, join) && !joined.contains(&group) {
            acts.push(Act::Join(device, group));
        }
        if percent(random, leave) {
            acts.extend(joined.first().map(|group| Act::Leave(device, *group)));
        }
    }
    acts
}

/// Assigns or unassigns a package for about every tenth device.
fn some_devices(model: &FleetModel, random: &mut Rng, act: fn(usize, usize) -> Act) -> Vec<Act> {
    let mut acts = Vec::new();
    for device in 0..model.devices.len() {
        if percent(random, 10) {
            acts.push(act(device, random.usize(1..PRIORITIES.len())));
        }
    }
    acts
}
