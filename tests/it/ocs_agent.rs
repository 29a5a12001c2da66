//! What a stock OCS agent makes of us, as Debian has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use packcast_protocol::Outcome;
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};

use crate::enrolled_agent::{EnrolledAgent, PROMPT};

#[test]
fn a_first_contact_brings_an_inventory() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
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

    let second = story.contact();
    assert!(second.log.contains("<RESPONSE>STOP</RESPONSE>"));
}

#[test]
fn a_failed_launch_assigned_again_runs_again_and_a_finished_package_is_not_told_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let (gate, runs) = (story.world.path("gate"), story.world.path("runs"));
    let succeeds = story.launch("succeeds", "exit 0");
    let fails = story.launch(
        "fails",
        &format!("echo run >> {runs}; test -e {gate} || exit 3"),
    );
    let told = story.contact().told();
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
    let contact = story.contact();
    assert_eq!(
        contact.told(),
        BTreeMap::from([(fails, true), (new, false)])
    );
    story.expect(fails, 2, "SUCCESS_0", Outcome::Succeeded);
    story.expect(new, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn a_program_of_any_exit_code_is_over_and_the_package_says_which_are_good() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let fails = story.launch("fails", "exit 255");
    let good = ["--success-code", "3"];
    let succeeds = story.launch_with("good", "exit 3", &[&PROMPT[..], &good].concat());
    let succeeds = succeeds.id;
    story.contact();
    story.expect(fails, 1, "SUCCESS_255", Outcome::Failed);
    story.expect(succeeds, 1, "SUCCESS_3", Outcome::Succeeded);
    assert_eq!(story.contact().told(), BTreeMap::new());
}

#[test]
fn a_failed_command_is_over_until_it_is_assigned_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let gate = story.world.path("gate");
    let package = story.execute("gated", &format!("test -e {gate}"));
    story.contact();
    story.expect(package, 1, "ERR_EXECUTE", Outcome::Failed);
    assert_eq!(story.agent.history(), []);
    assert_eq!(story.contact().told(), BTreeMap::new());

    fs::write(&gate, "").unwrap();
    assert!(story.assign("gated").contains("attempt 2"));
    story.contact();
    story.expect(package, 2, "SUCCESS", Outcome::Succeeded);
    assert_eq!(story.agent.history(), [package]);
}

#[test]
fn a_package_is_deployed_again_when_it_is_forced() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let runs = story.world.path("runs");
    let package = story.execute("twice", &format!("echo run >> {runs}"));
    story.contact();
    assert!(story.assign("twice").contains("--force deploys again"));
    assert_eq!(story.contact().told(), BTreeMap::new());

    assert!(
        story
            .assign_with("twice", &["--force"])
            .contains("attempt 2")
    );
    let forced = story.contact();
    assert_eq!(forced.told(), BTreeMap::from([(package, true)]));
    story.expect(package, 2, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
    assert_eq!(story.contact().told(), BTreeMap::new());
}

#[test]
fn who_joins_a_group_late_gets_what_it_has() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    story.world.ok(&["group", "create", "lab"]);
    let package = story.command("tool", "true");
    story.world.ok(&["assign", "tool@1", "--group", "lab"]);
    assert_eq!(story.contact().told(), BTreeMap::new());

    story.join("lab");
    let contact = story.contact();
    assert_eq!(contact.told(), BTreeMap::from([(package, false)]));
    story.expect(package, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(story.contact().told(), BTreeMap::new());
}

/// What was begun is told until it is reported, or the agent asks nowhere for its fragments
/// until it times out.
#[test]
fn what_is_withdrawn_from_a_group_holds_up_nothing() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    story.world.ok(&["group", "create", "lab"]);
    story.join("lab");
    // However late the agent is killed, it is not through.
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
    assert_eq!(interrupted.kill().told().len(), 1);
    fs::write(&gate, "").unwrap();

    story.command("untold", "true");
    story.world.ok(&["assign", "untold@1", "--group", "lab"]);
    for package in ["begun@1", "untold@1"] {
        story.world.ok(&["unassign", package, "--group", "lab"]);
    }
    let next = story.command("next", "true");
    story.world.ok(&["assign", "next@1", "--group", "lab"]);

    let contact = story.contact();
    let told: Vec<_> = contact.told().into_keys().collect();
    assert_eq!(told, [begun, next]);
    assert_eq!(contact.complaints(), [""; 0]);
    story.expect(next, 1, "SUCCESS", Outcome::Succeeded);
    story.expect(begun, 1, "SUCCESS_0", Outcome::Succeeded);
    let standing = story.world.standing_of(story.agent.id());
    assert_eq!((standing.open.len(), standing.finished.len()), (0, 2));
}

/// Another address makes the agent another device, as when the path token is rotated.
#[test]
fn what_an_inventory_lists_is_not_told_to_a_device_that_moved() {
    let Some(mut story) = EnrolledAgent::begin() else {
        return;
    };
    let runs = story.world.path("runs");
    let had = story.execute("had", &format!("echo run >> {runs}"));
    story.contact();
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
    let contact = story.contact();
    assert_eq!(contact.told(), BTreeMap::from([(new, false)]));
    story.expect(new, 1, "SUCCESS", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
}

#[test]
fn each_action_is_carried_out_and_nobody_minds_our_manifest() {
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

    let contact = story.contact();
    assert_eq!(contact.complaints(), [""; 0]);
    story.expect(stores.id, 1, "SUCCESS", Outcome::Succeeded);
    story.expect(launches, 1, "SUCCESS_0", Outcome::Succeeded);
    for package in [unpacks, executes] {
        story.expect(package, 1, "SUCCESS", Outcome::Succeeded);
    }
    let file = fs::read(format!("{folder}/noise")).unwrap();
    assert!(file == content, "the file is another");
    let done = fs::read_to_string(&marker).unwrap();
    let done: BTreeSet<_> = done.lines().collect();
    assert_eq!(done, ["executed", "launched", "unpacked"].into());
    // The edge speaks nothing but HTTPS.
    for number in 1..=3 {
        let fragment = format!("/{0}/{0}-{number}", stores.id);
        let mut requests = story.world.requests().into_iter();
        assert!(requests.any(|request| request.path.ends_with(&fragment)));
    }
}

#[test]
fn a_package_of_one_fragment_is_deployed_at_the_usual_priority() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let package = story.launch_with("usual", "exit 0", &["--activate"]).id;
    story.contact();
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
    story.contact();
    assert_eq!(fs::read_to_string(&order).unwrap(), "0\n5\n10\n");
    let finished = story.world.standing_of(story.agent.id()).finished;
    let outcomes: Vec<_> = finished.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded; 3]);
}
