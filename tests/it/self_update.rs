//! Agents update themselves in a rollout: a working build in two waves, and a broken one that goes
//! back by itself and halts its rollout.

use std::fs;

use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde_json::Value;

use crate::PROGRAM;

/// Check-ins of each device that are enough for a wave.
const ROUNDS: usize = 8;

/// A fleet of three devices; the first wave is one of them.
struct Fleet {
    world: World,
    devices: Vec<TestDevice>,
}

impl Fleet {
    fn start() -> Self {
        let world = World::start(PROGRAM);
        let names = ["web01", "web02", "web03"];
        let devices: Vec<TestDevice> = names.iter().map(|name| world.device(name)).collect();
        for (group, members) in [("pilot", &devices[..1]), ("office", &devices[..])] {
            world.ok(&["group", "create", group]);
            let members = members.iter().flat_map(|it| ["--device", it.id()]);
            let members: Vec<&str> = members.collect();
            world.ok(&[&["group", "add", group], &members[..]].concat());
        }
        Self { world, devices }
    }

    /// Publishes a build, which is a script, and starts its rollout.
    fn roll_out(&self, version: &str, script: &str) {
        let build = self.world.file(version, script.as_bytes());
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let build = format!("{platform}={build}");
        let publish = ["publish-agent", &build, "--version", version, "--activate"];
        let published: Value = self.world.json(&publish);
        assert_eq!(published["package"]["action"]["type"], "update");
        let package = format!("packcast-agent@{version}");
        let start = ["rollout", "start", &package, "--group", "office"];
        let waves = ["--pilot", "pilot", "--waves", "100", "--days", "mon-sun"];
        let times = ["--settle", "0", "--wait", "0"];
        let limits = ["--halt-at", "1", "--tolerate", "0"];
        self.world
            .ok(&[&start[..], &waves, &times, &limits].concat());
    }

    /// Lets the devices check in until the rollout has this status.
    fn until(&self, package: &str, status: &str) -> Value {
        for _ in 0..ROUNDS * self.devices.len() {
            for device in &self.devices {
                // A device whose version on trial ends has an exit code of its own.
                device.attempt();
                let shown: Value = self.world.json(&["rollout", "show", package]);
                if shown["status"] == status {
                    return shown;
                }
            }
        }
        let shown: Value = self.world.json(&["rollout", "show", package]);
        panic!("the rollout is never {status}: {shown:#}");
    }

    /// Returns the starts of a build on all devices.
    fn starts(&self, version: &str) -> usize {
        let starts = self.world.path(&format!("starts-{version}"));
        fs::read_to_string(starts)
            .unwrap_or_default()
            .lines()
            .count()
    }
}

#[test]
fn agents_update_themselves_in_waves_and_go_back_from_a_broken_build() {
    let fleet = Fleet::start();
    let world = &fleet.world;
    let begin = |version: &str| {
        let starts = world.path(&format!("starts-{version}"));
        let states = format!("[ \"$1\" = --version ] && echo packcast-agent {version} && exit\n");
        format!("#!/bin/sh\n{states}echo $$ >> '{starts}'\n")
    };
    let good = begin("999.1.0") + &format!("exec '{PROGRAM}' agent \"$@\"\n");
    fleet.roll_out("999.1.0", &good);
    // Only the device of the first wave is updated.
    for device in fleet.devices.iter().rev() {
        device.run();
    }
    assert_eq!(fleet.starts("999.1.0"), 1);
    fleet.until("packcast-agent@999.1.0", "complete");
    // A rollout is complete before its last device has settled.
    for device in fleet.devices.iter().chain(&fleet.devices) {
        device.run();
    }
    let show = ["rollout", "show", "packcast-agent@999.1.0"];
    let complete: Value = world.json(&show);
    assert_eq!(
        (&complete["healthy"], &complete["failed"]),
        (&3.into(), &0.into())
    );
    let result = world.result(&fleet.devices[2]);
    assert_eq!(result.code.to_string(), "SUCCESS");

    fleet.roll_out("999.2.0", &(begin("999.2.0") + "exit 1\n"));
    let halted = fleet.until("packcast-agent@999.2.0", "halted");
    assert_eq!(
        (&halted["begun"], &halted["failed"]),
        (&1.into(), &1.into())
    );
    let failure = &halted["first_failures"][0];
    let line = failure["line"].as_str().unwrap();
    assert!(
        line.starts_with("went back from version 999.2.0 of the agent: "),
        "{failure:#}"
    );
    assert_eq!(fleet.starts("999.2.0"), 3);
    // Every device still has a working agent, the updated one.
    let before = fleet.starts("999.1.0");
    for device in &fleet.devices {
        device.run();
    }
    assert_eq!(fleet.starts("999.1.0"), before + 3);
    assert_eq!(fleet.starts("999.2.0"), 3, "no other device begins");
}
