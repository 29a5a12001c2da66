//! A small load in the test suite; `just load` runs a large one.

use packcast_tests::load::{self, LoadPlan, LoadSample};

#[test]
fn a_small_load_is_answered_without_errors() {
    let report = load::run(crate::PROGRAM, &LoadPlan::SMOKE);
    assert_eq!(report.without_faults.len(), 2);
    let whole = LoadSample::whole(&report.without_faults);
    assert!(whole.is_answered(), "{whole}");
    assert_eq!(whole.latencies_us.len(), 100);
    assert!(whole.memory_kib > 0);
    // With faults, each request is answered, perhaps with 503.
    let faulty = LoadSample::whole(&report.with_faults);
    let unavailable = usize::try_from(faulty.unavailable).unwrap();
    assert_eq!(faulty.failed, 0, "{faulty}");
    assert_eq!(faulty.latencies_us.len() + unavailable, 100);
}
