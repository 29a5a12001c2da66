//! A small state for tests: every leaf of it is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::{
    DocumentText, Entries, LeafChange, LeafName, NodeHash, PartialTree, RolloutDocument, RolloutId,
    RolloutSeed, Terms, Wave,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, Sha256Digest, UnixTime};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::pacing::{PacingChange, PacingOverride};
use crate::record::tests::id;

const GROUPS: [&str; 4] = ["all", "lab", "office", "hall"];
const HOSTS: [&str; 3] = ["web01", "web02", "web03"];
const LOCATIONS: [&str; 2] = ["cdn", "mirror"];
/// Enough for a history in which each step ends a rollout.
const ROLLOUTS: Range<u8> = 0..80;

pub(super) fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

pub(super) fn device(host: &str) -> DeviceId {
    format!("ocs:{host}-2026-03-04-05-06-07").parse().unwrap()
}

pub(super) fn devices(hosts: &[&str]) -> BTreeSet<DeviceId> {
    hosts.iter().map(|host| device(host)).collect()
}

pub(super) fn assignment(n: u32) -> NewAssignment {
    NewAssignment {
        package: id(n),
        manifest: Sha256Digest::of(&n.to_be_bytes()),
        force: false,
        terms: Terms::default(),
    }
}

pub(super) fn of_group(name: &str) -> EntryOwner {
    EntryOwner::Group(group(name))
}

pub(super) fn of_device(host: &str) -> EntryOwner {
    EntryOwner::Device(device(host))
}

pub(super) fn create(name: &str) -> StateChange {
    let group = group(name);
    StateChange::CreateGroup { group }
}

pub(super) fn delete(name: &str) -> StateChange {
    let group = group(name);
    StateChange::DeleteGroup { group }
}

pub(super) fn rename(name: &str, to: &str) -> StateChange {
    let (group, to) = (group(name), group(to));
    StateChange::RenameGroup { group, to }
}

pub(super) fn join(name: &str, hosts: &[&str]) -> StateChange {
    StateChange::Join {
        group: group(name),
        devices: devices(hosts),
    }
}

pub(super) fn leave(name: &str, hosts: &[&str]) -> StateChange {
    StateChange::Leave {
        group: group(name),
        devices: devices(hosts),
    }
}

pub(super) fn assign(to: EntryOwner, n: u32) -> StateChange {
    let assignment = assignment(n);
    StateChange::Assign { to, assignment }
}

pub(super) fn unassign(from: EntryOwner, n: u32) -> StateChange {
    let package = id(n);
    StateChange::Unassign { from, package }
}

pub(super) fn add_location(name: &str, url: &str) -> StateChange {
    StateChange::AddLocation {
        location: name.parse().unwrap(),
        url: url.parse().unwrap(),
    }
}

/// Returns the id of a rollout.
pub(super) const fn rollout_id(n: u8) -> RolloutId {
    RolloutId::from_bytes([n; 16])
}

/// Returns a rollout of a package to some groups with a pilot wave and a wave of all devices.
pub(super) fn rollout(n: u32, groups: &[&str], from: [Option<u64>; 2]) -> RolloutDocument {
    let names = |names: &[&str]| {
        let names = names.iter().map(|name| group(name));
        RolloutGroups::new(names.collect()).unwrap()
    };
    let [pilot, all] = from.map(|from| from.map(UnixTime));
    let waves = vec![
        Wave {
            devices: WaveDevices::Groups(names(&["office"])),
            from: pilot,
        },
        Wave {
            devices: WaveDevices::UpTo(10_000),
            from: all,
        },
    ];
    let seed = RolloutSeed::from_bytes([7; 16]);
    let assignment = assignment(n);
    RolloutDocument::new(
        assignment.package,
        assignment.manifest,
        names(groups),
        seed,
        Waves::new(waves).unwrap(),
    )
}

pub(super) fn set_rollout(id: u8, document: RolloutDocument) -> StateChange {
    let rollout = rollout_id(id);
    StateChange::SetRollout { rollout, document }
}

