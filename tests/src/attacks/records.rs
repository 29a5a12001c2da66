//! The publisher at work on a table in an attacker's hands: what it is made to sign.

use std::fs;

use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use super::stage::{Stage, Tried};

/// Gives a command that has to end so, and lets the agent run after it.
fn refused(stage: &Stage, code: i32, command: &[&str]) -> Tried {
    let said = stage.world.refused(code, command);
    stage.attempt().told(said)
}

fn assigning<'a>(stage: &'a Stage, package: &'a str) -> [&'a str; 4] {
    ["assign", package, "--device", stage.device.id()]
}

fn has_key(item: &Value, pk: &str, sk: &str) -> bool {
    item["pk"]["S"] == pk && item["sk"]["S"] == sk
}

/// Changes the one item of this key.
fn edit(stage: &Stage, pk: &str, sk: &str, change: impl Fn(&mut Value)) {
    let changed = stage.edit_table(|item| {
        if has_key(item, pk, sk) {
            change(item);
        }
    });
    assert_eq!(changed, 1, "{pk} {sk} is in the table");
}

/// Returns the items of these keys as they are.
fn kept(stage: &Stage, keys: &[(&str, &str)]) -> Vec<Value> {
    let mut found = Vec::new();
    stage.edit_table(|item| {
        if keys.iter().any(|(pk, sk)| has_key(item, pk, sk)) {
            found.push(item.clone());
        }
    });
    assert_eq!(found.len(), keys.len(), "{keys:?} are in the table");
    found
}

/// Puts items back as they were.
fn put_back(stage: &Stage, kept: &[Value]) {
    stage.edit_table(|item| {
        let same = |before: &&Value| before["pk"] == item["pk"] && before["sk"] == item["sk"];
        if let Some(before) = kept.iter().find(same) {
            *item = before.clone();
        }
    });
}

fn place(package: &PackageRecord) -> String {
    format!("PACKAGE#{}", package.id)
}

fn name(package: &str) -> String {
    format!("NAME#{package}#1")
}

/// The operator names one package, and the records lead to another.
pub fn name_of_another_package(stage: &Stage) -> Tried {
    stage.package("tool", &[]);
    let other = stage.package("other", &[]);
    edit(stage, "CATALOG", &name("tool"), |item| {
        item["package"] = json!({ "S": other.id.to_string() });
    });
    refused(stage, 1, &assigning(stage, "tool@1"))
}

/// The same, and the other's record says that it has the name.
pub fn package_that_takes_anothers_name(stage: &Stage) -> Tried {
    stage.package("tool", &[]);
    let other = stage.package("other", &[]);
    edit(stage, "CATALOG", &name("tool"), |item| {
        item["package"] = json!({ "S": other.id.to_string() });
    });
    edit(stage, &place(&other), "PACKAGE", |item| {
        item["name"] = json!({ "S": "tool" });
    });
    refused(stage, 3, &assigning(stage, "tool@1"))
}

pub fn package_that_says_it_is_another(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let other = stage.package("other", &[]);
    edit(stage, &place(&package), "PACKAGE", |item| {
        item["id"] = json!({ "S": other.id.to_string() });
    });
    refused(stage, 1, &assigning(stage, "tool@1"))
}

/// The attacker's own manifest, whose digest the record has.
pub fn package_never_signed(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let before = package.published().expect("it is published").manifest;
    stage.publish_again(&package, &stage.attackers_key(), None, |manifest| {
        manifest.timeout_s += 1;
    });
    let digest = |file| {
        let bytes = fs::read(file).expect("it is published");
        packcast_protocol::Sha256Digest::of(&bytes).to_string()
    };
    let manifest = digest(stage.manifest_file(&package));
    let signature = digest(stage.signature_file(&package));
    let of_signature = package.published().expect("it is published").signature;
    edit(stage, &place(&package), "PACKAGE", |item| {
        let text = item.to_string();
        let text = text.replace(&before.to_string(), &manifest);
        let text = text.replace(&of_signature.to_string(), &signature);
        *item = serde_json::from_str(&text).expect("text for text");
    });
    refused(stage, 3, &assigning(stage, "tool@1"))
}

