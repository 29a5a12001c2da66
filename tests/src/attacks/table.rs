//! The table in an attacker's hands: items as they like.

use serde_json::{Value, json};

use super::stage::{Stage, Tried};

/// Replaces text in every item that has it, whatever attribute it is in.
fn replace(item: &mut Value, from: &str, to: &str) {
    let text = item.to_string();
    if text.contains(from) {
        *item = serde_json::from_str(&text.replace(from, to)).expect("text for text");
    }
}

fn sort_key(item: &Value) -> &str {
    item["sk"]["S"].as_str().unwrap_or_default()
}

fn partition(item: &Value) -> &str {
    item["pk"]["S"].as_str().unwrap_or_default()
}

pub fn package_with_another_digest(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    let digest = |package: &packcast_rollout::PackageRecord| {
        package
            .published()
            .expect("it is published")
            .manifest
            .to_string()
    };
    let (own, other) = (digest(&package), digest(&other));
    let changed = stage.edit_table(|item| {
        if sort_key(item) == "PACKAGE" {
            replace(item, &own, &other);
        }
    });
    assert!(changed > 0, "the digest is in the table");
    stage.attempt()
}

pub fn package_at_another_location(stage: &Stage) -> Tried {
    stage.assigned("tool");
    let edge = stage.world.state().edge.to_string();
    let changed = stage.edit_table(|item| replace(item, &edge, "127.0.0.1:1"));
    assert!(changed > 0, "the location is in the table");
    stage.attempt()
}

/// The package is for a group that the device is not in, until somebody writes that it is.
pub fn membership_added_by_hand(stage: &Stage) -> Tried {
    let world = &stage.world;
    stage.package("tool", &[]);
    world.ok(&["group", "create", "tills"]);
    world.ok(&["assign", "tool@1", "--group", "tills"]);
    let device = stage.device.id().to_owned();
    let changed = stage.edit_table(|item| {
        if partition(item).contains(&device) && sort_key(item) == "0#DEVICE" {
            item["groups"] = json!({ "M": { "tills": { "N": "0" } } });
        }
    });
    assert_eq!(changed, 1, "the device has a record");
    stage.attempt()
}

pub fn assignment_added_by_hand(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    let (own, other) = (package.id.to_string(), other.id.to_string());
    let changed = stage.edit_table(|item| {
        if sort_key(item).starts_with("1#TASK#") {
            replace(item, &own, &other);
        }
    });
    assert_eq!(changed, 1, "the task is in the table");
    stage.attempt().allowing(1)
}

pub fn device_record_spoilt(stage: &Stage) -> Tried {
    let device = stage.device.id().to_owned();
    stage.edit_table(|item| {
        if partition(item).contains(&device) && sort_key(item) == "0#DEVICE" {
            let key = json!({ "pk": item["pk"], "sk": item["sk"] });
            *item = key;
        }
    });
    stage.attempt()
}

/// The device reports to it.
pub fn tally_of_garbage(stage: &Stage) -> Tried {
    stage.assigned("tool");
    let changed = stage.edit_table(|item| {
        if sort_key(item).contains("TALLY") || partition(item).contains("TALLY") {
            item["assigned"] = json!({ "S": "many" });
            item["succeeded"] = json!({ "S": "\u{0}" });
        }
    });
    assert!(changed > 0, "there is a tally");
    let tried = stage.attempt().allowing(1);
    let alive = stage.device.attempt();
    assert_ne!(alive.code, None, "the agent ends by itself");
    tried
}
