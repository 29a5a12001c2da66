//! What a stock OCS agent makes of us, as Debian has it.

use std::collections::BTreeMap;
use std::fs;

use packcast_protocol::{Outcome, PackageId};
use packcast_rollout::FinishedTask;
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::stock::{Contact, StockAgent, installed};
use packcast_tests::world::World;

use crate::PROGRAM;

/// A priority at which a stock agent serves a package in every cycle, so that stories are short.
const PROMPT: [&str; 3] = ["--priority", "1", "--activate"];

/// A world with an agent that has had its first contact.
struct Story {
    world: World,
    agent: StockAgent,
    first: Contact,
}

impl Story {
    /// Returns nothing where the agent is not installed.
    fn begin() -> Option<Self> {
        let program = installed()?;
        let world = World::start(PROGRAM);
        let (agent, first) = StockAgent::enrol(&program, &world);
        Some(Self {
            world,
            agent,
            first,
        })
    }

    /// Publishes a package `name@1` that launches a script, and assigns it.
    fn launch(&self, name: &str, script: &str) -> PackageId {
        let script = format!("#!/bin/sh\n{script}\n");
        let archive = tar_gz(&[("run.sh", script.as_bytes())]);
        let source = self.world.file(&format!("{name}.tar.gz"), &archive);
        let action = ["--action", "launch", "--command", "run.sh", &source];
        self.assigned(name, &[&action[..], &PROMPT].concat())
    }

    /// Publishes a package `name@1` that runs a shell command, and assigns it.
    fn execute(&self, name: &str, command: &str) -> PackageId {
        let action = ["--action", "execute", "--command", command];
        self.assigned(name, &[&action[..], &PROMPT].concat())
    }

    fn assigned(&self, name: &str, arguments: &[&str]) -> PackageId {
        let package = self.world.publish(name, arguments).package.id;
        self.assign(name);
        package
    }

    fn assign(&self, name: &str) -> String {
        let package = format!("{name}@1");
        let assign = ["assign", &package, "--device", self.agent.id()];
        self.world.ok(&assign).stdout
    }

    fn result(&self, package: PackageId) -> FinishedTask {
        let finished = self.world.standing_of(self.agent.id()).finished;
        let result = finished.into_iter().find(|task| task.package == package);
        result.expect("the device has finished the package")
    }

    fn expect(&self, package: PackageId, attempt: u32, code: &str, outcome: Outcome) {
        let result = self.result(package);
        assert_eq!(result.code.to_string(), code);
        assert_eq!((result.attempt, result.outcome), (attempt, outcome));
    }
}

#[test]
fn a_first_contact_brings_an_inventory() {
    let Some(story) = Story::begin() else { return };
    assert!(story.first.log.contains("<RESPONSE>SEND</RESPONSE>"));
    assert_eq!(story.first.told(), BTreeMap::new());
    assert_eq!(story.first.complaints(), [""; 0]);

    let device = story.world.standing_of(story.agent.id()).device;
    let host = format!("ocs:{}-", device.host_name);
    assert!(story.agent.id().starts_with(&host), "{device:?}");
    assert!(device.agent.starts_with("OCS-NG_unified_unix_agent_v"));
    // Only the inventory names the system.
    assert_ne!(device.os, "");
    assert!(device.inventory_received.is_some());

    let second = story.agent.contact();
    assert!(second.log.contains("<RESPONSE>STOP</RESPONSE>"));
}

#[test]
fn a_failed_launch_assigned_again_runs_again_and_a_finished_package_is_not_told_again() {
    let Some(story) = Story::begin() else { return };
    let (gate, runs) = (story.world.path("gate"), story.world.path("runs"));
    let succeeds = story.launch("succeeds", "exit 0");
    let fails = story.launch(
        "fails",
        &format!("echo run >> {runs}; test -e {gate} || exit 3"),
    );
    let told = story.agent.contact().told();
    assert_eq!(told, BTreeMap::from([(succeeds, false), (fails, false)]));
    story.expect(succeeds, 1, "SUCCESS_0", Outcome::Succeeded);
    story.expect(fails, 1, "SUCCESS_3", Outcome::Failed);
    let shown = story.world.ok(&["device", story.agent.id()]).stdout;
    assert!(shown.contains("succeeded: ran, exit code 0"), "{shown}");
    assert!(shown.contains("failed: ran, exit code 3"), "{shown}");
    // A stock agent takes whatever it launched for deployed.
    assert!(story.agent.history().contains(&fails));

    fs::write(&gate, "").unwrap();
    assert!(story.assign("fails").contains("attempt 2"));
    let new = story.execute("new", "true");
    let contact = story.agent.contact();
    assert_eq!(
        contact.told(),
        BTreeMap::from([(fails, true), (new, false)])
    );
    story.expect(fails, 2, "SUCCESS_0", Outcome::Succeeded);
    story.expect(new, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn fragments_are_stored_and_a_command_runs_and_nobody_minds_our_manifest() {
    let Some(story) = Story::begin() else { return };
    let (folder, marker) = (story.world.path("stored/here"), story.world.path("marker"));
    let content = noise(6, 5 << 19);
    let archive = tar_gz(&[("noise", &content)]);
    let source = story.world.file("stores.tar.gz", &archive);
    let action = ["--action", "store", "--path", &folder];
    let rest = ["--fragment-size", "1MiB", &source];
    let arguments = [&action[..], &rest, &PROMPT].concat();
    let stores = story.world.publish("stores", &arguments).package;
    assert_eq!(stores.published().unwrap().fragments, 3);
    let info = ObjectKey::info(&stores.folder, &stores.locations[0], stores.id);
    let info = fs::read_to_string(story.world.object(&info)).unwrap();
    assert!(info.contains("PACKCAST_MANIFEST="), "{info}");
    story.assign("stores");
    let executes = story.execute("executes", &format!("touch {marker}"));

    let contact = story.agent.contact();
    assert_eq!(contact.complaints(), [""; 0]);
    story.expect(stores.id, 1, "SUCCESS", Outcome::Succeeded);
    story.expect(executes, 1, "SUCCESS", Outcome::Succeeded);
    let file = fs::read(format!("{folder}/noise")).unwrap();
    assert!(file == content, "the file is another");
    assert!(fs::exists(&marker).unwrap());
}

#[test]
fn packages_run_in_order_of_priority_not_of_assignment() {
    let Some(story) = Story::begin() else { return };
    let order = story.world.path("order");
    for priority in ["10", "5", "0"] {
        let command = format!("echo {priority} >> {order}");
        let action = ["--action", "execute", "--command", &command, "--activate"];
        let name = format!("p{priority}");
        story.assigned(&name, &[&action[..], &["--priority", priority]].concat());
    }
    story.agent.contact();
    assert_eq!(fs::read_to_string(&order).unwrap(), "0\n5\n10\n");
    let finished = story.world.standing_of(story.agent.id()).finished;
    let outcomes: Vec<_> = finished.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded; 3]);
}