/// What is assigned to a few would be signed for all.
pub fn group_that_says_it_is_all(stage: &Stage) -> Tried {
    stage.package("tool", &[]);
    stage.world.ok(&["group", "create", "tills"]);
    edit(stage, "GROUP#tills", "STATE", |item| {
        item["group"] = json!({ "S": "all" });
    });
    refused(stage, 1, &["assign", "tool@1", "--group", "tills"])
}

/// What was taken back would be signed again with what is assigned next.
pub fn group_state_put_back(stage: &Stage) -> Tried {
    stage.package("tool", &[]);
    stage.package("other", &[]);
    stage.world.ok(&["assign", "tool@1", "--all"]);
    let before = kept(stage, &[("GROUP#all", "STATE"), ("GROUP#all", "REVISION")]);
    stage.world.ok(&["unassign", "tool@1", "--all"]);
    stage.device.run();
    put_back(stage, &before);
    refused(stage, 3, &["assign", "other@1", "--all"])
}

pub fn own_state_put_back(stage: &Stage) -> Tried {
    stage.package("tool", &[]);
    stage.package("other", &[]);
    stage.world.assign("tool@1", &stage.device);
    let place = format!("DEVICE#{}", stage.device.id());
    let before = kept(stage, &[(&place, "6#ASSIGNED")]);
    let device = stage.device.id();
    stage.world.ok(&["unassign", "tool@1", "--device", device]);
    put_back(stage, &before);
    refused(stage, 3, &assigning(stage, "other@1"))
}

/// The next list of trusted keys would have the key that was revoked.
pub fn keys_put_back(stage: &Stage) -> Tried {
    let key = stage.attackers_key().public().to_string();
    stage.world.ok(&["keys", "trust", &key]);
    let before = kept(stage, &[("KEYS", "KEYS")]);
    stage.world.ok(&["keys", "revoke", &key]);
    put_back(stage, &before);
    refused(stage, 3, &["keys", "rotate", "--unencrypted"])
}

/// Begins a publication whose objects cannot be stored, and returns how it is completed.
fn begin(stage: &Stage) -> Vec<String> {
    let source = stage.world.file("tool.tar.gz", &stage.archive("tool"));
    let named = ["publish", "--name", "tool", "--version", "1", &source];
    let action = ["--action", "launch", "--command", "run.sh", "--activate"];
    let command = [&named[..], &action].concat();
    let objects = &stage.world.state().objects_dir;
    let aside = objects.with_extension("aside");
    fs::rename(objects, &aside).expect("it is the attacker's");
    fs::write(objects, "no folder").expect("it is the attacker's");
    stage.world.refused(1, &command);
    fs::remove_file(objects).expect("it was written");
    fs::rename(&aside, objects).expect("it was there");
    command.into_iter().map(ToOwned::to_owned).collect()
}

fn completed(stage: &Stage, command: &[String]) -> Tried {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    refused(stage, 1, &command)
}

/// No later version would ever be newer.
pub fn draft_with_an_id_far_ahead(stage: &Stage) -> Tried {
    let command = begin(stage);
    let mut moved = None;
    stage.edit_table(|item| {
        if item["sk"]["S"] == "PACKAGE" && item["name"]["S"] == "tool" {
            item["created_at"] = json!({ "N": "2100000000" });
            moved = Some(());
        }
    });
    moved.expect("the draft is in the table");
    completed(stage, &command)
}

pub fn draft_of_another_name(stage: &Stage) -> Tried {
    let command = begin(stage);
    stage.edit_table(|item| {
        if item["sk"]["S"] == "PACKAGE" && item["name"]["S"] == "tool" {
            item["name"] = json!({ "S": "other" });
        }
    });
    completed(stage, &command)
}
