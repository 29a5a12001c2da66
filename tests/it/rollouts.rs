//! Rollouts with agents that run: waves, a failure that halts, a resume, and the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use packcast_agent::event::Event;
use packcast_protocol::state::RolloutId;
use packcast_rollout::rollout::{GateChange, GateNumber, GateUpdate};
use packcast_testing::skip::{Missing, skip};
use packcast_tests::process::{Ran, eventually};
use packcast_tests::terminal::OnTerminal;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::PROGRAM;

/// Check-ins of each device that are enough for a wave: a device is told, begins and settles, and the
/// next wave opens.
const ROUNDS: usize = 8;

/// A rollout with two pilot groups, of one device and of two, before the last device.
struct ThreeWaves {
    world: World,
    devices: Vec<TestDevice>,
}

impl ThreeWaves {
    /// Starts the rollout of a package that runs a command. Exit code 10 asks for a restart. Devices
    /// settle at once, and waves follow each other without a wait.
    fn start(command: impl Fn(&World) -> String) -> Self {
        let world = World::start(PROGRAM);
        let line = command(&world);
        let action = ["--action", "execute", "--command", &line];
        let codes = ["--reboot-code", "10", "--activate"];
        world.publish("tool", &[&action[..], &codes].concat());
        let devices = ["web01", "web02", "web03", "web04"].map(|name| world.device(name));
        for (group, members) in [("first", 0..1), ("second", 1..3), ("office", 0..4)] {
            world.ok(&["group", "create", group]);
            let members = devices[members].iter();
            let members = members.flat_map(|device| ["--device", device.id()]);
            let members: Vec<&str> = members.collect();
            world.ok(&[&["group", "add", group], &members[..]].concat());
        }
        let start = ["rollout", "start", "tool@1", "--group", "office"];
        let waves = ["--pilot", "first", "--pilot", "second"];
        let times = ["--settle", "0", "--wait", "0", "--days", "mon-sun"];
        let limits = ["--halt-at", "1", "--tolerate", "0"];
        let line = [&start[..], &waves, &times, &limits].concat();
        let dry_run = world.ok(&[&line[..], &["--dry-run"]].concat());
        assert!(dry_run.stdout.contains("group second"), "{dry_run:#?}");
        world.ok(&line);
        Self {
            world,
            devices: devices.into(),
        }
    }

    fn show(&self) -> Value {
        self.world.json(&["rollout", "show", "tool@1"])
    }

    /// Moves the latest change of the gate two hours back.
    fn two_hours_later(&self) {
        let shown = self.show();
        let id = shown["rollout"].as_str().expect("a rollout has an id");
        let id: RolloutId = id.parse().expect("an id of a rollout");
        let runtime = Runtime::new().expect("a runtime can be started");
        runtime.block_on(async {
            let records = self.world.records().await;
            let gate = records.gate(id).await.expect("the gate can be read");
            let gate = gate.expect("the rollout has a gate");
            let changed = gate.changed.expect("a device has begun");
            let updates = [
                (GateNumber::Since, gate.since),
                (GateNumber::Changed, changed),
            ];
            let updates = updates.map(|(number, at)| GateUpdate::Set(number, at.0 - 7_200));
            let change = GateChange {
                conditions: Vec::new(),
                updates: updates.into(),
            };
            let changed = records.change_gate(id, &change).await;
            assert!(changed.expect("the gate can be written"));
        });
    }

    /// Lets the devices check in until the rollout has this status.
    fn until(&self, status: &str) -> Value {
        for _ in 0..ROUNDS * self.devices.len() {
            for device in &self.devices {
                device.run();
                let shown = self.show();
                if shown["status"] == status {
                    return shown;
                }
            }
        }
        panic!("the rollout is never {status}: {:#}", self.show());
    }
}

#[test]
fn a_rollout_goes_from_wave_to_wave_until_it_is_complete() {
    let rollout = ThreeWaves::start(|world| format!("echo $$ >> {}", world.path("runs")));
    let (world, devices) = (&rollout.world, &rollout.devices);
    // Only the device of the first wave gets the package.
    for device in devices.iter().rev() {
        device.run();
    }
    let runs = || fs::read_to_string(world.path("runs")).unwrap_or_default();
    assert_eq!(runs().lines().count(), 1);
    let shown = rollout.until("complete");
    assert_eq!(
        (&shown["healthy"], &shown["failed"]),
        (&4.into(), &0.into())
    );
    assert_eq!(
        runs().lines().count(),
        4,
        "each device runs the program once"
    );
    world.ok(&["rollout", "watch", "tool@1"]);
    let text = world.ok(&["rollout", "show", "tool@1"]).stdout;
    assert!(
        text.starts_with("complete: 4 of 4 devices are healthy"),
        "{text}"
    );

    world.ok(&["rollout", "finish", "tool@1"]);
    let rollouts: Vec<Value> = world.json(&["rollout", "list"]);
    assert_eq!(rollouts, [Value::Null; 0]);
    for device in devices {
        device.run();
    }
    assert_eq!(
        runs().lines().count(),
        4,
        "a plain assignment repeats nothing"
    );
}

