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

#[test]
fn a_batch_is_shown_with_its_devices_and_can_be_revoked() {
    let world = World::start(PROGRAM);
    let create = |name: &str| {
        let created = world.ok(&["token", "--name", name, "--devices", "5"]);
        assert!(
            created.stderr.contains(&format!("of batch {name}-")),
            "{created:?}"
        );
        created.stdout
    };
    let (berlin, bonn) = (create("berlin"), create("bonn"));
    let file = &world.state().enrolment_token_file;
    fs::write(file, &berlin).unwrap();
    let device = world.device("web01");
    let shown = world.ok(&["device", "show", device.id()]).stdout;
    assert!(shown.contains("batch             berlin-"), "{shown}");
    let listed = world.ok(&["token", "list"]).stdout;
    assert!(
        listed.contains("1 of 5") && !listed.contains("bonn"),
        "{listed}"
    );

    let revoked = world.ok(&["token", "revoke", "berlin"]).stdout;
    assert!(revoked.contains("is revoked"), "{revoked}");
    let refused = world.unenrolled_device("web02").attempt();
    assert!(refused.stderr.contains("was revoked"), "{refused:?}");
    // The device has its pass, and the other batch its own token.
    device.run();
    fs::write(file, &bonn).unwrap();
    world.device("web03");
    let again = world.ok(&["token", "revoke", "berlin"]).stdout;
    assert!(again.contains("already revoked"), "{again}");
    let unknown = world.refused(1, &["token", "revoke", "rom"]);
    assert!(unknown.contains("no batch with the name rom"), "{unknown}");
    let log = world.ok(&["log"]).stdout;
    assert_eq!(
        log.matches("revoked the enrolment token").count(),
        1,
        "{log}"
    );
}
