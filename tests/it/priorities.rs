//! The order in which a device deploys packages.

use std::fs;

use packcast_protocol::Outcome;
use packcast_tests::world::World;

use crate::PROGRAM;

#[test]
fn packages_run_in_the_order_of_their_priority() {
    let world = World::start(PROGRAM);
    let (device, order) = (world.device("pc"), world.path("order"));
    let publish = |priority: &str| {
        let command = format!("echo {priority} >> {order}");
        let action = ["--action", "execute", "--command", &command, "--activate"];
        let name = format!("p{priority}");
        world.publish(&name, &[&action[..], &["--priority", priority]].concat());
        format!("{name}@1")
    };
    for package in ["10", "5", "0"].map(publish) {
        world.assign(&package, &device);
    }
    device.run();
    assert_eq!(fs::read_to_string(&order).unwrap(), "0\n5\n10\n");
    let finished = world.device_state(&device).finished;
    let outcomes: Vec<_> = finished.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded; 3]);
}
