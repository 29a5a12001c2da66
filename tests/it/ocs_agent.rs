//! The OCS agent of Debian with our function and our packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use packcast_protocol::Outcome;
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};

use crate::enrolled_agent::{EnrolledAgent, PROMPT};

#[test]
fn the_first_check_in_brings_an_inventory() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    assert!(story.first.log.contains("<RESPONSE>SEND</RESPONSE>"));
    assert_eq!(story.first.announced(), BTreeMap::new());
    assert_eq!(story.first.complaints(), [""; 0]);

    let device = story.world.device_state_of(story.agent.id()).device;
    let host = format!("ocs:{}-", device.host_name);
    assert!(story.agent.id().starts_with(&host), "{device:?}");
    assert!(device.agent.starts_with("OCS-NG_unified_unix_agent_v"));
    // Only the inventory names the system.
    assert_ne!(device.os, "");
    assert!(device.inventory_received.is_some());

    let second = story.check_in();
    assert!(second.log.contains("<RESPONSE>STOP</RESPONSE>"));
}

#[test]
fn a_failed_launch_runs_again_when_assigned_again_and_finished_packages_are_not_announced() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let (gate, runs) = (story.world.path("gate"), story.world.path("runs"));
    let succeeds = story.launch("succeeds", "exit 0");
    let fails = story.launch(
        "fails",
        &format!("echo run >> {runs}; test -e {gate} || exit 3"),
    );
    let announced = story.check_in().announced();
    assert_eq!(
        announced,
        BTreeMap::from([(succeeds, false), (fails, false)])
    );
    story.expect(succeeds, 1, "SUCCESS_0", Outcome::Succeeded);
    story.expect(fails, 1, "SUCCESS_3", Outcome::Failed);
    let shown = story.world.ok(&["device", "show", story.agent.id()]).stdout;
    assert!(shown.contains("succeeded: ran, exit code 0"), "{shown}");
    assert!(shown.contains("failed: ran, exit code 3"), "{shown}");
    // An OCS agent counts every launched package as deployed.
    assert!(story.agent.history().contains(&fails));

    fs::write(&gate, "").unwrap();
    assert!(story.assign("fails").contains("attempt 2"));
    let new = story.execute("new", "true");
    let check_in = story.check_in();
    assert_eq!(
        check_in.announced(),
        BTreeMap::from([(fails, true), (new, false)])
    );
    story.expect(fails, 2, "SUCCESS_0", Outcome::Succeeded);
    story.expect(new, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn each_exit_code_ends_the_package_and_success_codes_are_successes() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let fails = story.launch("fails", "exit 255");
    let good = ["--success-code", "3"];
    let succeeds = story.launch_with("good", "exit 3", &[&PROMPT[..], &good].concat());
    let succeeds = succeeds.id;
    story.check_in();
    story.expect(fails, 1, "SUCCESS_255", Outcome::Failed);
    story.expect(succeeds, 1, "SUCCESS_3", Outcome::Succeeded);
    assert_eq!(story.check_in().announced(), BTreeMap::new());
}

#[test]
fn a_failed_command_is_not_retried_until_it_is_assigned_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let gate = story.world.path("gate");
    let package = story.execute("gated", &format!("test -e {gate}"));
    story.check_in();
    story.expect(package, 1, "ERR_EXECUTE", Outcome::Failed);
    assert_eq!(story.agent.history(), []);
    assert_eq!(story.check_in().announced(), BTreeMap::new());

    fs::write(&gate, "").unwrap();
    assert!(story.assign("gated").contains("attempt 2"));
    story.check_in();
    story.expect(package, 2, "SUCCESS", Outcome::Succeeded);
    assert_eq!(story.agent.history(), [package]);
}

#[test]
fn a_forced_package_is_deployed_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let runs = story.world.path("runs");
    let package = story.execute("twice", &format!("echo run >> {runs}"));
    story.check_in();
    assert!(story.assign("twice").contains("--force deploys again"));
    assert_eq!(story.check_in().announced(), BTreeMap::new());

    assert!(
        story
            .assign_with("twice", &["--force"])
            .contains("attempt 2")
    );
    let forced = story.check_in();
    assert_eq!(forced.announced(), BTreeMap::from([(package, true)]));
    story.expect(package, 2, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
    assert_eq!(story.check_in().announced(), BTreeMap::new());
}

#[test]
fn a_device_that_joins_a_group_gets_its_packages() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    story.world.ok(&["group", "create", "lab"]);
    let package = story.command("tool", "true");
    story.world.ok(&["assign", "tool@1", "--group", "lab"]);
    assert_eq!(story.check_in().announced(), BTreeMap::new());

    story.join("lab");
    let check_in = story.check_in();
    assert_eq!(check_in.announced(), BTreeMap::from([(package, false)]));
    story.expect(package, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(story.check_in().announced(), BTreeMap::new());
}

