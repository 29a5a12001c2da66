//! The table under an attacker's control: items are changed at will.

use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem, partition};

/// Replaces text in an item, in any attribute.
fn replace(item: &mut Value, from: &str, to: &str) {
    let text = item.to_string();
    if text.contains(from) {
        *item = serde_json::from_str(&text.replace(from, to)).expect("JSON with another text");
    }
}

fn sort_key(item: &Value) -> &str {
    item["sk"]["S"].as_str().unwrap_or_default()
}

pub fn package_with_another_digest(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    let digest = |package: &packcast_rollout::PackageRecord| {
        package
            .published()
            .expect("the package is published")
            .manifest
            .to_string()
    };
    let (own, other) = (digest(&package), digest(&other));
    let changed = system.edit_table(|item| {
        if sort_key(item) == "PACKAGE" {
            replace(item, &own, &other);
        }
    });
    assert!(changed > 0, "the digest is in the table");
    system.attempt()
}

/// The records have another address for the location. Agents take the address from the state.
pub fn package_at_another_location(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    let edge = system.world.state().edge.to_string();
    let changed = system.edit_table(|item| {
        if !partition(item).starts_with("DOC#") {
            replace(item, &edge, "127.0.0.1:1");
        }
    });
    assert!(changed > 0, "the location is in the table");
    system.attempt().allowing(1)
}

/// The package is for a group that the device is not in; a membership is written into the table.
pub fn membership_added(system: &AttackedSystem) -> AttackResult {
    let world = &system.world;
    system.package("tool", &[]);
    world.ok(&["group", "create", "tills"]);
    world.ok(&["assign", "tool@1", "--group", "tills"]);
    let device = system.device.id().to_owned();
    let changed = system.edit_table(|item| {
        if partition(item).contains(&device) && sort_key(item) == "0#DEVICE" {
            item["groups"] = json!({ "M": { "tills": { "N": "0" } } });
        }
    });
    assert_eq!(changed, 1, "the device has a record");
    system.attempt()
}

pub fn assignment_added(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    let (own, other) = (package.id.to_string(), other.id.to_string());
    let changed = system.edit_table(|item| {
        if sort_key(item).starts_with("1#TASK#") {
            replace(item, &own, &other);
        }
    });
    assert_eq!(changed, 1, "the task is in the table");
    system.attempt().allowing(1)
}

pub fn device_record_damaged(system: &AttackedSystem) -> AttackResult {
    let device = system.device.id().to_owned();
    system.edit_table(|item| {
        if partition(item).contains(&device) && sort_key(item) == "0#DEVICE" {
            let key = json!({ "pk": item["pk"], "sk": item["sk"] });
            *item = key;
        }
    });
    system.attempt()
}

/// The device's report is counted in a tally that is not a number.
pub fn tally_damaged(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    let changed = system.edit_table(|item| {
        if sort_key(item).contains("TALLY") || partition(item).contains("TALLY") {
            item["assigned"] = json!({ "S": "many" });
            item["succeeded"] = json!({ "S": "\u{0}" });
        }
    });
    assert!(changed > 0, "the table has a tally");
    let tried = system.attempt().allowing(1);
    let alive = system.device.attempt();
    assert_ne!(alive.code, None, "the agent ends regularly");
    tried
}
