//! Deletion of packages, and the records that remain.

use std::fs;

use packcast_protocol::{ObjectPath, PackageId};
use packcast_store::records::{PublishError, ReserveError, Reserved};
use packcast_testing::table::{NOW, Table, mia, published, reservation};
use packcast_tests::ocs::OcsDevice;
use packcast_tests::process::Ran;
use packcast_tests::world::World;
use serde_json::Value;

use crate::PROGRAM;

const EXECUTE: [&str; 5] = ["--action", "execute", "--command", "true", "--activate"];

/// Counts the files below the folder of a package's objects.
fn files(world: &World, folder: &ObjectPath) -> usize {
    fn below(folder: &std::path::Path) -> usize {
        let Ok(entries) = fs::read_dir(folder) else {
            return 0;
        };
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| if path.is_dir() { below(&path) } else { 1 })
            .sum()
    }
    below(&world.state().objects_dir.join(folder.to_string()))
}

fn ids(listed: &Value) -> Vec<PackageId> {
    let packages = listed.as_array().unwrap().iter();
    packages
        .map(|package| package["id"].as_str().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_deleted_package_leaves_only_its_name_and_its_results() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let package = world.publish("tool", &EXECUTE).package;
    world.assign("tool@1", &device);
    device.run();
    let stored = files(&world, &package.folder);
    assert_eq!(stored, 3, "manifest, signature and info");

    let deleted: Value = world.json(&["delete", "tool@1"]);
    assert_eq!(deleted["objects"], stored);
    assert!(deleted["bytes"].as_u64().unwrap() > 0);
    assert_eq!(files(&world, &package.folder), 0);
    assert_eq!(ids(&world.json(&["list"])), []);
    assert_eq!(ids(&world.json(&["list", "--deleted"])), [package.id]);
    let shown = world.ok(&["show", "tool@1"]).stdout;
    assert!(shown.contains("deleted 2"), "{shown}");
    let results = world.ok(&["device", "show", device.id()]).stdout;
    assert!(results.contains("tool@1 (deleted)"), "{results}");
    assert_eq!(world.result(&device).package, package.id);

    let again = world.refused(
        3,
        &[&["publish", "--name=tool", "--version=1"], &EXECUTE[..]].concat(),
    );
    assert!(
        again.contains("tool@1") && again.contains("was deleted"),
        "{again}"
    );
    for command in [&["activate", "tool@1"][..], &["assign", "tool@1", "--all"]] {
        let refused = world.refused(3, command);
        assert!(refused.contains("was deleted"), "{refused}");
    }
}

#[test]
fn an_interrupted_deletion_can_be_completed() {
    let world = World::start(PROGRAM);
    let package = world.publish("tool", &EXECUTE).package;
    world.ok(&["delete", "tool@1"]);
    let left = world.state().objects_dir.join(package.folder.to_string());
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("left"), "behind").unwrap();
    for objects in [1, 0] {
        let deleted: Value = world.json(&["delete", &package.id.to_string()]);
        assert_eq!(deleted["objects"], objects);
    }
    assert_eq!(files(&world, &package.folder), 0);
}

#[test]
fn an_assigned_package_is_deleted_only_with_its_assignments() {
    let world = World::start(PROGRAM);
    let devices: Vec<OcsDevice> = ["told", "held", "grouped"]
        .map(|name| OcsDevice::new(&world, name))
        .into();
    for device in &devices {
        device.check_in();
        device.inventory(&[]);
    }
    let package = world.publish("tool", &EXECUTE).package;
    for group in ["lab", "office"] {
        world.ok(&["group", "create", group]);
        world.ok(&["assign", "tool@1", "--group", group]);
    }
    world.ok(&["group", "add", "lab", "--device", "grouped"]);
    world.ok(&["assign", "tool@1", "--device", "told", "--device", "held"]);
    for device in [&devices[0], &devices[2]] {
        device.check_in();
    }

    let refused = world.refused(3, &["delete", "tool@1"]);
    assert!(refused.contains("groups lab, office"), "{refused}");
    assert!(refused.contains("3 devices"), "{refused}");
    assert!(refused.contains("--unassign"), "{refused}");
    assert_eq!(files(&world, &package.folder), 3);

    let ran = Ran::of(&mut world.command(&["delete", "tool@1", "--unassign"])).expect_code(0);
    assert!(ran.stderr.contains("announced to 2 devices"), "{ran:?}");
    assert!(ran.stderr.contains("device drop"), "{ran:?}");
    assert_eq!(files(&world, &package.folder), 0);
    let groups: Value = world.json(&["group", "list"]);
    for group in groups.as_array().unwrap() {
        assert_eq!(group["packages"], 0, "{groups:#}");
    }
    let status: Value = world.json(&["status", "tool@1"]);
    let counts = ["assigned", "waiting", "announced", "withdrawn"];
    assert_eq!(
        counts.map(|count| status[0][count].as_u64().unwrap()),
        [2, 0, 0, 2]
    );

    let explained: Value = world.json(&["explain", "told", "tool@1"]);
    assert_eq!(explained["reason"], "withdrawn", "{explained:#}");
    assert!(explained["next"].as_str().unwrap().contains("device drop"));

    // A report of an announced task counts, although the package is deleted.
    devices[0].report(package.id, "SUCCESS");
    let status: Value = world.json(&["status", "tool@1"]);
    assert_eq!(status[0]["succeeded"], 1);
    let results = world.ok(&["device", "show", "told"]).stdout;
    assert!(results.contains("tool@1 (deleted)"), "{results}");
}

#[test]
fn a_packcast_agent_cancels_a_deleted_package() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let site = world.execute_at_site("tool", "true");
    world.assign("tool@1", &device);
    // The device is told of the package, and cannot fetch it.
    site.cut();
    device.run();
    let ran = Ran::of(&mut world.command(&["delete", "tool@1", "--unassign"])).expect_code(0);
    assert!(ran.stderr.contains("announced to 1 device"), "{ran:?}");
    device.run();
    assert_eq!(world.device_state(&device).open, []);
    let progress = world.progress("tool@1");
    assert_eq!(
        (progress.state.as_str(), progress.cancelled),
        ("deleted", 1)
    );
}

#[tokio::test]
async fn a_deleted_draft_cannot_be_published() {
    let table = Table::start(1).await;
    let reserved = table.records.reserve(&reservation("tool", 5), NOW).await;
    let Reserved::New(package) = reserved.unwrap() else {
        panic!("the name is free");
    };
    for _ in 0..2 {
        let deleted = table.records.delete(package.id, &mia()).await.unwrap();
        assert!(deleted.is_deleted());
    }
    let refused = table
        .records
        .publish(package.id, &published(package.id), &mia())
        .await;
    assert!(
        matches!(refused, Err(PublishError::Deleted { .. })),
        "{refused:?}"
    );
    let reserved = table.records.reserve(&reservation("tool", 5), NOW).await;
    assert!(
        matches!(reserved, Err(ReserveError::Deleted { .. })),
        "{reserved:?}"
    );
    assert_eq!(table.records.packages(200).await.unwrap(), []);
    let gone = table.records.deleted_packages().await.unwrap();
    assert_eq!(gone[0].id, package.id);
}
