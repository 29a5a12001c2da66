//! The program `packcast local`: its log and its end.

use std::fs;
use std::process::Command;

use packcast_tests::process::eventually;
use packcast_tests::world::World;

use crate::PROGRAM;

#[test]
fn the_log_names_hosts_and_packages_and_shows_nothing_of_the_engine() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    let device = world.device("pc");
    world.assign("tool@1", &device);
    device.run();
    // The table refuses the second transaction, which is a regular answer.
    world.ok(&["pause", "--all"]);
    world.ok(&["pause", "--all"]);
    let log = fs::read_to_string(world.path("local.log")).unwrap();
    let host = world.device_state(&device).device.host_name;
    for event in ["announced", "the device may begin", "recorded a result"] {
        let line = log.lines().find(|line| line.contains(event));
        let line = line.unwrap_or_else(|| panic!("{event}: {log}"));
        let names = format!("host={host} name=tool@1 ");
        assert!(line.contains(&names), "{line}");
    }
    let is_of_engine = |line: &&str| line.contains("response") || line.contains("Dynoxide");
    assert_eq!(log.lines().find(is_of_engine), None);
}

/// Service managers send SIGTERM, and closed terminals SIGHUP.
#[cfg(unix)]
#[test]
fn each_signal_to_stop_ends_the_system_cleanly() {
    for signal in ["-TERM", "-HUP", "-INT"] {
        let world = World::start(PROGRAM);
        let process = world.state().pid.to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
        // A system that was killed leaves the file.
        let state = world.local_dir().join("local.json");
        eventually(signal, || (!state.exists()).then_some(()));
    }
}
