//! Attempts that are called off.
#![cfg(unix)]

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_protocol::api::Cancel;

use crate::lab::Lab;
use crate::packages::{execute, launch, package, script};

/// Takes the assignment back: the next reply says so.
fn call_off(lab: &Lab, id: PackageId, attempt: u32) {
    let mut world = lab.world();
    world.tasks.retain(|task| task.id != id);
    world.cancel = vec![Cancel { id, attempt }];
}

/// A package that `touch`es the file it returns; its second fragment is missing for now.
fn stuck(lab: &Lab) -> (PackageId, std::path::PathBuf, Vec<u8>) {
    let ran = lab.state().join("ran");
    let text = format!("#!/bin/sh\ntouch '{}'\n", ran.display());
    let id = lab.assign(launch("run.sh"), package(1, Some(script(&text))));
    let fragment = lab.edge.get(&format!("{id}/{id}-2"));
    lab.edge.put_status(&format!("{id}/{id}-2"), 503);
    let run = lab.run();
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    (id, ran, fragment)
}

#[test]
fn what_was_being_fetched_is_dropped_and_reported() {
    let lab = Lab::new();
    let (id, ran, fragment) = stuck(&lab);
    let folder = lab.state().join(format!("packages/{id}"));
    assert!(folder.join("fragments/1").exists());
    lab.edge.put(&format!("{id}/{id}-2"), &[&fragment]);
    call_off(&lab, id, 1);
    let report = lab.result();
    assert_eq!(
        (report.code.to_string().as_str(), report.attempt),
        ("CANCELLED", 1)
    );
    assert!(!folder.exists() && !ran.exists());
    let status = String::from_utf8(lab.agent(&["status"]).stdout).unwrap();
    assert!(
        status.contains("cancelled") && status.contains("CANCELLED"),
        "{status}"
    );
}

#[test]
fn a_later_attempt_is_a_new_one() {
    let lab = Lab::new();
    let (id, ran, fragment) = stuck(&lab);
    let mut task = lab.world().tasks[0].clone();
    call_off(&lab, id, 1);
    assert_eq!(lab.result().code.to_string(), "CANCELLED");
    lab.edge.put(&format!("{id}/{id}-2"), &[&fragment]);
    task.attempt = 2;
    lab.world().tasks = vec![task];
    let report = lab.result();
    assert_eq!(
        (report.code.to_string().as_str(), report.attempt),
        ("SUCCESS_0", 2)
    );
    assert!(ran.exists());
}

#[test]
fn what_the_device_never_heard_of_is_reported_too() {
    let lab = Lab::new();
    let id = PackageId::try_from(1_795_000_001).unwrap();
    call_off(&lab, id, 3);
    let report = lab.result();
    assert_eq!((report.id, report.attempt), (id, 3));
    assert_eq!(report.code.to_string(), "CANCELLED");
}

#[test]
fn a_cancellation_that_was_not_accepted_goes_with_the_next_check_in() {
    let lab = Lab::new();
    let (id, ..) = stuck(&lab);
    call_off(&lab, id, 1);
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    let package = lab.state().join(format!("packages/{id}"));
    assert!(
        !package.join("fragments").exists(),
        "space is freed at once"
    );
    lab.world().cancel.clear();
    assert_eq!(lab.result().code.to_string(), "CANCELLED");
    assert!(!package.exists());
}

#[test]
fn what_was_done_is_reported_as_it_went() {
    let lab = Lab::new();
    let id = lab.assign(execute("exit 9"), package(1, None));
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    // The function calls it off before it hears of the result, and again before it counts.
    call_off(&lab, id, 1);
    lab.world().refuse_reports = false;
    assert_eq!(lab.run().code, 0);
    assert_eq!(lab.run().code, 0);
    let reports = std::mem::take(&mut lab.world().reports);
    assert!(!reports.is_empty());
    for report in reports {
        assert_eq!(
            (report.code.to_string().as_str(), report.attempt),
            ("EXIT_CODE_9", 1)
        );
    }
}

#[test]
fn what_was_interrupted_is_not_cancelled() {
    for may_repeat in [true, false] {
        let lab = Lab::new();
        let id = PackageId::try_from(1_795_000_001).unwrap();
        let package = lab.state().join(format!("packages/{id}"));
        let journal = format!(
            r#"{{"stage":"acting","attempt":1,"package":{{"name":"lab","version":"1.0"}},"may_repeat":{may_repeat}}}"#
        );
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(package.join("journal.json"), journal).unwrap();
        call_off(&lab, id, 1);
        assert_eq!(lab.run().code, 0);
        let reports = std::mem::take(&mut lab.world().reports);
        assert!(!reports.is_empty());
        for report in reports {
            assert_eq!(report.code.to_string(), "ERR_INTERRUPTED");
        }
    }
}
