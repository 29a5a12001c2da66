//! Lists and filters over many devices: the time, the read units and the number of rows of each.
//!
//! The commands are run twice: once to take the time, and once through a meter. All records are those
//! of real check-ins and reports (see [`load`](packcast_testing::load::load)).

use std::time::Instant;

use packcast_protocol::UnixTime;
use packcast_publisher::clock::now;
use packcast_rollout::DeviceRecord;
use packcast_testing::table::device;
use serde::de::IgnoredAny;

use crate::deployed::{Deployed, Deployment};
use crate::front::Front;
use crate::world::World;

const DAY_S: u64 = 86_400;

/// The package of the devices, and the group with some of them.
const PACKAGE: &str = "tool@1";
const GROUP: &str = "lab";

/// The answers of all lists.
#[derive(Clone, Debug)]
pub struct ListReport {
    pub devices: u32,
    /// Duration of loading the records, in seconds.
    pub loading_s: f64,
    pub answers: Vec<ListAnswer>,
}

/// One command and its answer.
#[derive(Clone, Debug)]
pub struct ListAnswer {
    pub command: String,
    /// Duration of the whole command with its output as JSON, in seconds.
    pub seconds: f64,
    pub requests: usize,
    pub read_units: f64,
    pub write_units: f64,
    pub scans: usize,
    pub expected: usize,
    /// The number of rows when the time was taken, and when the units were counted.
    pub rows: [usize; 2],
}

impl ListReport {
    /// Returns the faults of all answers.
    pub fn faults(&self) -> Vec<String> {
        let of = |at: &ListAnswer| at.fault().map(|fault| format!("{}: {fault}", at.command));
        self.answers.iter().filter_map(of).collect()
    }
}

impl ListAnswer {
    /// Returns the fault of an answer with a wrong number of rows, and of a command that scans or
    /// writes.
    pub fn fault(&self) -> Option<String> {
        let expected = self.expected;
        if self.rows != [expected; 2] {
            Some(format!("{:?} rows instead of {expected}", self.rows))
        } else if self.scans > 0 {
            Some(format!("{} Scans", self.scans))
        } else if self.write_units > 0.0 {
            Some(format!("{} write units", self.write_units))
        } else {
            None
        }
    }
}

/// Loads devices, and asks for every list. `watch` gets each answer as soon as it is there.
pub fn run(program: &str, devices: u32, mut watch: impl FnMut(&ListAnswer)) -> ListReport {
    let mut world = World::start(program);
    let loading = Instant::now();
    load(&mut world, devices);
    let loading_s = loading.elapsed().as_secs_f64();
    let endpoint = world.state().endpoint.clone();
    let engine = endpoint.strip_prefix("http://").map(str::parse);
    let meter = Front::metered(engine.expect("an engine speaks HTTP").expect("an address"));
    let behind = format!("http://{}", meter.address());
    world.configure(
        &[("direct", &endpoint), ("metered", &behind)]
            .map(|(name, endpoint)| world.target_at(name, endpoint))
            .concat(),
    );
    join(&world, devices);
    let answers = commands(devices).into_iter().map(|(command, expected)| {
        let (rows, seconds) = ask(&world, &command, "direct");
        meter.take_usage();
        let (metered, _) = ask(&world, &command, "metered");
        let usage = meter.take_usage();
        let answer = ListAnswer {
            seconds,
            requests: usage.operations.len(),
            read_units: usage.read_units,
            write_units: usage.write_units,
            scans: usage.count("Scan"),
            expected,
            rows: [rows, metered],
            command,
        };
        watch(&answer);
        answer
    });
    ListReport {
        devices,
        loading_s,
        answers: answers.collect(),
    }
}

