//! The time for a small package, from the agent's start to the accepted report.

use std::time::{Duration, Instant};

use packcast_agent::event::Event;
use packcast_tests::archives::tar_gz;
use packcast_tests::measure::spread_with;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;

/// Deploys this many packages on one device, one after the other.
pub(crate) fn times(world: &World, count: usize) -> Vec<Duration> {
    let device = world.device("small");
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\n"), ("data", &[7; 10_000])]);
    let source = world.file("small.tar.gz", &archive);
    let deploy = |number| {
        let name = format!("small{number}");
        let launch = ["--action", "launch", "--command", "run.sh"];
        world.publish(&name, &[&launch[..], &["--activate", &source]].concat());
        world.assign(&format!("{name}@1"), &device);
        start_to_report(&device)
    };
    (0..count).map(deploy).collect()
}

fn start_to_report(device: &TestDevice) -> Duration {
    let started = Instant::now();
    let mut agent = device.start();
    let mut reported = None;
    while let Some(event) = agent.event() {
        if let Event::Reported { accepted: true, .. } = event {
            reported = Some(started.elapsed());
        }
    }
    reported.expect("the result is accepted")
}

pub(crate) fn summary(times: &[Duration]) -> String {
    format!(
        "small package, from the agent's start to the accepted report: {} s, {} times",
        spread_with(3, times.iter().map(Duration::as_secs_f64)),
        times.len(),
    )
}
