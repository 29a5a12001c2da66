//! `packcast explain` in each situation of a device and a package.

use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::records::Reserved;
use packcast_store::{Records, RecordsConfig};
use packcast_testing::raw::RawEngine;
use packcast_testing::table::{location, mia, published, reservation};
use packcast_tests::ocs::OcsDevice;
use packcast_tests::process::text;
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde_json::{Value, json};

use crate::PROGRAM;

/// A device with an OCS agent in a group.
struct GroupedDevice {
    world: World,
    device: OcsDevice,
}

impl GroupedDevice {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let device = OcsDevice::new(&world, "web01");
        device.check_in();
        device.inventory(&[]);
        world.ok(&["group", "create", "lab"]);
        world.ok(&["group", "add", "lab", "--device", "web01"]);
        Self { world, device }
    }

    fn package(&self, name: &str) -> PackageId {
        self.world.execute(name, "true")
    }

    /// Publishes a package and assigns it to the device.
    fn assigned(&self, name: &str) -> PackageId {
        let id = self.package(name);
        self.assign(name, &["--device", "web01"]);
        id
    }

    /// Publishes and assigns a package, and announces it to the device.
    fn announced(&self, name: &str) -> PackageId {
        let id = self.assigned(name);
        self.device.check_in();
        id
    }

    fn assign(&self, name: &str, to: &[&str]) {
        let package = format!("{name}@1");
        self.world.ok(&[&["assign", &package][..], to].concat());
    }

    /// Writes a task into the table, for a package that has no manifest, so that no command can assign
    /// it.
    fn write_task(&self, package: &PackageRecord) {
        let (state, id) = (self.world.state(), package.id);
        Tree::of(&self.world).ask(async |records| {
            let device = records.devices_named("web01").await.unwrap()[0].clone();
            let item = json!({
                "pk": { "S": format!("DEVICE#{device}") },
                "sk": { "S": format!("1#TASK#05#{id}") },
                "package": { "S": id.to_string() },
                "priority": { "N": "5" },
                "attempt": { "N": "1" },
                "state": { "M": { "state": { "S": "held" } } },
                "force": { "BOOL": false },
                "direct": { "BOOL": true },
                "assigned_at": { "N": "1700000000" },
            });
            let question = json!({ "TableName": state.table, "Item": item });
            let engine = RawEngine::at(&state.endpoint);
            engine.ask("PutItem", &question).await;
        });
    }

    fn unassign(&self, name: &str, from: &[&str]) {
        let package = format!("{name}@1");
        self.world.ok(&[&["unassign", &package][..], from].concat());
    }

    /// Expects this reason, with a sentence and a next step.
    fn expect(&self, name: &str, reason: &str) -> Value {
        explained(&self.world, "web01", &format!("{name}@1"), reason)
    }
}

fn explained(world: &World, device: &str, package: &str, reason: &str) -> Value {
    let explained: Value = world.json(&["explain", device, package]);
    assert_eq!(explained["reason"], reason, "{explained:#}");
    for words in ["says", "next"] {
        let words = explained[words].as_str().unwrap();
        assert!(!words.is_empty(), "{explained:#}");
    }
    let says = explained["says"].as_str().unwrap();
    let name = package.split('@').next().unwrap();
    assert!(says.contains(name), "{says}");
    explained
}

/// Writes a package that no single command can create: a draft, or a package that expires.
fn written(world: &World, name: &str, expires: Option<UnixTime>) -> PackageRecord {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let records = Records::connect(RecordsConfig {
            table: world.state().table.clone(),
            region: None,
            endpoint: Some(world.state().endpoint.clone()),
            http_client: None,
        })
        .await;
        let mut reservation = reservation(name, 5);
        reservation.version = "1".parse().unwrap();
        let now = UnixTime(1_700_000_000);
        let Reserved::New(package) = records.reserve(&reservation, now).await.unwrap() else {
            panic!("the name is free");
        };
        if let Some(expires) = expires {
            let mut published = published(package.id);
            published.expires = Some(expires);
            records
                .publish(package.id, &published, &mia())
                .await
                .unwrap();
            records
                .activate(package.id, &[location()], &mia())
                .await
                .unwrap();
        }
        package
    })
}

