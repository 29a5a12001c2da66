//! Attacks on the publisher through a table that the attacker controls: the publisher must refuse to
//! sign.

use std::fs;

use packcast_protocol::state::{KeyListId, NodeHash};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem};
use crate::tree::Tree;

/// Runs a command that must be refused with this exit code, and then lets the agent run.
fn refused(system: &AttackedSystem, code: i32, command: &[&str]) -> AttackResult {
    let message = system.world.refused(code, command);
    system.attempt().with_message(message)
}

fn assign_command<'a>(system: &'a AttackedSystem, package: &'a str) -> [&'a str; 4] {
    ["assign", package, "--device", system.device.id()]
}

fn has_key(item: &Value, pk: &str, sk: &str) -> bool {
    item["pk"]["S"] == pk && item["sk"]["S"] == sk
}

/// Changes the item with this key.
fn edit(system: &AttackedSystem, pk: &str, sk: &str, change: impl Fn(&mut Value)) {
    let changed = system.edit_table(|item| {
        if has_key(item, pk, sk) {
            change(item);
        }
    });
    assert_eq!(changed, 1, "expected one item {pk} {sk} in the table");
}

/// Returns the items with these keys.
fn saved(system: &AttackedSystem, keys: &[(&str, &str)]) -> Vec<Value> {
    let mut found = Vec::new();
    system.edit_table(|item| {
        if keys.iter().any(|(pk, sk)| has_key(item, pk, sk)) {
            found.push(item.clone());
        }
    });
    assert_eq!(
        found.len(),
        keys.len(),
        "expected the items {keys:?} in the table"
    );
    found
}

fn place(package: &PackageRecord) -> String {
    format!("PACKAGE#{}", package.id)
}

fn name_key(package: &str) -> String {
    format!("NAME#{package}#1")
}

/// The name that the administrator gives leads to the record of another package.
pub fn name_of_another_package(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    let other = system.package("other", &[]);
    edit(system, "CATALOG", &name_key("tool"), |item| {
        item["package"] = json!({ "S": other.id.to_string() });
    });
    refused(system, 1, &assign_command(system, "tool@1"))
}

/// As in [`name_of_another_package`], but the other record claims the expected name, too.
pub fn package_with_the_name_of_another(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    let other = system.package("other", &[]);
    edit(system, "CATALOG", &name_key("tool"), |item| {
        item["package"] = json!({ "S": other.id.to_string() });
    });
    edit(system, &place(&other), "PACKAGE", |item| {
        item["name"] = json!({ "S": "tool" });
    });
    refused(system, 3, &assign_command(system, "tool@1"))
}

pub fn package_with_the_id_of_another(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let other = system.package("other", &[]);
    edit(system, &place(&package), "PACKAGE", |item| {
        item["id"] = json!({ "S": other.id.to_string() });
    });
    refused(system, 1, &assign_command(system, "tool@1"))
}

/// The package's record has the digest of a manifest that the attacker signed.
pub fn package_signed_by_the_attacker(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let before = package
        .published()
        .expect("the package is published")
        .manifest;
    system.publish_again(&package, &system.attackers_key(), None, |manifest| {
        manifest.timeout_s += 1;
    });
    let digest = |file| {
        let bytes = fs::read(file).expect("the package is published");
        packcast_protocol::Sha256Digest::of(&bytes).to_string()
    };
    let manifest = digest(system.manifest_file(&package));
    let signature = digest(system.signature_file(&package));
    let of_signature = package
        .published()
        .expect("the package is published")
        .signature;
    edit(system, &place(&package), "PACKAGE", |item| {
        let text = item.to_string();
        let text = text.replace(&before.to_string(), &manifest);
        let text = text.replace(&of_signature.to_string(), &signature);
        *item = serde_json::from_str(&text).expect("JSON with another digest is still JSON");
    });
    refused(system, 3, &assign_command(system, "tool@1"))
}

/// The record of a group claims the name `all`. If the record were accepted, a package for a few
/// devices would be signed for all.
pub fn group_with_the_name_of_all(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    system.world.ok(&["group", "create", "tills"]);
    edit(system, "GROUP#tills", "STATE", |item| {
        item["group"] = json!({ "S": "all" });
    });
    refused(system, 1, &["assign", "tool@1", "--group", "tills"])
}

