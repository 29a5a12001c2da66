//! Rollouts whose calendar an attacker would like to change: the function announces the package at
//! once, and the device waits for its wave.

use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::{
    Document, DocumentText, Entries, GroupDocument, LeafName, PartialTree, RolloutDocument,
    RolloutId, RolloutSeed, Slot, StateEntry, StateReply, Terms, Wave,
};
use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem, partition};
use super::forged::{ForgedState, clock};

const ROLLOUT: RolloutId = RolloutId::from_bytes([1; 16]);

fn group(name: &str) -> GroupName {
    name.parse().expect("a word is a name")
}

fn named(name: &str) -> RolloutGroups {
    RolloutGroups::new([group(name)].into()).expect("one group")
}

fn own_id(system: &AttackedSystem) -> DeviceId {
    let id = system.device.id();
    id.parse().expect("a device has an id")
}

/// Returns a seed by which the device is in the first half of the slots, or not.
fn seed(system: &AttackedSystem, in_first_half: bool) -> RolloutSeed {
    let own = own_id(system);
    let seeds = (0..=u8::MAX).map(|n| RolloutSeed::from_bytes([n; 16]));
    let mut seeds = seeds.filter(|seed| (Slot::of(*seed, &own).get() < 5_000) == in_first_half);
    seeds.next().expect("half of the seeds")
}

/// Returns a rollout of a package to all devices: the group `pilot`, the first half of the slots, and
/// then the other half, to which the device belongs. Each wave has the time from which it is open.
fn rollout(
    system: &AttackedSystem,
    package: &PackageRecord,
    from: [Option<UnixTime>; 3],
) -> RolloutDocument {
    let [pilot, half, all] = from;
    let published = package.published().expect("the package is published");
    let waves = vec![
        Wave {
            devices: WaveDevices::Groups(named("pilot")),
            from: pilot,
        },
        Wave {
            devices: WaveDevices::UpTo(5_000),
            from: half,
        },
        Wave {
            devices: WaveDevices::UpTo(10_000),
            from: all,
        },
    ];
    RolloutDocument::new(
        package.id,
        published.manifest,
        named("all"),
        seed(system, false),
        Waves::new(waves).expect("the waves are in order"),
    )
}

fn by_rollout() -> Terms {
    let terms = Terms::default().with_rollout(ROLLOUT);
    terms.expect("one short term fits")
}

/// Starts a rollout of a package to all devices, with open waves in front of the wave of the device,
/// which is open or closed.
fn started(system: &AttackedSystem, is_last_open: bool) -> PackageRecord {
    let package = system.package("tool", &[]);
    system.world.ok(&["group", "create", "pilot"]);
    let now = clock();
    let last = is_last_open.then_some(now);
    let document = rollout(system, &package, [Some(now), Some(now), last]);
    let assignment = NewAssignment {
        package: package.id,
        manifest: document.manifest,
        force: false,
        terms: by_rollout(),
    };
    let to = EntryOwner::Group(GroupName::all());
    system.change_state(&[
        StateChange::SetRollout {
            rollout: ROLLOUT,
            document,
        },
        StateChange::Assign { to, assignment },
    ]);
    package
}

/// Returns the state with another document of the rollout.
fn with_calendar(state: &StateReply, calendar: &RolloutDocument) -> StateReply {
    let name = LeafName::Rollout(ROLLOUT);
    let groups = state.groups.as_ref().expect("the state has groups");
    let mut leaves = groups.leaves();
    let (_, genuine) = leaves
        .find(|(leaf, _)| **leaf == name)
        .expect("the state has the rollout");
    let mut forged = state.clone();
    forged.documents.retain(|text| text.digest() != genuine);
    forged
        .documents
        .push(Document::new(calendar.clone()).text().clone());
    forged
}

/// Returns the state with another document of the rollout, and the tree that names this document.
fn with_leaf(state: &StateReply, calendar: &RolloutDocument) -> StateReply {
    let digest = Document::new(calendar.clone()).digest();
    let groups = state.groups.as_ref().expect("the state has groups");
    let leaves = groups.leaves().map(|(name, genuine)| {
        let is_rollout = *name == LeafName::Rollout(ROLLOUT);
        (name.clone(), if is_rollout { digest } else { genuine })
    });
    StateReply {
        groups: Some(PartialTree::from_leaves(leaves)),
        ..with_calendar(state, calendar)
    }
}

/// Sends another calendar, first in place of the genuine one, then with a tree of its own.
fn attempt_with_calendar(
    system: &AttackedSystem,
    package: &PackageRecord,
    calendar: &RolloutDocument,
) -> AttackResult {
    let honest = system.attempt();
    system.device.forget_state();
    let state = system.own_state();
    let replaced = system.attempt_with(package, &with_calendar(&state, calendar));
    let with_tree = system.attempt_with(package, &with_leaf(&state, calendar));
    honest.and(replaced).and(with_tree)
}

/// The wave of the device is closed, or opens tomorrow. The attacker opens it now.
pub fn wave_opened_early(system: &AttackedSystem) -> AttackResult {
    let package = started(system, false);
    let open = rollout(system, &package, [Some(clock()); 3]);
    let closed = attempt_with_calendar(system, &package, &open);
    let tomorrow = clock().plus(86_400);
    let wave = open.waves.last();
    system.change_state(&[StateChange::OpenWave {
        rollout: ROLLOUT,
        wave,
        from: tomorrow,
    }]);
    system.function.edit(|_| {});
    closed.and(attempt_with_calendar(system, &package, &open))
}

