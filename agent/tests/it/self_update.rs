//! Updates of the agent: trials, ways back, and the service of an updated agent.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;

use packcast_agent::event::Event;
use packcast_protocol::api::{BeginReply, HoldWord, Report};
use packcast_protocol::{Action, PackageId};
use rustix::process::{Pid, Signal, kill_process};

use crate::archives::Tar;
use crate::lab::{Lab, Package};
use crate::packages::{execute, package};
use crate::service::Service;

/// Newer than any agent under test.
const NEWER: &str = "999.0.0";

/// A build of the agent that notes each start, and then is the agent under test.
fn working(lab: &Lab) -> String {
    let starts = lab.file("starts").display().to_string();
    let agent = env!("CARGO_BIN_EXE_packcast-agent");
    format!("#!/bin/sh\necho $$ >> '{starts}'\nexec '{agent}' \"$@\"\n")
}

/// A build of the agent that notes each start, and ends.
fn broken(lab: &Lab) -> String {
    let starts = lab.file("starts").display().to_string();
    format!("#!/bin/sh\necho $$ >> '{starts}'\nexit 1\n")
}

/// Assigns an update with this program for this platform. The program states the right version.
fn update(lab: &Lab, id: u32, program: &str) -> PackageId {
    let stated = format!("[ \"$1\" = --version ] && echo packcast-agent 999.0.{id} && exit\n");
    update_as_it_is(
        lab,
        id,
        &program.replace("#!/bin/sh\n", &format!("#!/bin/sh\n{stated}")),
    )
}

