//! The OCS agent of Debian installs the Packcast agent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_protocol::{DeviceId, Outcome};
use packcast_rollout::DeviceRecord;
use packcast_testing::skip::{Missing, skip};
use packcast_tests::ocs_agent::{OcsAgent, installed};
use packcast_tests::overlay::Overlay;
use packcast_tests::process::Ran;
use packcast_tests::world::World;

use crate::PROGRAM;

/// Runs a program of this machine, and returns its output.
fn output(program: &str, arguments: &[&str]) -> String {
    Ran::of(Command::new(program).args(arguments))
        .expect_code(0)
        .stdout
}

/// Packs the program under test as the package of the agent, with the unit and the scripts that the
/// shipped package has.
fn agent_deb(world: &World) -> String {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/packaging");
    let staged = world.directory().join("deb");
    let put = |name: &str, mode: u32, content: &[u8]| {
        let file = staged.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let architecture = output("dpkg", &["--print-architecture"]);
    let architecture = architecture.trim();
    let control = format!(
        "Package: packcast-agent\nVersion: 0.1.0-1\nArchitecture: {architecture}\n\
         Maintainer: Packcast <packages@packcast.invalid>\nDescription: agent under test\n"
    );
    put("DEBIAN/control", 0o644, control.as_bytes());
    for script in ["postinst", "prerm", "postrm"] {
        let content = fs::read(packaging.join("deb").join(script)).unwrap();
        put(&format!("DEBIAN/{script}"), 0o755, &content);
    }
    let unit = fs::read(packaging.join("packcast-agent.service")).unwrap();
    let place = "usr/lib/systemd/system/packcast-agent.service";
    put(place, 0o644, &unit);
    // The program with its debug information would be a package of hundreds of MiB.
    let program = format!("#!/bin/sh\nexec '{PROGRAM}' agent \"$@\"\n");
    put("usr/bin/packcast-agent", 0o755, program.as_bytes());
    let file = world.path(&format!("packcast-agent_0.1.0-1_{architecture}.deb"));
    let build = ["--root-owner-group", "--build"];
    let staged = staged.to_str().unwrap();
    output("dpkg-deb", &[&build[..], &[staged, &file]].concat());
    file
}

/// Returns the only device with a Packcast agent.
fn packcast_device(world: &World) -> DeviceRecord {
    let devices: Vec<DeviceRecord> = world.json(&["device", "list"]);
    let of_agents = devices
        .into_iter()
        .filter(|device| matches!(device.device, DeviceId::Agent(_)));
    let mut of_agents: Vec<DeviceRecord> = of_agents.collect();
    assert_eq!(of_agents.len(), 1, "{of_agents:?}");
    of_agents.remove(0)
}

fn is_debian() -> bool {
    let is_debian =
        Path::new("/etc/debian_version").exists() && rustix::process::geteuid().is_root();
    if !is_debian {
        skip(Missing::Optional("Debian as root"));
    }
    is_debian
}

#[test]
fn the_ocs_agent_installs_the_packcast_agent_which_then_deploys() {
    let Some(program) = installed().filter(|_| is_debian()) else {
        return;
    };
    let world = World::start(PROGRAM);
    let Some(overlay) = Overlay::of(&world) else {
        return;
    };
    let deb = agent_deb(&world);
    let token = world
        .ok(&["token", "--name", "ocs", "--devices", "1"])
        .stdout;
    let token_file = world.file("token", token.as_bytes());
    let package = ["agent-package", &deb, "--token-file", &token_file];
    // OCS agents deploy packages of this priority in every cycle.
    world.ok(&[&package[..], &["--priority", "1"]].concat());

    let (ocs, _) = OcsAgent::enrol(&overlay.program(&program), &world);
    let assign = |name: &str, device: &str| world.ok(&["assign", name, "--device", device]);
    assign("packcast-agent-install@0.1.0-1", ocs.id());
    let check_in = ocs.check_in();
    let finished = world.device_state_of(ocs.id()).finished;
    let results = finished
        .iter()
        .map(|task| (task.code.to_string(), task.outcome));
    assert_eq!(
        results.collect::<Vec<_>>(),
        [("SUCCESS_0".to_owned(), Outcome::Succeeded)],
        "{}",
        check_in.log
    );

    // The installed agent has enrolled as a device of its own, with the token of the batch.
    let device = packcast_device(&world);
    let batch = device
        .batch
        .clone()
        .expect("the device enrolled with a batch");
    assert_eq!(batch.name(), Some("ocs"));
    let ocs_host = world.device_state_of(ocs.id()).device.host_name;
    assert_eq!(device.host_name, ocs_host);
    let batches = world.ok(&["token", "list"]).stdout;
    assert!(batches.contains("1 of 1"), "{batches}");
    let configuration = overlay.changed("etc/packcast");
    assert!(configuration.join("agent.toml").exists());
    assert!(!configuration.join("enrolment-token").exists());
    let shown = overlay.changed("usr/lib/systemd/system/packcast-agent.service");
    assert!(shown.exists());

    let marker = world.path("marker");
    world.execute("tool", &format!("touch {marker}"));
    assign("tool@1", &device.device.to_string());
    let agent = PathBuf::from("/usr/bin/packcast-agent");
    let once = Ran::of(&mut overlay.command(&agent, &["run", "--once"])).expect_code(0);
    assert!(Path::new(&marker).exists(), "{once:?}");
    assert!(!agent.exists(), "the machine itself has no agent");
}

#[test]
fn a_package_with_a_token_for_all_devices_is_refused() {
    let world = World::start(PROGRAM);
    let token_file = world.state().enrolment_token_file.clone();
    let deb = world.file("packcast-agent_0.1.0-1_amd64.deb", b"deb");
    let package = [
        "agent-package",
        &deb,
        "--token-file",
        token_file.to_str().unwrap(),
    ];
    let message = world.refused(2, &package);
    assert!(
        message.contains("enrols any number of devices"),
        "{message}"
    );
    assert_eq!(world.packages(), []);
}
