//! Damaged files in the agent's state folder.
#![cfg(unix)]

use std::fs;
use std::path::Path;

use packcast_agent::event::Event;
use packcast_protocol::UnixTime;

use crate::lab::Lab;
use crate::packages::{execute, package};

/// Flips one bit of each line of a file.
fn flip_each_line(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    assert!(!ends.is_empty());
    for end in ends {
        bytes[end - 10] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

/// Returns the files of the history.
fn history(lab: &Lab) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(lab.state()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let of_history = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "history" || name == "history.copy"
    };
    paths.filter(of_history).collect()
}

#[test]
fn a_package_in_a_damaged_history_does_not_run_again() {
    let lab = Lab::new();
    let count = lab.state().join("count");
    let line = format!("echo x >> '{}'", count.display());
    lab.assign(execute(&line), package(1, None));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    for path in history(&lab) {
        flip_each_line(&path);
    }
    // The records are as they were before the result.
    assert_eq!(lab.result().code.to_string(), "ERR_INTERRUPTED");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
    // A new assignment counts.
    lab.world().tasks[0].attempt = 2;
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");
}

#[test]
fn a_damaged_journal_is_kept_and_reported_once() {
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    lab.tear_journal(id);
    let torn = fs::read(lab.state().join(format!("packages/{id}/journal"))).unwrap();
    // The function cancelled nothing and announces nothing.
    lab.world().tasks.clear();
    let kept = || {
        let run = lab.run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.events.into_iter().find_map(|event| match event {
            Event::StateDamaged { kept, .. } => Some(kept),
            _ => None,
        })
    };
    assert_eq!(fs::read(kept().unwrap()).unwrap(), torn);
    assert_eq!(kept(), None);
}

#[test]
fn a_damaged_identity_is_moved_aside_and_reported() {
    let lab = Lab::new();
    assert_eq!(lab.run().code, 0);
    let id = lab.agent(&["id"]).stdout;
    let path = lab.state().join("identity");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(lab.agent(&["id"]).status.code(), Some(1));
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let kept = run.events.into_iter().find_map(|event| match event {
        Event::StateDamaged { path: of, kept, .. } => (of == path).then_some(kept),
        _ => None,
    });
    assert_eq!(fs::read(kept.unwrap()).unwrap(), bytes);
    assert!(
        run.stderr.contains("found a damaged state file"),
        "{}",
        run.stderr
    );
    // The device enrolled as a new one.
    assert_eq!(lab.world().enrolments, 2);
    assert_ne!(lab.agent(&["id"]).stdout, id);
}

/// Returns the kept content of a damaged file in the state folder after a run of the agent.
fn kept_after_run(lab: &Lab, name: &str) -> Vec<u8> {
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let path = lab.state().join(name);
    let kept = run.events.into_iter().find_map(|event| match event {
        Event::StateDamaged { path: of, kept, .. } => (of == path).then_some(kept),
        _ => None,
    });
    fs::read(kept.unwrap()).unwrap()
}

/// A disk error, or a power failure of some file systems, leaves zeros.
#[test]
fn files_of_zeros_are_kept_reported_and_replaced() {
    let lab = Lab::new();
    assert_eq!(lab.run().code, 0);
    for name in ["pass", "target", "identity"] {
        let path = lab.state().join(name);
        let zeros = vec![0; fs::read(&path).unwrap().len()];
        fs::write(&path, &zeros).unwrap();
        assert_eq!(kept_after_run(&lab, name), zeros, "{name}");
        assert_ne!(fs::read(&path).unwrap(), zeros, "{name}");
    }
}

/// Runs an agent once on a machine with this id. Returns `None` if the test may not mount.
#[cfg(target_os = "linux")]
fn run_on_machine(lab: &Lab, id: &str) -> Option<crate::lab::Run> {
    let file = lab.state().with_file_name(format!("machine-{id}"));
    fs::write(&file, format!("{}\n", id.repeat(16))).unwrap();
    let file = file.display();
    // The id of the hardware would decide otherwise.
    lab.run_where_it_can_mount(&format!(
        "test ! -e /sys/class/dmi/id || mount -t tmpfs none /sys/class/dmi/id; mount --bind '{file}' /etc/machine-id; exec \"$@\""
    ))
}

#[cfg(target_os = "linux")]
#[test]
fn a_copied_device_enrols_as_another_and_runs_nothing_again() {
    let lab = Lab::new();
    let count = lab.state().join("count");
    lab.assign(
        execute(&format!("echo x >> '{}'", count.display())),
        package(1, None),
    );
    let Some(run) = run_on_machine(&lab, "a1") else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    let first = lab.world().machine.clone().unwrap();
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(first.platform.as_str(), platform);
    assert!(
        first.clock().since(UnixTime(1_700_000_000)) > 0,
        "{first:?}"
    );
    let id = lab.agent(&["id"]).stdout;
    let identity = fs::read(lab.state().join("identity")).unwrap();
    // Without a token, the copy begins nothing and keeps the identity.
    lab.configure_without_token();
    lab.world().reports.clear();
    let run = run_on_machine(&lab, "b2").unwrap();
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("another machine"), "{}", run.stderr);
    assert!(
        matches!(run.events[..], [Event::IdentityConflict { .. }]),
        "{:?}",
        run.events
    );
    assert_eq!(fs::read(lab.state().join("identity")).unwrap(), identity);
    assert!(lab.world().reports.is_empty());
    // With a token, it is another device with the same history.
    lab.configure("");
    let run = run_on_machine(&lab, "b2").unwrap();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.events
            .iter()
            .any(|event| matches!(event, Event::IdentityReplaced { .. }))
    );
    assert_eq!(lab.world().enrolments, 2);
    let copy = lab.world().machine.clone().unwrap();
    assert!(copy.machine.is_some() && copy.machine != first.machine);
    assert_eq!(copy.boot, first.boot);
    let new_id = lab.agent(&["id"]).stdout;
    assert_ne!(new_id, id);
    assert_eq!(lab.world().reports.len(), 1);
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
    // From now on, the identity belongs to this machine.
    assert_eq!(run_on_machine(&lab, "b2").unwrap().code, 0);
    assert_eq!(lab.world().enrolments, 2);
    assert_eq!(lab.agent(&["id"]).stdout, new_id);
}