/// Assigns a package to a group by a rollout.
pub(super) fn assign_by(id: u8, name: &str, n: u32) -> StateChange {
    let plain = assignment(n);
    let terms = plain.terms.with_rollout(rollout_id(id)).unwrap();
    let to = of_group(name);
    let assignment = NewAssignment { terms, ..plain };
    StateChange::Assign { to, assignment }
}

/// Returns the changes that start a rollout.
pub(super) fn start(id: u8, n: u32, groups: &[&str], from: [Option<u64>; 2]) -> Vec<StateChange> {
    let set = set_rollout(id, rollout(n, groups, from));
    let assigned = groups.iter().map(|name| assign_by(id, name, n));
    [set].into_iter().chain(assigned).collect()
}

pub(super) const fn end(id: u8) -> StateChange {
    let rollout = rollout_id(id);
    StateChange::EndRollout { rollout }
}

pub(super) const fn finish(id: u8) -> StateChange {
    let rollout = rollout_id(id);
    StateChange::FinishRollout { rollout }
}

pub(super) fn open_wave(id: u8, wave: u8, from: u64) -> StateChange {
    StateChange::OpenWave {
        rollout: rollout_id(id),
        wave: wave.try_into().unwrap(),
        from: UnixTime(from),
    }
}

/// Returns a state without leaves, in which the leaves of these tests are loaded.
pub(super) fn empty() -> StatePart {
    // A revert can need the last name for a while.
    let names = GROUPS.into_iter().chain(["renamed-1"]);
    let groups = names.map(|name| LeafName::Group(group(name)));
    let devices = HOSTS.map(|host| LeafName::Device(device(host)));
    let locations = LOCATIONS.map(|name| LeafName::Location(name.parse().unwrap()));
    let rollouts = ROLLOUTS.map(|id| LeafName::Rollout(rollout_id(id)));
    let names = groups.chain(devices).chain(locations).chain(rollouts);
    let leaves = names.map(|name| (name, None));
    let part = StatePart::read(leaves, &BTreeMap::new()).unwrap();
    let mut state = part.with_all_rollouts();
    for name in GROUPS {
        state.set_whole(group(name));
    }
    state
}

/// Makes changes that succeed.
pub(super) fn applied(before: &StatePart, changes: &[StateChange], number: u64) -> StatePart {
    let planned = apply(before, changes, number, &AdoptedEntries::default());
    planned.unwrap().documents
}

/// Makes each change in a commit of its own, from number 1. Changes that fail are left out.
pub(super) fn after_commits(before: &StatePart, changes: &[StateChange], first: u64) -> StatePart {
    let numbered = changes.iter().zip(first..);
    numbered.fold(before.clone(), |state, (change, number)| {
        let change = std::slice::from_ref(change);
        match apply(&state, change, number, &AdoptedEntries::default()) {
            Ok(planned) => planned.documents,
            Err(_) => state,
        }
    })
}

/// Returns the part of a state with these leaves, read from their texts.
pub(super) fn reloaded(state: &StatePart, names: impl IntoIterator<Item = LeafName>) -> StatePart {
    let all = state.leaves();
    let names: Vec<LeafName> = names.into_iter().collect();
    let texts: BTreeMap<Sha256Digest, DocumentText> = names
        .iter()
        .filter_map(|name| state.text(name))
        .map(|text| (text.digest(), text.clone()))
        .collect();
    let leaves = names.into_iter().map(|name| {
        let digest = all[&name];
        (name, digest)
    });
    StatePart::read(leaves, &texts).unwrap()
}

pub(super) fn tree(state: &StatePart) -> PartialTree {
    let leaves = state.leaves().into_iter();
    PartialTree::from_leaves(leaves.filter_map(|(name, digest)| Some((name, digest?))))
}

pub(super) fn root(state: &StatePart) -> NodeHash {
    tree(state).root()
}

pub(super) fn changed_leaves(before: &StatePart, after: &StatePart) -> Vec<LeafChange> {
    tree(before).diff(&tree(after)).unwrap()
}

/// A group without numbers of commits.
type GroupMeaning = (Vec<NewAssignment>, Option<LocationName>, PacingOverride);

/// The meaning of a state for devices: all of it but the numbers of commits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) groups: BTreeMap<GroupName, GroupMeaning>,
    pub(super) members: BTreeSet<(DeviceId, GroupName)>,
    pub(super) direct: BTreeMap<DeviceId, Vec<NewAssignment>>,
    pub(super) locations: BTreeMap<LocationName, String>,
    pub(super) rollouts: BTreeMap<RolloutId, RolloutDocument>,
}