#[test]
fn a_failure_halts_a_rollout_until_a_person_resumes_it() {
    let rollout = ThreeWaves::start(|world| {
        let (runs, broken) = (world.path("runs"), world.path("broken"));
        format!(
            "echo $$ >> {runs}; if [ -e {broken} ]; then echo unpacking; echo disk full; exit 7; fi"
        )
    });
    let world = &rollout.world;
    rollout.devices[0].run();
    let broken = world.file("broken", b"");
    let halted = rollout.until("halted");
    assert_eq!(halted["wave"], 2);
    assert_eq!(
        (&halted["healthy"], &halted["failed"]),
        (&1.into(), &1.into())
    );
    let failure = &halted["first_failures"][0];
    assert_eq!(failure["line"], "disk full");
    assert_eq!(failure["output_tail"], "unpacking\ndisk full\n");
    for device in &rollout.devices {
        device.run();
    }
    let runs = || fs::read_to_string(world.path("runs")).unwrap();
    assert_eq!(runs().lines().count(), 2, "no device begins after the halt");
    let watched = Ran::of(&mut world.command(&["rollout", "watch", "tool@1"]));
    assert_eq!(watched.code, Some(1), "{watched:#?}");
    assert!(
        watched.stdout.contains("\n  unpacking\n  disk full\n"),
        "{watched:#?}"
    );
    let mut watch = world.command(&["rollout", "watch", "tool@1"]);
    watch.env("TERM", "xterm").env("NO_COLOR", "1");
    let screen = OnTerminal::with_results(watch, 80).end().expect_code(1);
    // The first line has the reason; the table of waves and the output fit below.
    let (_, screen) = screen.stderr.split_once("\u{1b}[H").unwrap();
    let (first, rest) = screen.split_once("\r\n").unwrap();
    assert!(
        first.starts_with("tool@1: halted: 1 of 1 device failed, exit 7"),
        "{screen}"
    );
    assert!(rest.contains("  disk full\r\n"), "{screen}");
    for line in rest.lines().take_while(|line| !line.contains("error:")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let last = rollout.devices[3].id();
    let explained = world.ok(&["explain", last, "tool@1"]).stdout;
    assert!(
        explained.contains("Failures have halted the rollout of tool@1"),
        "{explained}"
    );
    let message = world.refused(3, &["rollout", "resume", "tool@1"]);
    assert!(message.contains("add --after-halt"), "{message}");

    fs::remove_file(broken).unwrap();
    world.ok(&["rollout", "resume", "tool@1", "--after-halt"]);
    let complete = rollout.until("complete");
    assert_eq!(
        (&complete["healthy"], &complete["failed"]),
        (&3.into(), &1.into())
    );
    assert_eq!(runs().lines().count(), 4);
}

#[test]
fn a_machine_that_is_not_heard_from_keeps_its_place_and_is_named() {
    let rollout = ThreeWaves::start(|world| {
        let (began, go) = (world.path("began"), world.path("go"));
        format!("echo $$ > {began}; until [ -e {go} ]; do sleep 0.01; done")
    });
    let (world, first) = (&rollout.world, &rollout.devices[0]);
    let mut agent = first.start();
    while !matches!(agent.next_event(), Event::Started { .. }) {}
    let began = world.path("began");
    let program = eventually("the program runs", || {
        let id = fs::read_to_string(&began).ok()?;
        id.ends_with('\n').then_some(id)
    });
    agent.kill();
    // The file ends the program, which nobody waits for any more.
    world.file("go", b"");
    for device in &rollout.devices[1..] {
        device.run();
    }
    assert_eq!(
        fs::read_to_string(&began).unwrap(),
        program,
        "no other device begins"
    );
    // The device may still report, so the rollout is not full.
    let shown = rollout.show();
    assert_eq!(
        (&shown["status"], &shown["begun"]),
        (&"running".into(), &1.into())
    );
    let text = world.ok(&["rollout", "show", "tool@1"]).stdout;
    let working = "running: 0 of 4 devices are healthy, and 1 works or settles";
    assert!(text.starts_with(working), "{text}");
    let resume = world.ok(&["rollout", "resume", "tool@1", "--dry-run"]);
    assert!(
        resume.stderr.contains("1 device works or settles"),
        "{resume:#?}"
    );

    rollout.two_hours_later();
    let shown = rollout.show();
    assert_eq!(shown["status"], "full");
    assert_eq!(shown["silent"][0]["device"], first.id());
    assert_eq!(shown["silent"][0]["waits_for"], "report");
    let text = world.ok(&["rollout", "show", "tool@1"]).stdout;
    assert!(text.starts_with("full: each place is taken"), "{text}");
    let late = Ran::of(&mut world.command(&["rollout", "watch", "tool@1", "--for", "0"]));
    assert_eq!(late.code, Some(75), "{late:#?}");
}

#[test]
fn a_wait_for_permissions_can_be_interrupted_after_the_change() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    world.ok(&["rollout", "start", "tool@1", "--all"]);
    let status = || {
        let listed: Vec<Value> = world.json(&["rollout", "list"]);
        let status = listed.first().map(|rollout| rollout["status"].clone());
        status.unwrap_or_default()
    };
    for (change, expected) in [("pause", "paused".into()), ("end", Value::Null)] {
        let mut command = world.command(&["rollout", change, "tool@1"]);
        let waiting = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut waiting = waiting.unwrap();
        let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
        let mut read_until = |text: &str| {
            let found = lines.find(|line| line.as_ref().unwrap().contains(text));
            assert!(found.is_some(), "{change} does not print {text:?}");
        };
        read_until("until the permissions of devices to begin have expired");
        let process = waiting.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.unwrap().success());
        read_until("the change is made");
        assert_eq!(waiting.wait().unwrap().code(), Some(75), "{change}");
        assert_eq!(status(), expected);
    }
    world.refused(3, &["rollout", "resume", "tool@1"]);
}

