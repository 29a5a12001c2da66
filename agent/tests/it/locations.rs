//! Packages that several locations have.
#![cfg(unix)]

use packcast_agent::event::Event;

use crate::lab::Lab;
use crate::packages::{launch, package, script};

#[test]
fn a_location_that_may_answer_later_outweighs_a_corrupt_one() {
    let lab = Lab::new();
    let id = lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))));
    let second = lab.second();
    let name = format!("{id}/{id}-2");
    let good = lab.edge.get(&name);
    lab.edge.put(&name, &[b"wrong"]);
    second.put_status(&name, 503);
    let run = lab.run();
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    second.put(&name, &[&good]);
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
}