/// Assigns an update with this program, unchanged.
fn update_as_it_is(lab: &Lab, id: u32, program: &str) -> PackageId {
    let path = format!(
        "{}-{}/packcast-agent",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let package = Package {
        id,
        archive: Some(Tar::new().program(&path, program).gz()),
        change: |manifest| {
            manifest.name = "packcast-agent".parse().unwrap();
            // Each update is newer than the one before.
            let version = format!("999.0.{}", manifest.id.get() % 100);
            manifest.version = version.parse().unwrap();
        },
    };
    lab.assign(Action::Update { archive: () }, package)
}

fn starts(lab: &Lab) -> Vec<String> {
    let starts = fs::read_to_string(lab.file("starts")).unwrap_or_default();
    starts.lines().map(ToOwned::to_owned).collect()
}

fn memory(lab: &Lab) -> String {
    fs::read_to_string(lab.state().join("versions/memory")).unwrap_or_default()
}

/// Returns the stored programs.
fn programs(lab: &Lab) -> Vec<PathBuf> {
    let entries = fs::read_dir(lab.state().join("versions")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_program = |path: &PathBuf| path.file_name().unwrap().len() == 64;
    paths.filter(is_program).collect()
}

/// Runs the agent until the update has gone back, and returns the result.
///
/// A version on trial has one start in each run, and the third one is the last.
/// The result goes with a check-in. The lab's function announces the task once more, and gets the
/// result again.
fn failure(lab: &Lab) -> Report {
    for _ in 0..2 {
        assert_eq!(lab.run().code, 1);
    }
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let reports = std::mem::take(&mut lab.world().reports);
    let code = &reports[0].code;
    assert!(
        reports.iter().all(|report| report.code == *code),
        "{reports:?}"
    );
    let report = reports.into_iter().next().unwrap();
    assert_eq!(report.code.to_string(), "ERR_EXECUTE");
    report
}

#[test]
fn a_new_version_is_a_success_after_it_has_checked_in() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    let report = lab.result();
    assert_eq!(report.code.to_string(), "SUCCESS");
    assert_eq!(starts(&lab).len(), 1);
    assert!(memory(&lab).contains("\"trial\""), "{}", memory(&lab));
    // The next start knows that the version has proved itself.
    lab.world().tasks.clear();
    for runs in 2..4 {
        assert_eq!(lab.run().code, 0);
        assert_eq!(starts(&lab).len(), runs);
        let memory = memory(&lab);
        assert!(
            memory.contains("\"kept\":{\"version\":\"999.0.1\""),
            "{memory}"
        );
    }
    assert_eq!(lab.world().reports.len(), 0);
}

#[test]
fn a_version_that_ends_goes_back_and_is_a_failure() {
    let lab = Lab::new();
    update(&lab, 1, &broken(&lab));
    let report = failure(&lab);
    let tail = report.output_tail.as_ref().unwrap().as_str();
    assert_eq!(report.detail.as_ref().unwrap().as_str(), tail);
    insta::assert_snapshot!(tail, @"went back from version 999.0.1 of the agent: the program ended 3 times before its first round was complete");
    assert_eq!(starts(&lab).len(), 3);
    lab.world().tasks.clear();
    assert_eq!(lab.run().code, 0);
    assert_eq!(starts(&lab).len(), 3, "the installed version runs");
    assert_eq!(programs(&lab), Vec::<PathBuf>::new());
}

#[test]
fn a_program_of_another_version_is_not_tried() {
    let lab = Lab::new();
    // The agent under test states its own version.
    update_as_it_is(&lab, 1, &working(&lab));
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(lab.run().code, 0);
    let report = lab.world().reports.remove(0);
    assert_eq!(report.code.to_string(), "ERR_EXECUTE");
    let expected = format!(
        "went back from version 999.0.1 of the agent: the program states version {}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(report.detail.unwrap().as_str(), expected);
    assert_eq!(starts(&lab).len(), 1, "only to state its version");
}

#[test]
fn a_failed_version_leaves_the_updated_one() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    update(&lab, 2, &broken(&lab));
    failure(&lab);
    // The first trial, the round that stages the broken version, its three starts, and the report.
    assert_eq!(starts(&lab).len(), 6);
    let memory = memory(&lab);
    assert!(
        memory.contains("\"kept\":{\"version\":\"999.0.1\""),
        "{memory}"
    );
    assert_eq!(programs(&lab).len(), 1);
}

#[test]
fn a_trial_without_a_reachable_server_is_not_a_failure() {
    let lab = Lab::new();
    // The new version gets no answer to its first check-ins.
    let config = fs::read_to_string(lab.file("agent.toml")).unwrap();
    let port = lab.edge.address.port().to_string();
    let offline = config.replace(&port, "1");
    fs::write(lab.file("offline.toml"), offline).unwrap();
    let program = working(&lab).replace(
        "exec",
        &format!(
            "[ -e '{0}/online' ] || cp '{0}/offline.toml' '{0}/agent.toml'\nexec",
            lab.file("").display()
        ),
    );
    update(&lab, 1, &program);
    // All starts that a version on trial has.
    for _ in 0..3 {
        assert_eq!(lab.run().code, 75);
    }
    assert_eq!(lab.world().reports.len(), 0);
    fs::write(lab.file("online"), "").unwrap();
    fs::write(lab.file("agent.toml"), config).unwrap();
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
}

#[test]
fn an_update_for_other_devices_does_not_apply() {
    let lab = Lab::new();
    let other = |id, path: &str, version: fn(&mut packcast_protocol::Manifest)| {
        let package = Package {
            id,
            archive: Some(Tar::new().program(path, "#!/bin/sh\n").gz()),
            change: version,
        };
        lab.assign(Action::Update { archive: () }, package);
        let report = lab.result();
        lab.world().tasks.clear();
        report
    };
    let newer: fn(&mut _) = |manifest: &mut packcast_protocol::Manifest| {
        manifest.version = NEWER.parse().unwrap();
    };
    let report = other(1, "plan9-mips/packcast-agent", newer);
    assert_eq!(report.code.to_string(), "ERR_WRONG_PLATFORM");
    let report = other(2, "plan9-mips/packcast-agent", |manifest| {
        manifest.version = env!("CARGO_PKG_VERSION").parse().unwrap();
    });
    assert_eq!(report.code.to_string(), "SUCCESS_ALREADY_SETUP");
    assert!(!lab.state().join("versions").exists());
}

#[test]
fn a_damaged_program_is_never_started() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    let program = programs(&lab).remove(0);
    let mut content = fs::read(&program).unwrap();
    content.push(b'\n');
    fs::write(&program, content).unwrap();
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("SHA-256 mismatch"), "{}", run.stderr);
    assert_eq!(starts(&lab).len(), 1, "the installed version runs");
    assert!(!memory(&lab).contains("\"kept\""));
    let is_reported =
        |event: &Event| matches!(event, Event::StateDamaged { path, .. } if *path == program);
    assert!(run.events.iter().any(is_reported), "{:?}", run.events);
    assert!(lab.state().join("versions/program.damaged").exists());
}

#[test]
fn a_damaged_memory_leaves_the_installed_version() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    fs::write(lab.state().join("versions/memory"), "x").unwrap();
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("damaged"), "{}", run.stderr);
    assert_eq!(starts(&lab).len(), 1);
    update(&lab, 2, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(starts(&lab).len(), 2);
}

