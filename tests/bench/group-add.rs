//! Adds many devices to a group with one command, and prints the duration.
//!
//! A second command is killed when half of its records are complete, and started again.

use std::io::{self, Write as _};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use packcast_protocol::GroupName;
use packcast_store::Records;
use packcast_testing::table::device;
use packcast_tests::process::{Process, eventually};
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use tokio::runtime::Runtime;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Goal for the number of devices in a second.
const GOAL: u32 = 2_000;

/// Add many devices to a group with one command, on the engine of packcast local
///
/// The command fails if it adds fewer than 2,000 devices a second, makes more than one commit, or
/// leaves out a device.
#[derive(Parser)]
#[command(bin_name = "just bench-group-add")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 100_000)]
    devices: u32,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A system with the records of devices that have all checked in.
struct Fleet {
    world: World,
    runtime: Runtime,
    records: Records,
    /// A file with the ids of all devices.
    ids: String,
    devices: u64,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout();
    let fleet = Fleet::start(args.devices);
    writeln!(out, "{} devices", args.devices)?;
    let added = fleet.add("lab");
    print(&mut out, &fleet, "group add", &added)?;
    let resumed = fleet.add_after_a_kill("office");
    print(
        &mut out,
        &fleet,
        "group add, killed and started again",
        &resumed,
    )?;
    let faults = [
        (added.devices_per_second < f64::from(GOAL))
            .then(|| format!("fewer than {GOAL} devices a second")),
        (added.commits != 1 || resumed.commits != 1).then(|| "more than one commit".to_owned()),
        (added.members != fleet.devices || resumed.members != fleet.devices)
            .then(|| "a device is missing".to_owned()),
    ];
    for fault in faults.iter().flatten() {
        writeln!(out, "  failed: {fault}")?;
    }
    let is_good = faults.iter().all(Option::is_none);
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Figures of one or more commands that have added all devices to a group.
struct Added {
    /// Duration of each command, in seconds.
    seconds: Vec<f64>,
    devices_per_second: f64,
    commits: u64,
    members: u64,
}

fn print(out: &mut impl io::Write, fleet: &Fleet, name: &str, added: &Added) -> io::Result<()> {
    let seconds: Vec<String> = added
        .seconds
        .iter()
        .map(|it| format!("{it:.1} s"))
        .collect();
    writeln!(
        out,
        "  {name}: {}, {:.0} devices a second, {} commit, {} of {} devices",
        seconds.join(" + "),
        added.devices_per_second,
        added.commits,
        added.members,
        fleet.devices,
    )
}

impl Fleet {
    fn start(devices: u32) -> Self {
        let mut world = World::start(PROGRAM);
        world.load(async |records| {
            for number in 0..devices {
                let written = records.write_check_in(&device(number), None).await;
                written.expect("devices can check in");
            }
        });
        let runtime = Runtime::new().expect("a runtime can be created");
        let records = runtime.block_on(world.records());
        let lines: String = (0..devices)
            .map(|number| format!("{}\n", device(number).device))
            .collect();
        let ids = world.file("devices.txt", lines.as_bytes());
        // The commands reach the engine without the proxy of the tests.
        world.configure(&world.target_at("direct", &world.state().endpoint));
        Self {
            world,
            runtime,
            records,
            ids,
            devices: devices.into(),
        }
    }

    /// Adds all devices to a new group.
    fn add(&self, group: &str) -> Added {
        self.create(group);
        let before = self.commits();
        let begun = Instant::now();
        self.world.ok(&self.arguments(group));
        let seconds = vec![begun.elapsed().as_secs_f64()];
        self.added(group, before, seconds)
    }

    /// Kills the command when half of the records are complete, and starts the command again.
    fn add_after_a_kill(&self, group: &str) -> Added {
        self.create(group);
        let before = self.commits();
        let begun = Instant::now();
        let mut command = self.world.command(&self.arguments(group));
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        eventually("half of the records are complete", || {
            (self.members(group) >= self.devices / 2).then_some(())
        });
        process.kill();
        let killed = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        self.world.ok(&self.arguments(group));
        let seconds = vec![killed, begun.elapsed().as_secs_f64()];
        self.added(group, before, seconds)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the number of devices is far below 2^52"
    )]
    fn added(&self, group: &str, before: u64, seconds: Vec<f64>) -> Added {
        Added {
            devices_per_second: self.devices as f64 / seconds.iter().sum::<f64>(),
            seconds,
            commits: self.commits() - before,
            members: self.members(group),
        }
    }

    fn create(&self, group: &str) {
        self.world
            .ok(&["group", "create", group, "--target=direct"]);
    }

    fn arguments<'a>(&'a self, group: &'a str) -> [&'a str; 6] {
        [
            "group",
            "add",
            group,
            "--from",
            &self.ids,
            "--target=direct",
        ]
    }

    fn commits(&self) -> u64 {
        Tree::of(&self.world).order()
    }

    fn members(&self, group: &str) -> u64 {
        let group: GroupName = group.parse().expect("a word is a name");
        let size = self.runtime.block_on(self.records.size(&group));
        size.expect("a size can be read")
    }
}
