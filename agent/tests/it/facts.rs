//! Daily facts: stated until a reply accepts them, then once a day.

use std::fs;

use packcast_protocol::api::DailyFacts;

use crate::edge::FactsAnswer;
use crate::lab::Lab;
use crate::packages::{execute, package};

/// Runs the agent once, and returns the daily facts of each check-in.
fn stated(lab: &Lab) -> Vec<Option<DailyFacts>> {
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let daily = std::mem::take(&mut lab.world().daily);
    assert!(!daily.is_empty());
    daily
}

#[test]
fn facts_are_stated_until_a_reply_accepts_them() {
    let lab = Lab::new();
    lab.configure("site = \"Zürich\"\n");
    // The answers are lost, or those of an older function.
    for _ in 0..2 {
        assert!(stated(&lab).iter().all(Option::is_some));
    }
    lab.world().facts_answer = FactsAnswer::Recorded;
    let daily = stated(&lab);
    let facts = daily[0].as_ref().unwrap().values();
    assert_eq!(facts.site.as_ref().unwrap().as_str(), "Zürich");
    assert_eq!(facts.address, Some(lab.edge.address.ip()));
    assert!(facts.os_name.is_some());
    assert!(daily[1..].iter().all(Option::is_none));
    // Another process remembers it.
    assert!(stated(&lab).iter().all(Option::is_none));
    // A damaged memory is no memory.
    fs::write(lab.state().join("facts"), "damaged\n").unwrap();
    assert!(stated(&lab)[0].is_some());
    assert!(stated(&lab).iter().all(Option::is_none));
}

#[test]
fn refused_facts_do_not_stop_a_device() {
    let lab = Lab::new();
    lab.world().facts_answer = FactsAnswer::Refused;
    assert!(stated(&lab).iter().all(Option::is_none));
    // The next process tries again, because its facts may be others.
    lab.world().facts_answer = FactsAnswer::None;
    assert!(stated(&lab)[0].is_some());
}

#[test]
fn facts_that_make_a_request_too_large_are_left_out() {
    let lab = Lab::new();
    stated(&lab);
    lab.world().check_in_bytes.clear();
    stated(&lab);
    let smallest = lab.world().check_in_bytes.iter().min().copied();
    lab.world().body_limit = Some(smallest.unwrap() - 1);
    assert!(stated(&lab).iter().all(Option::is_none));
}

#[test]
fn facts_are_left_out_before_the_output_of_a_program() {
    let lab = Lab::new();
    let site = "s".repeat(48);
    lab.configure(&format!("site = \"{site}\"\n"));
    lab.assign(execute("echo output"), package(1, None));
    lab.world().refuse_reports = true;
    stated(&lab);
    let mut world = lab.world();
    world.tasks.clear();
    // A check-in with facts has no room for a result, and one without facts has.
    let largest = world.check_in_bytes.iter().max().copied();
    world.body_limit = Some(largest.unwrap() + 100);
    drop(world);
    assert!(stated(&lab).iter().all(Option::is_none));
    let output = lab.world().reports[0].output_tail.clone();
    assert_eq!(output.unwrap().as_str(), "output\n");
}