/// Copies the state of an image to a new machine, runs the agent there once, and returns the device id.
/// Returns `None` if the test may not mount.
#[cfg(target_os = "linux")]
fn id_of_clone(lab: &Lab, image: &std::path::Path, machine: &str) -> Option<Vec<u8>> {
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status();
        assert!(copied.unwrap().success());
    };
    if image.exists() {
        fs::remove_dir_all(lab.state()).unwrap();
        copy(image, &lab.state());
    } else {
        copy(&lab.state(), image);
    }
    let run = run_on_machine(lab, machine)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    Some(lab.agent(&["id"]).stdout)
}

#[cfg(target_os = "linux")]
#[test]
fn each_clone_of_an_image_gets_an_identity_of_its_own() {
    let lab = Lab::new();
    // Neither command creates an identity, so both can run in the image.
    for command in ["prepare", "check"] {
        lab.agent(&[command]);
        assert!(!lab.state().join("identity").exists(), "{command}");
    }
    let image = lab.state().with_file_name("image");
    let mut ids = std::collections::BTreeSet::new();
    for machine in ["a1", "b2"] {
        let Some(id) = id_of_clone(&lab, &image, machine) else {
            return;
        };
        ids.insert(id);
    }
    // An image of a machine that has enrolled contains its identity.
    let enrolled = lab.state().with_file_name("enrolled");
    for machine in ["b2", "c3", "d4"] {
        ids.insert(id_of_clone(&lab, &enrolled, machine).unwrap());
    }
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(lab.world().enrolments, 4);
}