#[test]
fn a_person_is_asked_before_a_rollout_that_has_no_devices_yet() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "create", "first"]);
    let line = [
        "rollout", "start", "tool@1", "--group", "lab", "--pilot", "first",
    ];
    let mut asked = OnTerminal::start(world.command(&line));
    let shown = asked.expect("Starts a rollout of tool@1 to group lab: 0 devices. Continue?");
    for warning in [
        "group lab has no devices: only devices that join later get the package",
        "pilot group first gets no wave",
    ] {
        assert!(shown.contains(warning), "{shown}");
    }
    asked.press("n\r");
    let _ = asked.end().expect_code(1);
    let rollouts: Vec<Value> = world.json(&["rollout", "list"]);
    assert_eq!(rollouts, [Value::Null; 0]);
}

#[test]
fn a_success_counts_only_after_the_restart_that_it_asks_for() {
    let rollout = ThreeWaves::start(|world| format!("echo $$ >> {}; exit 10", world.path("runs")));
    let (world, first) = (&rollout.world, &rollout.devices[0]);
    let runs = || fs::read_to_string(world.path("runs")).unwrap_or_default();
    let Some(events) = first.run_in_boot("one") else {
        skip(Missing::Optional("mounting as a user"));
        return;
    };
    let asks = |event: &Event| matches!(event, Event::Finished { code, .. } if code.to_string() == "SUCCESS_REBOOT_REQUIRED");
    assert!(events.iter().any(asks), "{events:#?}");
    for _ in 0..ROUNDS {
        first.run_in_boot("one").unwrap();
        rollout.devices[1..]
            .iter()
            .for_each(|device| drop(device.run()));
    }
    let shown = rollout.show();
    assert_eq!(
        (&shown["wave"], &shown["begun"], &shown["healthy"]),
        (&1.into(), &1.into(), &0.into()),
        "{shown:#}"
    );
    assert_eq!(
        runs().lines().count(),
        1,
        "no device of the next wave begins"
    );

    // From now on, the first device is in another boot.
    first.run();
    let shown = rollout.show();
    assert_eq!(
        (&shown["status"], &shown["healthy"]),
        (&"running".into(), &1.into()),
        "{shown:#}"
    );
    for device in rollout.devices[1..].iter().cycle().take(ROUNDS) {
        device.run();
    }
    assert_eq!(
        runs().lines().count(),
        2,
        "one device of the next wave begins"
    );
    for boot in ["two", "three", "four", "five", "six", "seven"] {
        for device in &rollout.devices {
            device.run_in_boot(boot).unwrap();
        }
    }
    let shown = rollout.show();
    assert_eq!(
        (&shown["status"], &shown["healthy"]),
        (&"complete".into(), &4.into()),
        "{shown:#}"
    );
    assert_eq!(
        runs().lines().count(),
        4,
        "each device runs the program once"
    );
}
