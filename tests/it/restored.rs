//! A table that an administrator restores from a back-up, and a device that holds a later state.

use packcast_protocol::state::CommitId;
use packcast_testing::raw::RawEngine;
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::PROGRAM;

/// All items of the table at one time.
struct BackUp(Vec<Value>);

#[derive(Deserialize)]
struct SignedState {
    commit: CommitId,
}

impl BackUp {
    fn of(world: &World) -> Self {
        let state = world.state();
        let items = async { RawEngine::at(&state.endpoint).items(&state.table).await };
        Self(Runtime::new().unwrap().block_on(items))
    }

    /// Restores the table, while no command and no function uses it.
    fn restore(&self, world: &mut World) {
        let state = world.state();
        let restored = async {
            let (engine, table) = (RawEngine::at(&state.endpoint), &state.table);
            for item in engine.items(table).await {
                let key = json!({ "pk": item["pk"], "sk": item["sk"] });
                let delete = json!({ "TableName": table, "Key": key });
                engine.ask("DeleteItem", &delete).await;
            }
            for item in &self.0 {
                let put = json!({ "TableName": table, "Item": item });
                engine.ask("PutItem", &put).await;
            }
        };
        Runtime::new().unwrap().block_on(restored);
        // The function keeps the head for a minute.
        world.restart();
    }
}

fn codes(world: &World, device: &TestDevice) -> Vec<String> {
    let finished = world.device_state(device).finished.into_iter();
    finished.map(|task| task.code.to_string()).collect()
}

#[test]
fn a_device_that_holds_a_lost_commit_follows_the_commit_on_the_restored_head() {
    let mut world = World::start(PROGRAM);
    let device = world.device("pc");
    for package in ["first", "lost", "next"] {
        world.execute(package, "true");
    }
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", device.id()]);
    world.ok(&["assign", "first@1", "--group", "lab"]);
    device.run();
    let back_up = BackUp::of(&world);
    world.ok(&["assign", "lost@1", "--group", "lab"]);
    device.run();
    assert_eq!(codes(&world, &device), ["SUCCESS", "SUCCESS"]);
    let lost = Tree::of(&world).number();

    back_up.restore(&mut world);
    let refused = world.refused(3, &["assign", "next@1", "--group", "lab"]);
    assert!(
        refused.contains("run 'packcast sign --restored'"),
        "{refused}"
    );
    // The device refuses the restored head, too.
    device.run();
    let shown = world.refused(2, &["sign", "--restored"]);
    let problem = format!("the table has no commit {lost}-");
    assert!(shown.contains(&problem), "{shown}");
    let confirm = shown.split_once("--accept-head ").unwrap().1;
    let head = confirm.split_whitespace().next().unwrap();
    let number = Tree::of(&world).number();
    assert!(head.starts_with(&format!("{number}-")), "{shown}");

    let sign = ["sign", "--restored", "--accept-head", head];
    let signed: SignedState = world.json(&sign);
    assert!(signed.commit.number > lost);
    let refused = world.refused(3, &sign);
    assert!(refused.contains("nothing was restored"), "{refused}");
    world.ok(&["assign", "next@1", "--group", "lab"]);
    device.run();
    assert_eq!(codes(&world, &device), ["SUCCESS", "SUCCESS"]);
    assert_eq!(world.progress("next@1").succeeded, 1);
}