/// The head is put back. If the publisher accepted the earlier head, the withdrawn assignment would
/// be signed again, together with the next assignment.
pub fn head_put_back(system: &AttackedSystem) -> AttackResult {
    let before = withdrawn(system);
    system.put_back(&before);
    refused(system, 3, &["assign", "other@1", "--all"])
}

/// As in [`head_put_back`], before a machine that knows the target and no commit.
pub fn head_put_back_before_a_machine_without_memory(system: &AttackedSystem) -> AttackResult {
    let before = withdrawn(system);
    system.add_machine_without_memory();
    system.put_back(&before);
    refused(
        system,
        3,
        &["assign", "other@1", "--all", "--target=second"],
    )
}

/// Assigns a package to all devices and withdraws it. Returns the head in between.
fn withdrawn(system: &AttackedSystem) -> Vec<Value> {
    system.package("tool", &[]);
    system.package("other", &[]);
    system.world.ok(&["assign", "tool@1", "--all"]);
    let before = saved(system, &[("HEAD", "HEAD")]);
    system.world.ok(&["unassign", "tool@1", "--all"]);
    system.device.run();
    before
}

/// The newest key list is hidden. If the publisher signed under the list before, the next list could
/// contain a removed key.
pub fn lists_put_back(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    let key = system.key();
    let list = system.key_list(2, &[&key], &[&key], &key);
    let before = system.items_with("KEYS");
    let id = KeyListId {
        serial: 2,
        digest: list.digest(),
    };
    let added = Tree::of(&system.world).ask(async |records| records.add_list(&id, &list).await);
    assert!(added.expect("a list can be stored"), "the list is new");
    system.world.ok(&["sign"]);
    let added = system.items_with("KEYS").into_iter();
    let added: Vec<Value> = added.filter(|item| !before.contains(item)).collect();
    system.delete(&added);
    refused(system, 1, &assign_command(system, "tool@1"))
}

/// A page of the head's trees is replaced by another genuine page.
pub fn page_under_another_hash(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    let head = system.head().trees;
    let page = |root: NodeHash| (format!("PAGE#{root}"), "PAGE");
    let (groups, devices) = (page(head.groups.root()), page(head.devices.root()));
    let keys = [(&*groups.0, groups.1), (&*devices.0, devices.1)];
    let [mut first, mut second] = <[Value; 2]>::try_from(saved(system, &keys)).expect("two pages");
    std::mem::swap(&mut first["pk"], &mut second["pk"]);
    system.put_back(&[first, second]);
    refused(system, 1, &["assign", "tool@1", "--all"])
}

/// Starts a publication whose objects cannot be stored, and returns the command that completes it.
fn begin(system: &AttackedSystem) -> Vec<String> {
    let source = system.world.file("tool.tar.gz", &system.archive("tool"));
    let named = ["publish", "--name", "tool", "--version", "1", &source];
    let action = ["--action", "launch", "--command", "run.sh", "--activate"];
    let command = [&named[..], &action].concat();
    let objects = &system.world.state().objects_dir;
    let aside = objects.with_extension("aside");
    fs::rename(objects, &aside).expect("the attacker controls the folder");
    fs::write(objects, "no folder").expect("the attacker controls the folder");
    system.world.refused(1, &command);
    fs::remove_file(objects).expect("the file was written");
    fs::rename(&aside, objects).expect("the folder was moved aside");
    command.into_iter().map(ToOwned::to_owned).collect()
}

fn completion_refused(system: &AttackedSystem, command: &[String]) -> AttackResult {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    refused(system, 1, &command)
}

/// A draft that seems to be reserved in the future. If the draft were accepted, its manifest would
/// stay valid for years.
pub fn draft_reserved_in_the_future(system: &AttackedSystem) -> AttackResult {
    let command = begin(system);
    let mut moved = None;
    system.edit_table(|item| {
        if item["sk"]["S"] == "PACKAGE" && item["name"]["S"] == "tool" {
            item["created_at"] = json!({ "N": "2100000000" });
            moved = Some(());
        }
    });
    moved.expect("the draft is in the table");
    completion_refused(system, &command)
}

pub fn draft_of_another_name(system: &AttackedSystem) -> AttackResult {
    let command = begin(system);
    system.edit_table(|item| {
        if item["sk"]["S"] == "PACKAGE" && item["name"]["S"] == "tool" {
            item["name"] = json!({ "S": "other" });
        }
    });
    completion_refused(system, &command)
}
