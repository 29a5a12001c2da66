//! An interrupted download continues where it stopped.

use std::collections::{BTreeMap, BTreeSet};

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::world::World;
use packcast_tests::world::device::{PARALLEL_DOWNLOADS, TestDevice};

use crate::PROGRAM;

const ARCHIVE_BYTES: usize = 200 << 20;
/// Number of fragments, of about 200, after which the agent is killed.
const KILLED_AFTER: usize = 60;

#[test]
fn a_killed_download_fetches_no_verified_fragment_again() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let archive = tar_gz(&[("noise", &noise(1, ARCHIVE_BYTES))]);
    let (source, stored) = (world.file("big.tar.gz", &archive), world.path("stored"));
    drop(archive);
    let action = ["--action", "store", "--path", &stored];
    let rest = ["--fragment-size", "1MiB", "--activate", &source];
    let package = world.publish("big", &[action, rest].concat()).package;
    world.assign("big@1", &device);

    let probes = world.requests().len();
    let verified = kill_in_the_middle(&device, package.id);
    let fragments = package.published().unwrap().fragments;
    assert!(verified.len() < fragments as usize, "killed in the middle");
    let events = device.run();

    assert_eq!(numbers(&events, true), verified);
    let fetched = numbers(&events, false);
    assert_eq!(fetched.len() + verified.len(), fragments as usize);
    let gets = gets(&world, package.id, probes);
    let again: BTreeSet<u32> = gets
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(n, _)| *n)
        .collect();
    assert!(again.is_disjoint(&verified), "fetched again: {again:?}");
    assert!(
        again.len() <= PARALLEL_DOWNLOADS,
        "fetched again: {again:?}"
    );
    assert_eq!(gets.len(), fragments as usize);
    assert_eq!(world.progress("big@1").succeeded, 1);
}

/// Kills the agent during the download, and returns the verified fragments.
fn kill_in_the_middle(device: &TestDevice, package: PackageId) -> BTreeSet<u32> {
    let mut agent = device.start();
    let mut arrived = 0;
    while arrived < KILLED_AFTER {
        arrived += usize::from(matches!(agent.next_event(), Event::FragmentVerified { .. }));
    }
    agent.kill();
    device.fragments(package)
}

/// Returns the verified fragments that were already on disk, or those that were not.
fn numbers(events: &[Event], wanted: bool) -> BTreeSet<u32> {
    let number = |event: &Event| match event {
        Event::FragmentVerified { n, already, .. } if *already == wanted => Some(*n),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

/// Returns how often each fragment was requested after the first `before` requests.
fn gets(world: &World, package: PackageId, before: usize) -> BTreeMap<u32, usize> {
    let mut gets = BTreeMap::new();
    let start = format!("{package}-");
    for request in &world.requests()[before..] {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let number = name.strip_prefix(&start).and_then(|n| n.parse().ok());
        if let Some(number) = number.filter(|_| request.method == "GET") {
            *gets.entry(number).or_default() += 1;
        }
    }
    gets
}
