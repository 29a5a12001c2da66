//! A target as an administrator may have it, for the pages and the pictures of a console: packages,
//! groups and many devices, results, and rollouts that run, wait and have halted.

use packcast_protocol::UnixTime;
use packcast_protocol::state::RolloutId;
use packcast_publisher::clock::now;
use packcast_publisher::package::named;
use packcast_rollout::DeviceRecord;
use packcast_rollout::rollout::{DeviceFailure, GateChange, GateNumber, GateState, GateUpdate};
use packcast_testing::table::device;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::deployed::{Deployed, Deployment};
use crate::world::World;

const DAY_S: u64 = 86_400;

/// The package of all devices.
const EVERYWHERE: &str = "vlc@3.0.21";

/// The package whose rollout failures have halted, and the devices with these failures.
const HALTED: &str = "libreoffice@25.2.4";
const FAILED: [u32; 3] = [2, 6, 10];

const FULL: &str = "Need to get 31.2 MB of archives.\n\
    E: You don't have enough free space in /var/cache/apt/archives/.\n";

/// The package with the longest name and version that packages may have.
pub const LONG_NAMED: &str = concat!(
    "accounting-client-of-the-northern-region-with-printer-templates1@",
    "2026.11.30+build.20261130.1815.g0123456789abcdef0123456789abcdef"
);

/// The groups, with the share of the devices in each.
const GROUPS: [&str; 3] = ["floor-1", "floor-2", "laptops"];

/// Fills the target of a world.
pub fn fill(world: &mut World, devices: u32) {
    publish(world);
    world.ok(&["assign", EVERYWHERE, "--group", "all"]);
    let packages = world.packages();
    let [deployed, halted] = [EVERYWHERE, HALTED].map(|name| {
        let package = packages.iter().find(|it| named(it) == name);
        Deployed::of(world, package.expect("the package is published").id)
    });
    let now = now();
    world.load(async |records| {
        for number in 0..devices {
            let record = record(number, now);
            deployed.load(records, &record, &deployment(number)).await;
            if FAILED.contains(&number) {
                halted
                    .finish(records, &record, "ERR_EXIT_CODE_100", FULL)
                    .await;
            }
        }
    });
    join(world, devices);
    roll_out(world);
}

fn publish(world: &World) {
    let command = |command: &str| ["--action", "execute", "--command", command].map(str::to_owned);
    let (long, long_version) = LONG_NAMED.split_once('@').expect("a name and a version");
    let packages = [
        ("vlc", "3.0.20", command("apt-get -y install vlc=3.0.20*")),
        ("vlc", "3.0.21", command("apt-get -y install vlc=3.0.21*")),
        (
            "firefox",
            "141.0",
            command("apt-get -y install firefox-esr"),
        ),
        (
            "libreoffice",
            "25.2.4",
            command("apt-get -y install libreoffice"),
        ),
        (
            "printer-driver",
            "2.4",
            command("dpkg -i printer-driver.deb"),
        ),
        (long, long_version, command("true")),
    ];
    for (name, version, action) in &packages {
        let mut line = vec![
            "publish",
            "--name",
            name,
            "--version",
            version,
            "--activate",
        ];
        line.extend(action.iter().map(String::as_str));
        if *name == "printer-driver" {
            line.extend(["--expires-in", "9d"]);
        }
        world.ok(&line);
    }
}

fn record(number: u32, now: UnixTime) -> DeviceRecord {
    let mut record = device(number);
    let places = ["reception", "lab", "office", "laptop", "kiosk"];
    let place = places[number as usize % places.len()];
    record.host_name = if number == 3 {
        "a-laptop-with-the-longest-host-name-that-the-name-service-allows".to_owned()
    } else {
        format!("{place}-{number:03}")
    };
    record.first_seen = UnixTime(now.0 - 100 * DAY_S);
    let age_s = if number % 40 == 9 {
        12 * DAY_S
    } else {
        u64::from(number * 61) % (DAY_S / 2)
    };
    record.last_seen = UnixTime(now.0 - age_s);
    if number % 5 == 3 {
        "OCS-NG_WINDOWS_AGENT_v2.9.2.0".clone_into(&mut record.agent);
        "Microsoft Windows 11 Pro".clone_into(&mut record.os);
    }
    record
}

/// Returns the state of the package of all devices on a device.
fn deployment(number: u32) -> Deployment {
    let (code, output) = match number % 25 {
        2 => return Deployment::Waiting,
        3 | 4 => return Deployment::Announced,
        6 => ("ERR_EXIT_CODE_100", "E: Unable to locate package vlc\n"),
        7 => ("ERR_EXIT_CODE_100", FULL),
        _ => ("SUCCESS_0", "Setting up vlc (3.0.21-0+deb12u1) ...\n"),
    };
    let output = output.to_owned();
    Deployment::Finished { code, output }
}

/// Creates the groups with their devices and packages.
fn join(world: &World, devices: u32) {
    for (place, group) in (0..).zip(GROUPS) {
        let members = (0..devices).filter(|number| number % 4 == place);
        let lines: String = members
            .map(|number| format!("{}\n", device(number).device))
            .collect();
        let list = world.file(&format!("{group}.txt"), lines.as_bytes());
        world.ok(&["group", "create", group]);
        world.ok(&["group", "add", group, "--from", &list]);
    }
    world.ok(&["assign", "printer-driver@2.4", "--group", "floor-1"]);
    world.ok(&[
        "assign",
        LONG_NAMED,
        "--device",
        &device(1).device.to_string(),
    ]);
}

/// Starts a rollout that runs, and one that failures have halted.
fn roll_out(world: &World) {
    for (package, group) in [("firefox@141.0", "floor-2"), (HALTED, "laptops")] {
        let start = [
            "rollout", "start", package, "--group", group, "--days", "mon-sun",
        ];
        world.ok(&[&start[..], &["--waves", "10,50,100"]].concat());
    }
    let set = |number, to| GateUpdate::Set(number, to);
    let mut running = vec![set(GateNumber::Begun, 4), set(GateNumber::Healthy, 3)];
    running.extend([set(GateNumber::AllBegun, 4), set(GateNumber::AllHealthy, 3)]);
    change(world, "firefox@141.0", running);
    let evidence = FAILED.map(|number| DeviceFailure {
        device: device(number).device,
        code: "ERR_EXIT_CODE_100".parse().expect("a result code"),
    });
    let mut halted = vec![GateUpdate::State(GateState::Halted)];
    halted.extend([set(GateNumber::Begun, 5), set(GateNumber::Failed, 3)]);
    halted.extend([set(GateNumber::AllBegun, 5), set(GateNumber::AllFailed, 3)]);
    halted.push(GateUpdate::Evidence(evidence.into()));
    change(world, HALTED, halted);
}

/// Changes the gate of a package's rollout, as reports of its devices do.
fn change(world: &World, package: &str, updates: Vec<GateUpdate>) {
    let shown: Value = world.json(&["rollout", "show", package]);
    let id = shown["rollout"].as_str().expect("a rollout has an id");
    let id: RolloutId = id.parse().expect("an id of a rollout");
    let change = GateChange {
        conditions: Vec::new(),
        updates,
    };
    let runtime = Runtime::new().expect("a runtime can be started");
    runtime.block_on(async {
        let records = world.records().await;
        let changed = records.change_gate(id, &change).await;
        assert!(changed.expect("the gate can be written"));
    });
}