#[test]
fn the_service_continues_with_the_new_version() {
    let lab = Lab::new();
    let mut service = Service::idle(&lab);
    update(&lab, 1, &working(&lab));
    let asked = lab.agent(&["check-in"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    service.tells("READY=1");
    service.tells("STATUS=Checked in");
    assert_eq!(starts(&lab).len(), 1);
    let status = String::from_utf8(lab.agent(&["status"]).stdout).unwrap();
    assert!(status.contains("service"), "{status}");
    let report = lab.world().reports.remove(0);
    assert_eq!(report.code.to_string(), "SUCCESS");
    // The starter passes requests on.
    service.signal(Signal::HUP);
    service.tells("RELOADING=1");
    service.tells("READY=1");
    service.signal(Signal::TERM);
    service.tells("STOPPING=1");
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
    // Another service begins with the new version.
    let service = Service::idle(&lab);
    assert_eq!(starts(&lab).len(), 2);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn the_service_goes_back_from_a_version_that_ends() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    update(&lab, 1, &broken(&lab));
    lab.agent(&["check-in"]);
    service.tells("READY=1");
    service.tells("STATUS=Checked in");
    assert_eq!(starts(&lab).len(), 3);
    let report = lab.world().reports.remove(0);
    assert_eq!(report.code.to_string(), "ERR_EXECUTE");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn an_updated_agent_does_not_outlive_its_starter() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    let service = Service::idle(&lab);
    let agent = starts(&lab).pop().unwrap();
    // A process that nobody has waited for is a zombie.
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{agent}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .map(|(_, fields)| fields.starts_with('Z'));
        state == Some(false)
    };
    assert!(runs());
    let starter = Pid::from_child(&service.process);
    kill_process(starter, Signal::KILL).unwrap();
    while runs() {
        std::thread::yield_now();
    }
    // The state folder is free.
    let service = Service::idle(&lab);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_second_starter_is_refused_and_counts_no_start() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    let service = Service::idle(&lab);
    let before = starts(&lab);
    for _ in 0..4 {
        let run = lab.run();
        assert_eq!(run.code, 1);
        assert!(
            run.stderr.contains("in use by another agent"),
            "{}",
            run.stderr
        );
    }
    assert_eq!(starts(&lab), before);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn options_of_the_updated_version_do_not_stop_the_starter() {
    let lab = Lab::new();
    let old = fs::read_to_string(lab.file("agent.toml")).unwrap();
    // The updated version knows an option that the installed one does not.
    let script = format!(
        "sed -i '/new_option/d' '{}'\nexec",
        lab.file("agent.toml").display()
    );
    update(&lab, 1, &working(&lab).replace("exec", &script));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    fs::write(lab.file("agent.toml"), format!("new_option = 1\n{old}")).unwrap();
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(starts(&lab).len(), 2);
}

#[test]
fn the_installed_version_and_its_commands_ignore_options_of_an_updated_one() {
    let lab = Lab::new();
    let newer = format!(
        "new_option = 1\n{}",
        fs::read_to_string(lab.file("agent.toml")).unwrap()
    );
    // On a device without updates, the option is a spelling mistake.
    let old = fs::read_to_string(lab.file("agent.toml")).unwrap();
    fs::write(lab.file("agent.toml"), &newer).unwrap();
    assert_eq!(lab.run().code, 2);
    fs::write(lab.file("agent.toml"), old).unwrap();
    update(&lab, 1, &broken(&lab));
    failure(&lab);
    lab.world().tasks.clear();
    fs::write(lab.file("agent.toml"), newer).unwrap();
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("new_option"), "{}", run.stderr);
    for command in ["status", "id", "prepare"] {
        let output = lab.agent(&[command]);
        assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
        let warning = String::from_utf8(output.stderr).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "warning: version {version} of the agent ignores options that it does not know: new_option\n"
        );
        assert_eq!(warning, expected);
    }
    let checked = lab.agent(&["check"]);
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains("not know: new_option\n"), "{checked}");
}

#[test]
fn a_version_is_confirmed_after_its_first_round() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    // The version on trial deploys this package after its first check-in.
    let versions = lab.state().join("versions").display().to_string();
    let command = format!("test -e '{versions}/checked-in' -a ! -e '{versions}/confirmed'");
    lab.assign(execute(&command), package(2, None));
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let reports = std::mem::take(&mut lab.world().reports);
    let mut results: Vec<(u32, String)> = reports
        .iter()
        .map(|report| (report.id.get() % 100, report.code.to_string()))
        .collect();
    results.sort();
    results.dedup();
    let success = |id| (id, "SUCCESS".to_owned());
    assert_eq!(results, [success(1), success(2)]);
}

#[test]
fn an_updated_version_that_cannot_check_in_is_given_up() {
    let lab = Lab::new();
    let fault = format!("[ -e '{}' ] && exit 1\nexec", lab.file("fault").display());
    update(&lab, 1, &working(&lab).replace("exec", &fault));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    let fault = lab.file("fault");
    // A check-in between the faults begins the count again.
    for _ in 0..2 {
        fs::write(&fault, "").unwrap();
        assert_eq!([lab.run().code, lab.run().code], [1, 1]);
        fs::remove_file(&fault).unwrap();
        assert_eq!(lab.run().code, 0);
    }
    // An invalid configuration is the fault of no version.
    let config = fs::read_to_string(lab.file("agent.toml")).unwrap();
    let invalid = format!("parallel_downloads = 99\n{config}");
    fs::write(lab.file("agent.toml"), invalid).unwrap();
    for _ in 0..4 {
        assert_eq!(lab.run().code, 2);
    }
    fs::write(lab.file("agent.toml"), config).unwrap();
    assert!(memory(&lab).contains("\"kept\""));
    fs::write(&fault, "").unwrap();
    for _ in 0..3 {
        assert_eq!(lab.run().code, 1);
    }
    let before = starts(&lab);
    assert_eq!(lab.run().code, 0, "the installed version runs");
    assert_eq!(starts(&lab), before);
}

