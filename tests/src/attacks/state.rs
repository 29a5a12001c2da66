//! The function under an attacker's control: forged, changed and old states for the device.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use packcast_agent::event::Event;
use packcast_protocol::state::{
    CommitId, Document, DocumentText, LeafName, LocationDocument, PartialTree, SignedCommit,
    SignedKeyList, StateReply, TargetId,
};
use packcast_protocol::{GroupName, LocationName, Sha256Digest};
use packcast_publisher::signing::{NoSecrets, SigningKey};
use packcast_rollout::PackageRecord;
use serde_json::json;

use super::attacked_system::{AttackResult, AttackedSystem};
use super::forged::ForgedState;
use super::function::{OwnedFunction, response};
use crate::archives::tar_gz;
use crate::front::{HeldWrite, Hold};
use crate::process::{Process, eventually};
use crate::tree::Tree;
use crate::world::World;

/// A target id of which the device knows nothing.
const OTHER_TARGET: TargetId = TargetId::from_bytes([9; 16]);

/// A commit lasts this long, in seconds, in which it has expired before the attack.
const HOUR_S: u64 = 3_600;

/// Sends a forged state in which a package is assigned, changed in one point.
fn forged(
    system: &AttackedSystem,
    key: &SigningKey,
    change: impl FnOnce(&mut ForgedState),
) -> AttackResult {
    let package = system.package("tool", &[]);
    let mut state = ForgedState::assigning(system, &package);
    change(&mut state);
    system.attempt_with(&package, &state.signed_by(key))
}

pub fn task_without_an_entry(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    system.attempt_with(&package, &system.own_state())
}

pub fn state_signed_by_another_key(system: &AttackedSystem) -> AttackResult {
    forged(system, &system.attackers_key(), |_| {})
}

/// M2: one key signs for two targets.
pub fn state_of_another_target(system: &AttackedSystem) -> AttackResult {
    forged(system, &system.key(), |state| {
        state.fields.target = OTHER_TARGET;
    })
}

pub fn state_expired(system: &AttackedSystem) -> AttackResult {
    forged(system, &system.key(), |state| {
        state.fields.issued.0 -= 2 * HOUR_S;
        state.fields.expires.0 = state.fields.issued.0 + HOUR_S;
    })
}

/// A second publisher's machine signs on an earlier commit.
pub fn commit_that_leaves_out_the_held_one(system: &AttackedSystem) -> AttackResult {
    forged(system, &system.key(), |state| state.ancestors.clear())
}

/// Two copies of one machine sign different commits with the same number.
pub fn equal_numbers(system: &AttackedSystem) -> AttackResult {
    forged(system, &system.key(), |state| {
        let held = state.fields.parent.take().expect("there is a commit");
        state.fields.number = held.number;
        state.fields.issued.0 = state.fields.issued.0.min(held.number);
    })
}

pub fn manifest_as_commit(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let read = |path| fs::read_to_string(path).expect("the package is published");
    let text = read(system.manifest_file(&package));
    let signature = read(system.signature_file(&package));
    let mut state = ForgedState::assigning(system, &package).signed_by(&system.attackers_key());
    let number = state.of.expect("the state has a commit").number;
    let digest = Sha256Digest::of(text.as_bytes());
    state.of = Some(CommitId { number, digest });
    let moved = SignedCommit::new(text, signature);
    state.commit = Some(moved.expect("the manifest is small"));
    system.attempt_with(&package, &state)
}

/// A document of the genuine state names another package.
pub fn document_edited(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    let mut state = system.own_state();
    for document in &mut state.documents {
        let edited = document.as_str();
        let edited = edited.replace(&package.id.to_string(), &other.id.to_string());
        *document = DocumentText::new(edited).expect("the document is as long as before");
    }
    system.attempt_with(&other, &state)
}

pub fn state_of_another_device(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let till = system.world.device("till");
    system.world.assign("tool@1", &till);
    system.attempt_with(&package, &system.state_of(till.id()))
}

pub fn state_of_a_group_that_the_device_is_not_in(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let till = system.world.device("till");
    join(&system.world, "tills", till.id());
    system.world.ok(&["assign", "tool@1", "--group", "tills"]);
    system.attempt_with(&package, &system.state_of(till.id()))
}