#[test]
fn each_state_of_an_assignment_is_explained() {
    let story = GroupedDevice::begin();
    story.package("unwanted");
    story.expect("unwanted", "not-assigned");

    story.package("news");
    story.assign("news", &["--group", "lab"]);
    let to_come = story.expect("news", "to-come");
    assert_eq!(to_come["group"], "lab");
    assert_eq!(to_come["task"], Value::Null);
    story.device.check_in();
    story.expect("news", "announced");
    story.unassign("news", &["--group", "lab"]);
    let unassigned = story.expect("news", "unassigned");
    assert!(unassigned["announced_at"].is_u64(), "{unassigned:#}");
    story.device.check_in();
    story.expect("news", "withdrawn");

    let retried = story.assigned("retried");
    story.expect("retried", "waiting");
    story.device.check_in();
    story.device.report(retried, "ERR_BUILD");
    let failed = story.expect("retried", "failed");
    assert_eq!(failed["result"]["code"], "ERR_BUILD");
    assert!(failed["says"].as_str().unwrap().contains("ERR_BUILD"));
    story.assign("retried", &["--device", "web01"]);
    assert_eq!(story.expect("retried", "waiting")["attempt"], 2);
    story.device.check_in();
    story.device.report(retried, "SUCCESS");
    assert_eq!(story.expect("retried", "succeeded")["attempt"], 2);
}

#[test]
fn each_state_of_a_package_is_explained() {
    let story = GroupedDevice::begin();
    story.assigned("inactive");
    story.world.ok(&["deactivate", "inactive@1"]);
    story.expect("inactive", "not-active");

    written(&story.world, "draft", None);
    let assign = ["assign", "draft@1", "--device", "web01"];
    let refused = story.world.refused(3, &assign);
    assert!(refused.contains("not published yet"), "{refused}");
    story.expect("draft", "draft");
    let expired = written(&story.world, "expired", Some(UnixTime(1_700_000_000)));
    story.write_task(&expired);
    story.expect("expired", "expired");

    story.package("gone");
    story.world.ok(&["delete", "gone@1"]);
    story.expect("gone", "deleted");

    let strict = format!(
        "[target.strict]\ntable = {:?}\nendpoint = {:?}\ndirectory = {:?}\nstrict = true\n",
        story.world.state().table,
        story.world.state().endpoint,
        text(&story.world.state().objects_dir),
    );
    let config = story.world.file("packcast.toml", strict.as_bytes());
    let execute = ["--action", "execute", "--command", "true", "--activate"];
    let urgent = story
        .world
        .publish("urgent", &[&execute[..], &["--priority", "0"]].concat());
    story.assign("urgent", &["--device", "web01"]);
    story.assigned("patient");
    let waiting = story.expect("patient", "waiting");
    let text = story.world.ok(&["explain", "web01", "patient@1"]).stdout;
    assert!(text.contains("urgent@1 (priority 0)"), "{text}");
    let urgent = urgent.package.id.to_string();
    assert_eq!(waiting["ahead"][0], urgent.as_str());
    let strict: Value = story.world.json(&[
        "explain",
        "web01",
        "patient@1",
        "--config",
        &config,
        "--target",
        "strict",
    ]);
    assert_eq!(strict["reason"], "behind-priority", "{strict:#}");
    assert_eq!(strict["behind"], urgent.as_str());
    assert!(strict["says"].as_str().unwrap().contains("urgent@1"));
}

