//! Packages with several locations, some of them faulty.
#![cfg(unix)]

use packcast_agent::event::Event;
use packcast_protocol::PackageId;

use crate::archives::Tar;
use crate::lab::Lab;
use crate::packages::{launch, noise, package, script};

/// Assigns a package of more than 40 fragments.
fn large(lab: &Lab) -> PackageId {
    let archive = Tar::new()
        .program("run.sh", "#!/bin/sh\n")
        .file("data", &noise(40_000));
    lab.assign(launch("run.sh"), package(1, Some(archive)))
}

fn small(lab: &Lab) -> PackageId {
    lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))))
}

/// Expects that the package waits, and returns the reason.
fn waits(lab: &Lab) -> String {
    match lab.run().events.pop() {
        Some(Event::Deferred { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

fn succeeds(lab: &Lab) {
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
}

/// Expects a failure whose report names each of these texts.
fn fails(lab: &Lab, code: &str, named: &[&str]) {
    let report = lab.result();
    let detail = report.detail.expect("a failure has a reason");
    assert_eq!(report.code.to_string(), code, "{detail}");
    for named in named {
        assert!(detail.as_str().contains(named), "{named}: {detail}");
    }
}

#[test]
fn an_unreachable_location_is_replaced_by_the_next() {
    let lab = Lab::new();
    let id = large(&lab);
    let _dead = lab.add_dead();
    lab.last_location_first();
    succeeds(&lab);
    assert_eq!(lab.edge.gets(&format!("{id}/{id}-40")), 1);
}

#[test]
fn an_untrusted_location_is_replaced_by_the_next() {
    let lab = Lab::new();
    small(&lab);
    let untrusted = lab.untrusted_second();
    lab.last_location_first();
    succeeds(&lab);
    assert_eq!(untrusted.world().gets.len(), 0);
}

#[test]
fn a_failed_location_is_not_asked_first_each_time() {
    let lab = Lab::new();
    let id = large(&lab);
    let second = lab.second();
    let fragments = (1..=41).map(|n| format!("{id}-{n}"));
    for name in fragments.chain(["manifest.json".to_owned()]) {
        lab.edge.put_status(&format!("{id}/{name}"), 503);
    }
    succeeds(&lab);
    let (failed, given) = (lab.world().gets.len(), second.world().gets.len());
    assert!((1..=12).contains(&failed), "asked {failed} times");
    assert!(given > 41, "asked {given} times");
}

#[test]
fn a_wrong_fragment_is_fetched_from_the_next_location() {
    let lab = Lab::new();
    let id = small(&lab);
    let second = lab.second();
    let name = format!("{id}/{id}-2");
    let mut bad = lab.edge.get(&name);
    bad[17] ^= 1;
    lab.edge.put(&name, &[&bad]);
    succeeds(&lab);
    assert_eq!((lab.edge.gets(&name), second.gets(&name)), (1, 1));
}

#[test]
fn a_missing_fragment_is_fetched_from_the_next_location() {
    let lab = Lab::new();
    let id = small(&lab);
    let second = lab.second();
    let name = format!("{id}/{id}-2");
    lab.edge.put_status(&name, 404);
    succeeds(&lab);
    assert_eq!((lab.edge.gets(&name), second.gets(&name)), (1, 1));
}

#[test]
fn each_document_may_come_from_a_different_location() {
    let lab = Lab::new();
    let id = small(&lab);
    let second = lab.second();
    lab.edge.put(&format!("{id}/manifest.json"), &[b"{}"]);
    second.put(&format!("{id}/{id}-2"), &[b"wrong"]);
    succeeds(&lab);
}

#[test]
fn a_temporary_failure_outweighs_a_corrupt_location() {
    let lab = Lab::new();
    let id = small(&lab);
    let second = lab.second();
    let name = format!("{id}/{id}-2");
    let good = lab.edge.get(&name);
    lab.edge.put(&name, &[b"wrong"]);
    second.put_status(&name, 503);
    let detail = waits(&lab);
    assert!(
        detail.contains("5 of 1024 bytes") && detail.contains("503"),
        "{detail}"
    );
    second.put(&name, &[&good]);
    succeeds(&lab);
}

#[test]
fn every_unreachable_location_is_named() {
    let lab = Lab::new();
    let id = small(&lab);
    lab.world().tasks[0].locations.clear();
    let (one, other) = (lab.add_dead(), lab.add_dead());
    let named = [one.location.as_str(), other.location.as_str(), "refused"];
    let detail = waits(&lab);
    for named in named {
        assert!(detail.contains(named), "{named}: {detail}");
    }
    lab.begun_days_ago(id, 30);
    fails(&lab, "ERR_TIMEOUT", &named);
}

#[test]
fn every_location_without_the_file_is_named() {
    let lab = Lab::new();
    let id = small(&lab);
    let second = lab.second();
    let (one, other) = (lab.edge.location(), second.location());
    let name = format!("{id}/{id}-3");
    lab.edge.put_status(&name, 404);
    second.put_status(&name, 403);
    let named = [one.as_str(), other.as_str(), "404", "403", &name[11..]];
    fails(&lab, "ERR_DOWNLOAD_PACK", &named);
}

#[test]
fn a_package_without_a_location_fails() {
    let lab = Lab::new();
    small(&lab);
    lab.world().tasks[0].locations.clear();
    fails(&lab, "ERR_DOWNLOAD_PACK", &["has no location"]);
}