/// Returns each command with the number of its rows.
fn commands(devices: u32) -> Vec<(String, usize)> {
    let count = |is: fn(Sample) -> bool| (0..devices).filter(|n| is(Sample(*n))).count();
    let all = devices as usize;
    let limit = all.min(100);
    let of_package = |rest: &str| format!("status {PACKAGE}{rest}");
    let failed = count(|it| it.state() == State::Failed);
    let to_come = count(|it| it.state() == State::ToCome);
    vec![
        (
            format!("device list --lacks {PACKAGE}"),
            count(|it| it.state() != State::Succeeded),
        ),
        (of_package(" --devices --state failed"), failed),
        (
            "device list --not-seen 30d".to_owned(),
            count(Sample::is_unseen),
        ),
        ("device list --limit 100".to_owned(), limit),
        ("device list".to_owned(), all),
        (
            format!("device list --has {PACKAGE}"),
            count(|it| it.state() == State::Succeeded),
        ),
        (
            format!("device list --group {GROUP}"),
            count(Sample::is_member),
        ),
        (
            format!("device list --package {PACKAGE} --state announced"),
            count(|it| it.state() == State::Announced),
        ),
        (
            "device list --platform windows".to_owned(),
            count(Sample::is_windows),
        ),
        (
            "device list --agent windows".to_owned(),
            count(Sample::is_windows),
        ),
        ("device list --sort last-seen --limit 100".to_owned(), limit),
        ("status".to_owned(), 1),
        (of_package(""), 1),
        (of_package(&format!(" --group {GROUP}")), 1),
        (of_package(" --devices"), all),
        (
            of_package(&format!(" --devices --group {GROUP}")),
            count(Sample::is_member),
        ),
        (of_package(" --devices --state to-come"), to_come),
    ]
}

/// Runs a command, and returns the number of its rows and its duration in seconds.
fn ask(world: &World, command: &str, target: &str) -> (usize, f64) {
    let mut arguments: Vec<&str> = command.split(' ').collect();
    arguments.extend(["--target", target]);
    let begun = Instant::now();
    let rows: Vec<IgnoredAny> = world.json(&arguments);
    (rows.len(), begun.elapsed().as_secs_f64())
}

/// One of the devices, by its number.
#[derive(Clone, Copy)]
struct Sample(u32);

/// The state of the package on a device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    ToCome,
    Waiting,
    Announced,
    Succeeded,
    Failed,
}

impl Sample {
    const fn state(self) -> State {
        match self.0 % 20 {
            0 => State::Failed,
            1 => State::ToCome,
            2 => State::Waiting,
            3 => State::Announced,
            _ => State::Succeeded,
        }
    }

    fn deployment(self) -> Deployment {
        let code = match self.state() {
            State::ToCome => return Deployment::ToCome,
            State::Waiting => return Deployment::Waiting,
            State::Announced => return Deployment::Announced,
            State::Succeeded => "SUCCESS_0",
            State::Failed => "ERR_EXIT_CODE_3",
        };
        let output = format!("E: disk full on /dev/sd{}\n", self.0);
        Deployment::Finished { code, output }
    }

    const fn is_unseen(self) -> bool {
        self.0 % 50 == 7
    }

    const fn is_windows(self) -> bool {
        self.0 % 10 == 4
    }

    const fn is_member(self) -> bool {
        self.0 % 10 == 6
    }

    fn record(self, now: UnixTime) -> DeviceRecord {
        let age_s = if self.is_unseen() {
            60 * DAY_S
        } else {
            u64::from(self.0) % DAY_S
        };
        let mut record = device(self.0);
        record.first_seen = UnixTime(now.0 - 100 * DAY_S);
        record.last_seen = UnixTime(now.0 - age_s);
        if self.is_windows() {
            "OCS-NG_WINDOWS_AGENT_v2.9.2.0".clone_into(&mut record.agent);
            "Microsoft Windows 11 Pro".clone_into(&mut record.os);
        }
        record
    }
}

/// Publishes a package, assigns it to all devices, and loads devices in all of its states.
fn load(world: &mut World, devices: u32) {
    let id = world.execute("tool", "true");
    world.ok(&["assign", PACKAGE, "--group", "all"]);
    let deployed = Deployed::of(world, id);
    let now = now();
    world.load(async |records| {
        for number in 0..devices {
            let sample = Sample(number);
            let record = sample.record(now);
            deployed.load(records, &record, &sample.deployment()).await;
        }
    });
}

/// Adds devices to the group.
fn join(world: &World, devices: u32) {
    let members = (0..devices).filter(|number| Sample(*number).is_member());
    let lines: String = members
        .map(|number| format!("{}\n", device(number).device))
        .collect();
    let list = world.file("members.txt", lines.as_bytes());
    world.ok(&["group", "create", GROUP, "--target", "direct"]);
    world.ok(&["group", "add", GROUP, "--from", &list, "--target", "direct"]);
}