#[test]
fn a_package_for_other_devices_is_explained() {
    let story = GroupedDevice::begin();
    let [intended, other] = ["intended", "other"].map(|name| story.world.device(name));
    let agent = |device: &TestDevice| device.id().trim_start_matches("key:").to_owned();
    let execute = ["--action", "execute", "--command", "true", "--activate"];
    let only_for = ["--only-for", &agent(&intended)];
    story
        .world
        .publish("exclusive", &[&execute[..], &only_for].concat());
    story.expect("exclusive", "ocs-agent");
    let explain = |device: &str, reason| explained(&story.world, device, "exclusive@1", reason);
    explain(other.id(), "not-in-audience");
    explain(intended.id(), "not-assigned");
    explain("ocs:stranger-2026-03-04-05-06-07", "never-seen");
    let unknown = story.world.refused(1, &["explain", "web01", "none@1"]);
    assert!(unknown.contains("cannot find package none@1"), "{unknown}");
}

#[test]
fn a_package_in_the_history_is_explained() {
    let story = GroupedDevice::begin();
    let had = story.package("had");
    story.device.inventory(&[had]);
    story.expect("had", "in-history");
    // The device is reconciled while it has the package, and loses the package afterwards.
    story.assign("had", &["--group", "lab"]);
    story.expect("had", "in-history");
    story.device.check_in();
    story.device.inventory(&[]);
    assert_eq!(story.expect("had", "passed-over")["group"], "lab");
}

#[test]
fn a_task_cancelled_by_a_packcast_agent_is_explained() {
    let story = GroupedDevice::begin();
    let device = story.world.device("pc");
    let site = story.world.execute_at_site("slow", "true");
    story.assign("slow", &["--device", device.id()]);
    // The device is told of the package, and cannot fetch it.
    site.cut();
    device.run();
    let explain = |reason| explained(&story.world, device.id(), "slow@1", reason);
    explain("announced");
    story.unassign("slow", &["--device", device.id()]);
    let withdrawn = explain("withdrawn");
    let says = withdrawn["says"].as_str().unwrap();
    assert!(
        says.contains("cancels the package at its next check-in"),
        "{says}"
    );
    device.run();
    let cancelled = explain("cancelled");
    assert_eq!(cancelled["result"]["code"], "CANCELLED");
}

#[test]
fn a_package_with_which_a_packcast_agent_does_not_begin_is_explained() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let execute = ["--action", "execute", "--command", "true", "--activate"];
    // The device begins with the later version, because of its priority.
    for (version, priority) in [("1", "5"), ("2", "4")] {
        let publish = ["publish", "--name", "tool", "--version", version];
        let publish = [&publish[..], &["--priority", priority], &execute].concat();
        world.ok(&publish);
        world.assign(&format!("tool@{version}"), &device);
    }
    // The first run receives the packages, the second one reports the reason.
    device.run();
    explained(&world, device.id(), "tool@1", "announced");
    device.run();
    let waits = explained(&world, device.id(), "tool@1", "waits");
    assert_eq!(waits["wait"], "downgrade");
    let shown: Value = world.json(&["device", "show", device.id()]);
    assert_eq!(shown["waits"][0]["reason"], "downgrade");
    assert!(
        shown["device"]["machine"]["platform"].is_string(),
        "{shown:#}"
    );
    let status: Value = world.json(&["status", "tool@1", "--devices"]);
    assert_eq!(status[0]["waits"]["reason"], "downgrade");
    let allowed = [
        "assign",
        "tool@1",
        "--device",
        device.id(),
        "--allow-downgrade",
    ];
    world.ok(&allowed);
    device.run();
    explained(&world, device.id(), "tool@1", "succeeded");
}

#[test]
fn an_explanation_is_a_sentence_the_facts_and_the_next_step() {
    let story = GroupedDevice::begin();
    let id = story.announced("tool");
    let text = story.world.ok(&["explain", "web01", "tool@1"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("tool@1 was announced to web01 2"),
        "{text}"
    );
    assert!(
        lines[0].ends_with(", and the device has not reported since."),
        "{text}"
    );
    let fact = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {text}"))[name.len()..].trim()
    };
    assert_eq!(fact("device"), format!("{} web01", story.device.id()));
    assert_eq!(fact("package"), format!("{id} tool@1, active"));
    assert_eq!(fact("assigned to"), "the device itself");
    assert!(fact("task").starts_with("attempt 1, priority 5, announced 2"));
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with("next: wait for the report of the device")
    );
}
