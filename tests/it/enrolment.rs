//! Enrolment with a token of `packcast token`.

use std::fs;

use packcast_tests::world::World;

use crate::PROGRAM;

#[test]
fn a_new_token_enrols_a_device() {
    let world = World::start(PROGRAM);
    let token = world.ok(&["token", "--devices", "1"]).stdout;
    let file = &world.state().enrolment_token_file;
    fs::write(file, token.replace("-1-", "-2-")).unwrap();
    let device = world.unenrolled_device("web01");
    let refused = device.attempt();
    assert!(
        refused.stderr.contains("not valid for this target"),
        "{refused:?}"
    );
    fs::write(file, &token).unwrap();
    device.run();
    // The batch is full, but the device has its pass.
    device.run();
    let second = world.unenrolled_device("web02").attempt();
    assert!(
        second.stderr.contains("has reached its device limit (1)"),
        "{second:?}"
    );
}