impl Meaning {
    pub(super) fn of(state: &StatePart) -> Self {
        let assignments = |entries: &Entries| -> Vec<NewAssignment> {
            entries.as_slice().iter().map(NewAssignment::of).collect()
        };
        let groups = state.groups().filter_map(|(name, document)| {
            let document = document?;
            let packages = assignments(&document.packages);
            Some((
                name.clone(),
                (packages, document.prefer.clone(), document.pace),
            ))
        });
        // A document of the group `all` without content means the same as none.
        let nothing = (Vec::new(), None, PacingOverride::default());
        let groups = groups.filter(|(name, meaning)| !name.is_all() || *meaning != nothing);
        let members = state.devices().flat_map(|(device, _)| {
            let groups = state.groups_of(device).unwrap().into_keys();
            groups.map(|group| (device.clone(), group.clone()))
        });
        let direct = state.devices().filter_map(|(device, document)| {
            let packages = assignments(&document?.packages);
            (!packages.is_empty()).then(|| (device.clone(), packages))
        });
        let locations = state
            .locations()
            .filter_map(|(name, document)| Some((name.clone(), document?.url.to_string())));
        Self {
            groups: groups.collect(),
            members: members.collect(),
            direct: direct.collect(),
            locations: locations.collect(),
            rollouts: state
                .rollouts()
                .filter_map(|(id, document)| Some((id, document?.clone())))
                .collect(),
        }
    }

    /// Returns the same meaning with no entry forced.
    pub(super) fn without_force(mut self) -> Self {
        let of_groups = self.groups.values_mut().map(|meaning| &mut meaning.0);
        for entry in of_groups.chain(self.direct.values_mut()).flatten() {
            entry.force = false;
        }
        self
    }
}

fn any_owner() -> impl Strategy<Value = EntryOwner> {
    prop_oneof![
        select(&GROUPS[..]).prop_map(of_group),
        select(&HOSTS[..]).prop_map(of_device),
    ]
}

fn any_devices() -> impl Strategy<Value = BTreeSet<DeviceId>> {
    proptest::sample::subsequence(&HOSTS[..], 1..=3).prop_map(|hosts| devices(&hosts))
}

fn any_group() -> impl Strategy<Value = GroupName> {
    select(&GROUPS[..]).prop_map(group)
}

fn any_location() -> impl Strategy<Value = LocationName> {
    select(&LOCATIONS[..]).prop_map(|name| name.parse().unwrap())
}

fn any_assignment() -> impl Strategy<Value = NewAssignment> {
    (0_u32..3, any::<bool>(), any::<bool>()).prop_map(|(n, force, downgrade)| NewAssignment {
        force,
        terms: if downgrade {
            Terms::allowing_downgrade()
        } else {
            Terms::default()
        },
        ..assignment(n)
    })
}

fn any_pacing() -> impl Strategy<Value = PacingChange> {
    (any::<bool>(), any::<bool>()).prop_map(|(strict, replace)| {
        let settings = PacingOverride {
            strict: Some(strict),
            ..PacingOverride::default()
        };
        if replace {
            PacingChange::Replace(PacingOverride::default())
        } else {
            PacingChange::Set(settings)
        }
    })
}

pub(super) fn any_package() -> impl Strategy<Value = PackageId> {
    (0_u32..3).prop_map(id)
}