/// The assignment was withdrawn, and the device has received the newer state.
pub fn state_put_back(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let old = system.own_state();
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    system.device.run();
    system.attempt_with(&package, &old)
}

/// The assignment was withdrawn, and the device has lost the newer state since. Its history is left.
pub fn old_state_after_the_state_was_lost(system: &AttackedSystem) -> AttackResult {
    let bad = system.assigned("bad");
    let old = system.own_state();
    let device = system.device.id();
    system.world.ok(&["unassign", "bad@1", "--device", device]);
    system.assigned("tool");
    system.device.run();
    assert_eq!(system.runs("tool"), 1, "the device has acted");
    system.device.forget_state();
    system.attempt_with(&bad, &old)
}

/// H1: a device leaves a group, and the group gets a package later. The owner of the table puts the
/// records of the device back.
pub fn removed_member_with_a_later_assignment(system: &AttackedSystem) -> AttackResult {
    let wipe = system.package("wipe", &[]);
    let (world, device) = (&system.world, system.device.id());
    join(world, "lab", device);
    system.device.run();
    let old = system.own_state();
    let records = system.items_with(device);
    world.ok(&["group", "remove", "lab", "--device", device]);
    system.device.run();
    world.ok(&["assign", "wipe@1", "--group", "lab"]);
    let new = system.own_state();
    system.put_back(&records);
    let honest = system.attempt();
    let whole = system.attempt_with(&wipe, &new);
    // The old membership with the new group.
    let mixed = StateReply {
        devices: old.devices.clone(),
        documents: [&old.documents[..], &new.documents].concat(),
        ..new
    };
    let mixed = system.attempt_with(&wipe, &mixed);
    honest.and(whole).and(mixed)
}

/// A group is deleted and created again. The document of its former member still names the group.
pub fn group_name_used_again(system: &AttackedSystem) -> AttackResult {
    let wipe = system.package("wipe", &[]);
    let (world, device) = (&system.world, system.device.id());
    join(world, "lab", device);
    let records = system.items_with(device);
    world.ok(&["group", "delete", "lab", "--force"]);
    world.ok(&["group", "create", "lab"]);
    world.ok(&["assign", "wipe@1", "--group", "lab"]);
    system.put_back(&records);
    let honest = system.attempt();
    honest.and(system.attempt_with(&wipe, &system.own_state()))
}

/// T2: a package was withdrawn from a group before the device joined.
pub fn joiner_with_the_old_state_of_the_group(system: &AttackedSystem) -> AttackResult {
    let bad = system.package("bad", &[]);
    let world = &system.world;
    let member = world.device("member");
    join(world, "lab", member.id());
    world.ok(&["assign", "bad@1", "--group", "lab"]);
    let old = system.state_of(member.id());
    world.ok(&["unassign", "bad@1", "--group", "lab"]);
    let device = system.device.id();
    world.ok(&["group", "add", "lab", "--device", device]);
    let new = system.own_state();
    let mixed = StateReply {
        groups: old.groups.clone(),
        documents: [&old.documents[..], &new.documents].concat(),
        ..new
    };
    system.attempt_with(&bad, &mixed)
}

/// The package is in two groups of the device. The reply hides a third group.
pub fn two_of_three_groups(system: &AttackedSystem) -> AttackResult {
    let (package, hidden) = in_three_groups(system);
    let mut state = system.own_state();
    let groups = state.groups.take().expect("the state has groups");
    let shown = groups.leaves().map(|(name, _)| name.clone());
    let shown: Vec<LeafName> = shown.filter(|name| *name != hidden).collect();
    let proof = groups.prove(&shown).expect("the tree shows all groups");
    let is_shown = |text: &DocumentText| shown.iter().any(|name| shows(&groups, name, text));
    let own = state.devices.clone().expect("the state has devices");
    let is_own = |text: &DocumentText| own.leaves().any(|(_, digest)| digest == text.digest());
    state
        .documents
        .retain(|text| is_shown(text) || is_own(text));
    state.groups = Some(proof);
    system.attempt_with(&package, &state)
}