/// With another seed, the device is in a wave that is open.
pub fn another_seed(system: &AttackedSystem) -> AttackResult {
    let package = started(system, false);
    let now = clock();
    let mut forged = rollout(system, &package, [Some(now), Some(now), None]);
    forged.seed = seed(system, true);
    attempt_with_calendar(system, &package, &forged)
}

/// The publisher has put off a wave that would be open, and the device has received the new state.
pub fn calendar_of_an_older_state(system: &AttackedSystem) -> AttackResult {
    let package = started(system, true);
    let old = system.own_state();
    let wave = 3.try_into().expect("there are three waves");
    system.change_state(&[StateChange::OpenWave {
        rollout: ROLLOUT,
        wave,
        from: clock().plus(86_400),
    }]);
    let honest = system.attempt();
    let new = system.own_state();
    let whole = system.attempt_with(&package, &old);
    // The new commit with the old calendar.
    let name = LeafName::Rollout(ROLLOUT);
    let mixed = StateReply {
        groups: old.groups.clone(),
        documents: [&old.documents[..], &new.documents].concat(),
        ..new
    };
    let shown = old.groups.as_ref().map(|groups| groups.lookup(&name));
    assert!(shown.is_some(), "the old state has the rollout");
    honest.and(whole).and(system.attempt_with(&package, &mixed))
}

/// The calendar of another package is open. A careless publisher names it in the entry, too.
pub fn calendar_of_another_package(system: &AttackedSystem) -> AttackResult {
    let package = started(system, false);
    let other = system.package("other", &[]);
    let open = rollout(system, &other, [Some(clock()); 3]);
    let sent = attempt_with_calendar(system, &package, &open);
    let mut forged = ForgedState::assigning(system, &package);
    let all = LeafName::Group(GroupName::all());
    let text = forged.groups[&all].clone();
    let document = Document::<GroupDocument>::read(text).expect("the document can be read");
    let mut document = (*document).clone();
    let entries: Vec<StateEntry> = document.packages.into();
    let entries = entries.into_iter().map(|entry| StateEntry {
        terms: by_rollout(),
        ..entry
    });
    document.packages = Entries::new(entries.collect()).expect("one entry fits");
    let mut insert = |name, text: &DocumentText| forged.groups.insert(name, text.clone());
    insert(all, Document::new(document).text());
    insert(LeafName::Rollout(ROLLOUT), Document::new(open).text());
    let signed = forged.signed_by(&system.key());
    sent.and(system.attempt_with(&package, &signed))
}

/// The device is not in the pilot group, whose wave is open. The attacker shows it the document of a
/// device in this group.
pub fn device_outside_the_pilot(system: &AttackedSystem) -> AttackResult {
    let package = started(system, false);
    let first = system.world.device("first");
    let add = ["group", "add", "pilot", "--device", first.id()];
    system.world.ok(&add);
    let honest = system.attempt();
    system.device.forget_state();
    let pilot = system.state_of(first.id());
    let of_pilot = system.attempt_with(&package, &pilot);
    let devices = pilot.devices.as_ref().expect("the state has devices");
    let mut leaves = devices.leaves();
    let (_, digest) = leaves.next().expect("the state has the device");
    let leaf = (LeafName::Device(own_id(system)), digest);
    let genuine = system.own_state();
    let forged = StateReply {
        devices: Some(PartialTree::from_leaves([leaf])),
        documents: [&pilot.documents[..], &genuine.documents].concat(),
        ..genuine
    };
    honest
        .and(of_pilot)
        .and(system.attempt_with(&package, &forged))
}

/// Starts a rollout to the device with the command line, and returns its package.
fn started_by_command(system: &AttackedSystem) -> PackageRecord {
    let package = system.package("tool", &[]);
    let world = &system.world;
    world.ok(&["group", "create", "office"]);
    world.ok(&["group", "add", "office", "--device", system.device.id()]);
    let start = ["rollout", "start", "tool@1", "--group", "office"];
    world.ok(&[&start[..], &["--days", "mon-sun"]].concat());
    package
}

/// Writes the state of the gate, and returns the status that the publisher sees.
fn set_gate(system: &AttackedSystem, state: &str) -> String {
    let changed = system.edit_table(|item| {
        if partition(item).starts_with("GATE#") {
            item["state"] = json!({ "S": state });
        }
    });
    assert!(changed <= 1, "one gate");
    let shown: Value = system.world.json(&["rollout", "show", "tool@1"]);
    shown["status"].as_str().unwrap_or_default().to_owned()
}

/// The rollout is halted. The attacker announces the package to the device, whose wave is open, and
/// lets it begin. Returns true if the program has run.
pub fn begin_in_a_halted_rollout(system: &AttackedSystem) -> bool {
    let package = started_by_command(system);
    assert_eq!(set_gate(system, "halted"), "halted");
    // The genuine function announces nothing.
    let honest = system.attempt();
    let state = system.own_state();
    honest.ran == 0 && system.attempt_with(&package, &state).ran == 1
}

/// The attacker writes that a halted rollout runs. Returns true if the program has run.
pub fn resume_a_halted_rollout(system: &AttackedSystem) -> bool {
    started_by_command(system);
    assert_eq!(set_gate(system, "halted"), "halted");
    set_gate(system, "running") == "running" && system.attempt().ran == 1
}

/// The time of the device's wave has come, and no device of the waves before it is healthy. Returns
/// true if the program has run.
pub fn open_a_wave_without_health(system: &AttackedSystem) -> bool {
    let package = started(system, true);
    let state = system.own_state();
    system.attempt_with(&package, &state).ran == 1
}