/// A package that the agent has begun is announced until it is reported. Otherwise the agent would
/// find no location for its fragments until it times out.
#[test]
fn packages_withdrawn_from_a_group_do_not_delay_others() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    story.world.ok(&["group", "create", "lab"]);
    story.join("lab");
    // The program waits for a file, so that the agent is killed before the program ends.
    let gate = story.world.path("gate");
    let begun = {
        let script = format!("until test -e {gate}; do sleep 0.1; done");
        let source = story.script("begun", &script);
        let action = ["--action", "launch", "--command", "run.sh", &source];
        let arguments = [&action[..], &PROMPT].concat();
        story.world.publish("begun", &arguments).package.id
    };
    story.world.ok(&["assign", "begun@1", "--group", "lab"]);
    let interrupted = story.agent.begin();
    interrupted.until("Beginning work");
    assert_eq!(interrupted.kill().announced().len(), 1);
    fs::write(&gate, "").unwrap();

    story.command("unannounced", "true");
    story
        .world
        .ok(&["assign", "unannounced@1", "--group", "lab"]);
    for package in ["begun@1", "unannounced@1"] {
        story.world.ok(&["unassign", package, "--group", "lab"]);
    }
    let next = story.command("next", "true");
    story.world.ok(&["assign", "next@1", "--group", "lab"]);

    let check_in = story.check_in();
    let announced: Vec<_> = check_in.announced().into_keys().collect();
    assert_eq!(announced, [begun, next]);
    assert_eq!(check_in.complaints(), [""; 0]);
    story.expect(next, 1, "SUCCESS", Outcome::Succeeded);
    story.expect(begun, 1, "SUCCESS_0", Outcome::Succeeded);
    let device_state = story.world.device_state_of(story.agent.id());
    assert_eq!(
        (device_state.open.len(), device_state.finished.len()),
        (0, 2)
    );
}

/// Another server address makes the agent another device, as does a rotated path token.
#[test]
fn a_package_in_the_inventory_is_not_announced_to_a_device_that_moved() {
    let Some(mut story) = EnrolledAgent::begin() else {
        return;
    };
    let runs = story.world.path("runs");
    let had = story.execute("had", &format!("echo run >> {runs}"));
    story.check_in();
    let left = story.agent.id().to_owned();
    let (moved, first) = story.agent.move_to("localhost");
    story.agent = moved;
    assert_ne!(story.agent.id(), left);
    let listed = format!("<PACKAGE ID=\"{had}\" />");
    assert!(first.log.contains(&listed), "{}", first.log);
    assert!(story.assign("had").contains("in its package history"));

    let new = story.command("new", "true");
    for package in ["had@1", "new@1"] {
        story.world.ok(&["assign", package, "--all"]);
    }
    let check_in = story.check_in();
    assert_eq!(check_in.announced(), BTreeMap::from([(new, false)]));
    story.expect(new, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
}

#[test]
fn each_action_is_carried_out_without_complaints() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
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
    assert!(info.contains("PROTO=\"HTTPS\""), "{info}");
    story.assign("stores");
    let launches = story.launch("launches", &format!("echo launched >> {marker}"));
    let source = story.script("unpacks", &format!("echo unpacked >> {marker}"));
    let action = ["--action", "execute", "--command", "sh run.sh", &source];
    let unpacks = story
        .assigned("unpacks", &[&action[..], &PROMPT].concat())
        .id;
    let executes = story.execute("executes", &format!("echo executed >> {marker}"));

    let check_in = story.check_in();
    assert_eq!(check_in.complaints(), [""; 0]);
    story.expect(stores.id, 1, "SUCCESS", Outcome::Succeeded);
    story.expect(launches, 1, "SUCCESS_0", Outcome::Succeeded);
    for package in [unpacks, executes] {
        story.expect(package, 1, "SUCCESS", Outcome::Succeeded);
    }
    let file = fs::read(format!("{folder}/noise")).unwrap();
    assert!(file == content, "the stored file differs");
    let done = fs::read_to_string(&marker).unwrap();
    let done: BTreeSet<_> = done.lines().collect();
    assert_eq!(done, ["executed", "launched", "unpacked"].into());
    // The edge serves HTTPS only.
    for number in 1..=3 {
        let fragment = format!("/{0}/{0}-{number}", stores.id);
        let mut requests = story.world.requests().into_iter();
        assert!(requests.any(|request| request.path.ends_with(&fragment)));
    }
}

#[test]
fn a_package_of_one_fragment_is_deployed_at_the_default_priority() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let package = story.launch_with("usual", "exit 0", &["--activate"]).id;
    story.check_in();
    story.expect(package, 1, "SUCCESS_0", Outcome::Succeeded);
}

#[test]
fn packages_run_in_order_of_priority_not_of_assignment() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let order = story.world.path("order");
    for priority in ["10", "5", "0"] {
        let command = format!("echo {priority} >> {order}");
        let action = ["--action", "execute", "--command", &command, "--activate"];
        let name = format!("p{priority}");
        story.assigned(&name, &[&action[..], &["--priority", priority]].concat());
    }
    story.check_in();
    assert_eq!(fs::read_to_string(&order).unwrap(), "0\n5\n10\n");
    let finished = story.world.device_state_of(story.agent.id()).finished;
    let outcomes: Vec<_> = finished.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded; 3]);
}