/// The reply never brings the document of one of the device's groups.
pub fn one_document_withheld(system: &AttackedSystem) -> AttackResult {
    let (package, hidden) = in_three_groups(system);
    let mut state = system.own_state();
    let groups = state.groups.clone().expect("the state has groups");
    let count = state.documents.len();
    state
        .documents
        .retain(|text| !shows(&groups, &hidden, text));
    assert_eq!(state.documents.len(), count - 1, "the group has a document");
    system.attempt_with(&package, &state)
}

/// The reply claims that the device has no document, and so is in no group. The package is for all.
pub fn absence_of_an_existing_leaf(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let (world, device) = (&system.world, system.device.id());
    join(world, "lab", device);
    world.ok(&["assign", "tool@1", "--all"]);
    let state = StateReply {
        devices: Some(PartialTree::from_leaves([])),
        ..system.own_state()
    };
    system.attempt_with(&package, &state)
}

/// M8: a package fails, and the device leaves the group and joins it again.
pub fn failed_package_after_a_new_membership(system: &AttackedSystem) -> AttackResult {
    let (world, device) = (&system.world, system.device.id());
    let script = format!("{}exit 9\n", system.script("tool"));
    let archive = tar_gz(&[("run.sh", script.as_bytes())]);
    let source = world.file("tool.tar.gz", &archive);
    let action = ["--action", "launch", "--command", "run.sh", "--activate"];
    let package = world.publish("tool", &[&action[..], &[&source]].concat());
    join(world, "lab", device);
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    system.device.run();
    assert_eq!(system.runs("tool"), 1, "the publisher intends one run");
    world.ok(&["group", "remove", "lab", "--device", device]);
    world.ok(&["group", "add", "lab", "--device", device]);
    let honest = system.attempt();
    let mut task = system.task(&package.package);
    task["attempt"] = 2.into();
    system.send(vec![task], Some(&system.own_state()));
    honest.and(system.attempt())
}

/// The genuine state with another address for a location. No agent may ask the address.
pub fn location_of_another_host(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let evil = OwnedFunction::before(&system.world);
    evil.answer(|_| Some(response(200, "{}")));
    let address = evil.address().to_string();
    let address = address.parse().expect("an address is a location");
    let forged = Document::new(LocationDocument::new(address));
    let mut state = system.own_state();
    let groups = state.groups.clone().expect("the state has groups");
    let name = LeafName::Location(package.locations[0].name.clone());
    state.documents.retain(|text| !shows(&groups, &name, text));
    state.documents.push(forged.text().clone());
    let tried = system.attempt_with(&package, &state);
    asked_by_nobody(tried, &evil)
}

/// A task names a location that the state does not have.
pub fn location_that_is_not_signed(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let mut task = system.task(&package);
    let evil: LocationName = "evil".parse().expect("a word is a name");
    task["locations"] = json!([evil]);
    system.send(vec![task], Some(&system.own_state()));
    system.attempt()
}

pub fn key_list_signed_by_its_own_key(system: &AttackedSystem) -> AttackResult {
    let own = system.attackers_key();
    let list = system.key_list(2, &[&own], &[&own], &own);
    forged(system, &own, |state| state.lists.push(list))
}

/// The third list, signed by a root key of the second, is sent without the second.
pub fn key_list_after_a_gap(system: &AttackedSystem) -> AttackResult {
    let own = system.attackers_key();
    let list = system.key_list(3, &[&own], &[&own], &own);
    forged(system, &own, |state| state.lists.push(list))
}

/// The device follows a list that has removed a key. The list before names the key.
pub fn key_list_of_an_older_serial(system: &AttackedSystem) -> AttackResult {
    let (root, removed) = (system.key(), system.attackers_key());
    let older = system.key_list(2, &[&root], &[&root, &removed], &root);
    let newer = system.key_list(3, &[&root], &[&root], &root);
    follow(system, vec![older.clone(), newer]);
    forged(system, &removed, |state| state.lists.push(older))
}

/// A key list has removed the key that has signed the held commit.
pub fn commit_of_a_removed_key(system: &AttackedSystem) -> AttackResult {
    let (removed, new) = (system.key(), system.attackers_key());
    let list = system.key_list(2, &[&removed], &[&new], &removed);
    follow(system, vec![list]);
    forged(system, &removed, |_| {})
}