/// Changes of rollouts, before the rollouts have ids. The number is that of the package.
#[derive(Clone, Debug)]
enum Step {
    Others(Vec<StateChange>),
    Start(u8, Option<u64>),
    Open(u8, u8, u64),
    End(u8),
    Finish(u8),
    Assign(u8, &'static str),
}

fn any_step() -> impl Strategy<Value = Step> {
    let single = prop_oneof![
        (0_u8..3, 1_u8..4, 1_u64..9).prop_map(|(n, wave, from)| Step::Open(n, wave, from)),
        (0_u8..3).prop_map(Step::End),
        (0_u8..3).prop_map(Step::Finish),
        (0_u8..3, select(&GROUPS[..])).prop_map(|(n, name)| Step::Assign(n, name)),
    ];
    prop_oneof![
        3 => any_changes(3).prop_map(Step::Others),
        2 => (0_u8..3, proptest::option::of(1_u64..5)).prop_map(|(n, from)| Step::Start(n, from)),
        2 => single,
    ]
}

/// Returns the changes of some steps. `ended` counts the rollouts of each package that have ended:
/// an id is never used again.
fn changes_of_steps(steps: Vec<Step>, ended: &mut [u8; 3]) -> Vec<StateChange> {
    const ROLLED_OUT: [&[&str]; 3] = [&["lab"], &["lab", "office"], &["all", "hall"]];
    let changes = steps.into_iter().flat_map(|step| {
        let at = |n: u8| usize::from(n);
        let id = |n: u8| n + 3 * ended[at(n)];
        match step {
            Step::Others(changes) => changes,
            Step::Start(n, from) => start(id(n), n.into(), ROLLED_OUT[at(n)], [from, None]),
            Step::Open(n, wave, from) => vec![open_wave(id(n), wave, from)],
            Step::Assign(n, name) => vec![assign_by(id(n), name, n.into())],
            Step::End(n) => {
                let change = end(id(n));
                ended[at(n)] += 1;
                vec![change]
            }
            Step::Finish(n) => {
                let change = finish(id(n));
                ended[at(n)] += 1;
                vec![change]
            }
        }
    });
    changes.collect()
}

/// Returns three histories of the small state, with rollouts. Some of the changes fail.
///
/// A package has one rollout after the other, each for the same groups. It may be started several
/// times with other times.
pub(super) fn any_histories(most: [usize; 3]) -> impl Strategy<Value = [Vec<StateChange>; 3]> {
    let steps = most.map(|most| proptest::collection::vec(any_step(), 0..=most));
    steps.prop_map(|steps| {
        let mut ended = [0; 3];
        steps.map(|steps| changes_of_steps(steps, &mut ended))
    })
}

/// Returns changes of the small state, with rollouts. Some of them fail.
pub(super) fn any_changes_with_rollouts(most: usize) -> impl Strategy<Value = Vec<StateChange>> {
    any_histories([most, 0, 0]).prop_map(|[changes, ..]| changes)
}

/// Returns changes of the small state. Some of them fail.
pub(super) fn any_changes(most: usize) -> impl Strategy<Value = Vec<StateChange>> {
    let change = prop_oneof![
        4 => (any_owner(), any_assignment())
            .prop_map(|(to, assignment)| StateChange::Assign { to, assignment }),
        2 => (any_owner(), any_package())
            .prop_map(|(from, package)| StateChange::Unassign { from, package }),
        4 => (any_group(), any_devices())
            .prop_map(|(group, devices)| StateChange::Join { group, devices }),
        2 => (any_group(), any_devices())
            .prop_map(|(group, devices)| StateChange::Leave { group, devices }),
        1 => any_devices().prop_map(|devices| StateChange::RemoveDevices { devices }),
        2 => (select(&HOSTS[..]), select(&HOSTS[..]), any_package()).prop_map(|(old, new, package)| {
            StateChange::ReplaceDevice {
                old: device(old),
                new: device(new),
                packages: [package].into(),
            }
        }),
        4 => any_group().prop_map(|group| StateChange::CreateGroup { group }),
        2 => any_group().prop_map(|group| StateChange::DeleteGroup { group }),
        4 => (any_group(), any_group())
            .prop_map(|(group, to)| StateChange::RenameGroup { group, to }),
        1 => (any_group(), proptest::option::of(any_location()))
            .prop_map(|(group, location)| StateChange::Prefer { group, location }),
        1 => (any_group(), any_pacing())
            .prop_map(|(group, pacing)| StateChange::Pace { group, pacing }),
        1 => (any_location(), select(&["a.example.net", "b.example.net"][..]))
            .prop_map(|(location, url)| StateChange::AddLocation {
                location,
                url: url.parse().unwrap(),
            }),
        1 => any_location().prop_map(|location| StateChange::RemoveLocation { location }),
    ];
    proptest::collection::vec(change, 0..=most)
}