#[test]
fn an_updated_version_that_hangs_is_given_up() {
    let lab = Lab::new();
    // It ends with its starter.
    let fault = format!("[ -e '{}' ] && exec cat\nexec", lab.file("fault").display());
    update(&lab, 1, &working(&lab).replace("exec", &fault));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    fs::write(lab.file("fault"), "").unwrap();
    // A stop by a person is no failure.
    for _ in 0..3 {
        let service = Service::start(&lab);
        service.tells("READY=1");
        assert_eq!(service.stop(), Some(0));
    }
    assert!(memory(&lab).contains("\"kept_ends\":0"), "{}", memory(&lab));
    // The watchdog of systemd ends the starter.
    for _ in 0..3 {
        let before = starts(&lab);
        let mut service = Service::start(&lab);
        service.tells("READY=1");
        // The starter is ready before the program of the version has noted its start.
        while starts(&lab) == before {
            std::thread::yield_now();
        }
        service.signal(Signal::KILL);
        service.process.wait().unwrap();
    }
    let before = starts(&lab);
    let service = Service::idle(&lab);
    assert_eq!(starts(&lab), before, "the installed version runs");
    assert!(!memory(&lab).contains("\"kept\""), "{}", memory(&lab));
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_version_that_cannot_reach_a_working_server_goes_back() {
    let lab = Lab::new();
    update(&lab, 1, &broken(&lab).replace("exit 1", "exit 75"));
    assert_eq!(lab.run().code, 75);
    // The version that works gets no answer either, so this start does not count.
    let held = BeginReply::Wait {
        reason: HoldWord::Withdrawn,
        again_s: None,
    };
    lab.world().answers.extend([(503, held), (429, held)]);
    assert_eq!([lab.run().code, lab.run().code], [75, 75]);
    assert_eq!(lab.run().code, 75);
    assert_eq!(lab.world().reports.len(), 0);
    assert_eq!(lab.run().code, 0);
    assert_eq!(starts(&lab).len(), 5);
    let report = lab.world().reports.remove(0);
    assert_eq!(report.code.to_string(), "ERR_EXECUTE");
}

#[test]
fn an_error_that_may_pass_leaves_the_memory_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;

    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    assert_eq!(lab.run().code, 0);
    let before = memory(&lab);
    assert!(before.contains("\"kept_ends\":0"), "{before}");
    let program = programs(&lab).remove(0);
    let set_mode = |mode| fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o600);
    assert_eq!(lab.run().code, 0, "the installed version runs");
    assert_eq!((starts(&lab).len(), memory(&lab)), (2, before));
    set_mode(0o700);
    assert_eq!(lab.run().code, 0);
    assert_eq!(starts(&lab).len(), 3);
}

#[test]
fn without_its_lock_the_starter_runs_the_installed_version() {
    let lab = Lab::new();
    update(&lab, 1, &working(&lab));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks.clear();
    let lock = lab.state().join("versions/lock");
    fs::remove_file(&lock).unwrap();
    // A folder cannot be opened for writing.
    fs::create_dir(&lock).unwrap();
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(starts(&lab).len(), 1);
    fs::remove_dir(&lock).unwrap();
    assert_eq!(lab.run().code, 0);
    assert_eq!(starts(&lab).len(), 2);
}

#[test]
fn a_silent_version_is_ready_by_its_starter() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    update(&lab, 1, "#!/bin/sh\nexec cat\n");
    lab.agent(&["check-in"]);
    service.tells("READY=1");
    assert_eq!(service.stop(), Some(0));
    // The stop is no fault of the version.
    assert!(memory(&lab).contains("\"starts\":0"), "{}", memory(&lab));
}

#[test]
fn the_end_of_a_version_is_not_the_end_of_the_service() {
    let lab = Lab::new();
    let mut version = Service::version(&lab);
    version.tells("READY=1");
    version.tells("STATUS=Checked in");
    // The starter asks it to stop by the end of its input.
    drop(version.process.stdin.take());
    assert_eq!(version.process.wait().unwrap().code(), Some(0));
    let told = version.unread();
    assert!(!told.contains(&"STOPPING=1".to_owned()), "{told:?}");
}
