//! Attacks on the publisher through a table that the attacker controls: the publisher must refuse to
//! sign.

use std::fs;

use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem};

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

/// Restores saved items.
fn roll_back(system: &AttackedSystem, saved: &[Value]) {
    system.edit_table(|item| {
        let same = |before: &&Value| before["pk"] == item["pk"] && before["sk"] == item["sk"];
        if let Some(before) = saved.iter().find(same) {
            *item = before.clone();
        }
    });
}

fn partition(package: &PackageRecord) -> String {
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
    edit(system, &partition(&other), "PACKAGE", |item| {
        item["name"] = json!({ "S": "tool" });
    });
    refused(system, 3, &assign_command(system, "tool@1"))
}

pub fn package_with_the_id_of_another(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let other = system.package("other", &[]);
    edit(system, &partition(&package), "PACKAGE", |item| {
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
    edit(system, &partition(&package), "PACKAGE", |item| {
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

/// A group's state is rolled back. If the earlier state were accepted, the withdrawn assignment
/// would be signed again, together with the next assignment.
pub fn group_state_rolled_back(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    system.package("other", &[]);
    system.world.ok(&["assign", "tool@1", "--all"]);
    let before = saved(system, &[("GROUP#all", "STATE"), ("GROUP#all", "REVISION")]);
    system.world.ok(&["unassign", "tool@1", "--all"]);
    system.device.run();
    roll_back(system, &before);
    refused(system, 3, &["assign", "other@1", "--all"])
}

pub fn device_assignments_rolled_back(system: &AttackedSystem) -> AttackResult {
    system.package("tool", &[]);
    system.package("other", &[]);
    system.world.assign("tool@1", &system.device);
    let partition = format!("DEVICE#{}", system.device.id());
    let before = saved(system, &[(&partition, "6#ASSIGNED")]);
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    roll_back(system, &before);
    refused(system, 3, &assign_command(system, "other@1"))
}

/// The key lists are rolled back. If the earlier lists were accepted, the next key list would
/// contain the revoked key.
pub fn key_lists_rolled_back(system: &AttackedSystem) -> AttackResult {
    let key = system.attackers_key().public().to_string();
    system.world.ok(&["keys", "trust", &key]);
    let before = saved(system, &[("KEYS", "KEYS")]);
    system.world.ok(&["keys", "revoke", &key]);
    roll_back(system, &before);
    refused(system, 3, &["keys", "rotate", "--unencrypted"])
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