/// H4: the thief of a root key of lower rank removes the key of higher rank, whose owner answers
/// with one list.
pub fn second_root_removes_the_first(system: &AttackedSystem) -> AttackResult {
    let (first, second) = (system.key(), system.attackers_key());
    let line = format!("{},{}", system.trust(), second.public());
    system.device.set_trust(&line);
    let list = |serial, key: &SigningKey| system.key_list(serial, &[key], &[key], key);
    let both = system.key_list(2, &[&first, &second], &[&first], &first);
    follow(system, vec![both]);
    follow(system, vec![list(9, &second)]);
    follow(system, vec![list(3, &first)]);
    let later = list(10, &second);
    forged(system, &second, |state| state.lists.push(later))
}

/// A thief signs a commit with number and time in the future. After its key was removed, the device
/// follows the publisher again.
pub fn thief_with_a_late_number(system: &AttackedSystem) -> AttackResult {
    let (root, stolen) = (system.key(), system.attackers_key());
    let both = system.key_list(2, &[&root], &[&root, &stolen], &root);
    follow(system, vec![both]);
    let thief = forged(system, &stolen, |state| {
        state.fields.issued.0 += 20 * HOUR_S;
        state.fields.expires.0 += 20 * HOUR_S;
        state.fields.number = state.fields.issued.0 + 23 * HOUR_S;
    });
    assert_eq!(thief.ran, 1, "the key is still named");
    let removed = system.key_list(3, &[&root], &[&root], &root);
    follow(system, vec![removed]);
    let fix = system.package("fix", &[]);
    let state = ForgedState::assigning(system, &fix).signed_by(&root);
    system.attempt_with(&fix, &state).allowing(1)
}

/// H3: a thief with a copy of the key assigns a package to all devices. The publisher replaces the
/// key, and goes back to the state before.
pub fn rotation_after_a_leak(system: &AttackedSystem) -> AttackResult {
    let world = &system.world;
    let wipe = system.package("wipe", &[]);
    let good = Tree::of(world).number().to_string();
    let (memory, key) = (
        world.local_dir().join("commits.jsonl"),
        world.path("stolen.key"),
    );
    let remembered = fs::read(&memory).expect("the machine has a memory");
    fs::copy(world.local_dir().join("packcast.key"), &key).expect("the thief can read the key");
    world.ok(&["assign", "wipe@1", "--all", "--key", &key]);
    // The thief has used another machine.
    fs::write(&memory, remembered).expect("the memory is writable");
    let before = system.own_state();
    let replace = ["keys", "replace", "--compromised", "--unencrypted", "--yes"];
    world.ok(&[&replace[..], &["--revert-to", &good]].concat());
    let honest = system.attempt();
    let stolen = SigningKey::read(Path::new(&key), &NoSecrets).expect("the key is not encrypted");
    let later = ForgedState::assigning(system, &wipe).signed_by(&stolen);
    let before = system.attempt_with(&wipe, &before);
    honest.and(before).and(system.attempt_with(&wipe, &later))
}

/// T7: an assignment was signed and not stored, because another machine changed the target first.
/// The owner of the table has kept the signed commit. The device has received a later state.
pub fn commit_never_stored(system: &AttackedSystem) -> AttackResult {
    let (bad, _) = (system.package("bad", &[]), system.package("fix", &[]));
    system.add_second_machine();
    let kept = signed_and_not_stored(system, &["assign", "bad@1", "--all"]);
    change_on_the_second_machine(system);
    system.world.ok(&["assign", "fix@1", "--all"]);
    let honest = system.attempt();
    assert_eq!(system.runs("fix"), 1, "the device follows: {honest:?}");
    honest.and(system.attempt_with(&bad, &kept)).allowing(1)
}

/// A withdrawal was signed and not stored. The device has received the withdrawal, and then receives
/// the state of a machine that does not know of it.
pub fn lost_withdrawal_shown_to_a_device(system: &AttackedSystem) -> AttackResult {
    let world = &system.world;
    let (bad, _) = (system.package("bad", &[]), system.package("fix", &[]));
    world.ok(&["assign", "bad@1", "--all"]);
    system.add_second_machine();
    let withdrawal = signed_and_not_stored(system, &["unassign", "bad@1", "--all"]);
    system.send(Vec::new(), Some(&withdrawal));
    system.device.run();
    change_on_the_second_machine(system);
    let other = system.attempt_with(&bad, &system.own_state());
    // The next change of the first machine adopts the withdrawal, so that the device is not lost.
    world.ok(&["assign", "fix@1", "--all"]);
    system.function.edit(|_| {});
    let adopted = system.attempt();
    assert_eq!(system.runs("fix"), 1, "the device follows: {adopted:?}");
    other.and(adopted).allowing(1)
}

/// A key list removes a publisher key, whose commit has withdrawn a package. The device receives the
/// list without the commit that belongs to it, and then an earlier commit of another key.
pub fn list_without_its_commit(system: &AttackedSystem) -> AttackResult {
    let bad = system.package("bad", &[]);
    let (root, other) = (system.key(), system.attackers_key());
    let both = system.key_list(2, &[&root], &[&root, &other], &root);
    follow(system, vec![both]);
    let before = ForgedState::assigning(system, &bad).signed_by(&other);
    // Two changes, so that the number of the second one is higher in any case.
    for group in ["lab", "office"] {
        system.world.ok(&["group", "create", group]);
    }
    system.send(Vec::new(), Some(&system.own_state()));
    system.device.run();
    let from = Tree::of(&system.world).number() + 1;
    let removed = system.key_list_from(from, 3, &[&root], &[&other], &root);
    follow(system, vec![removed]);
    system.attempt_with(&bad, &before)
}

/// Kills a command of the publisher when its commit is the head, and removes the commit from the
/// table. Returns the state of the commit for the device.
///
/// The machine remembers that it has signed the commit, and not that it was stored.
fn signed_and_not_stored(system: &AttackedSystem, command: &[&str]) -> StateReply {
    let world = &system.world;
    let (head, before) = (system.items_with("HEAD"), system.items_with("COMMIT"));
    world.table().hold(Hold {
        write: HeldWrite::FirstTransaction,
        is_performed: true,
    });
    let mut stopped = world.command(command);
    let stopped = Process::start(stopped.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("the commit is the head", || {
        world.table().is_holding().then_some(())
    });
    stopped.kill();
    world.table().release();
    let state = system.own_state();
    let added = system.items_with("COMMIT").into_iter();
    let added: Vec<_> = added.filter(|item| !before.contains(item)).collect();
    assert_eq!(added.len(), 1, "the command has made one commit");
    system.delete(&added);
    system.put_back(&head);
    state
}

/// Makes two commits, so that the number of the second one is higher than that of any commit that
/// the first machine has signed on the same parent.
fn change_on_the_second_machine(system: &AttackedSystem) {
    for group in ["tills", "kiosks"] {
        let create = ["group", "create", group, "--target=second"];
        system.world.ok(&create);
    }
}

/// Lets the device follow key lists.
fn follow(system: &AttackedSystem, lists: Vec<SignedKeyList>) {
    let newest = lists.len();
    let state = StateReply {
        lists,
        ..StateReply::default()
    };
    system.send(Vec::new(), Some(&state));
    let followed = system.device.run().into_iter();
    let followed = followed.filter(|event| matches!(event, Event::KeysFollowed { .. }));
    assert!(followed.count() > 0, "the device follows {newest} lists");
}

/// Assigns a package to two of three groups of the device, and returns the third group.
fn in_three_groups(system: &AttackedSystem) -> (PackageRecord, LeafName) {
    let package = system.package("tool", &[]);
    let world = &system.world;
    for group in ["lab", "office", "tills"] {
        join(world, group, system.device.id());
    }
    world.ok(&["assign", "tool@1", "--group", "lab", "--group", "office"]);
    let third: GroupName = "tills".parse().expect("a word is a name");
    (package, LeafName::Group(third))
}

fn shows(tree: &PartialTree, name: &LeafName, text: &DocumentText) -> bool {
    tree.leaves()
        .any(|(shown, digest)| shown == name && digest == text.digest())
}

/// Creates a group with one device.
fn join(world: &World, group: &str, device: &str) {
    world.ok(&["group", "create", group]);
    world.ok(&["group", "add", group, "--device", device]);
}

fn asked_by_nobody(mut tried: AttackResult, evil: &OwnedFunction) -> AttackResult {
    let requests = evil.requests();
    let asked = requests
        .iter()
        .map(|asked| format!("asked for {}", asked.path));
    tried.leaked.extend(asked);
    tried
}
