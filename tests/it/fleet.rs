//! A small fleet in the test suite; `just fleet` runs a large one.

use std::sync::Arc;

use packcast_store::records::Tally;
use packcast_testing::fault::{FaultRates, HoldTimes};
use packcast_tests::fleet::{self, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_a_fleet_are_correct() {
    let options = Options {
        devices: 200,
        seed: 1,
        faults: FaultRates {
            conflicts: 60,
            update_conflicts: 60,
            throttles: 20,
            lost_answers: 40,
            unprocessed: 0,
            index_lag: 300,
        },
        hold_times: Some(HoldTimes::SHORT),
    };
    let report = fleet::run(options, Arc::new(|_, _, _| {})).await;
    assert_eq!(report.differences, [""; 0]);
    let injected = report.injected;
    assert!(
        injected.conflicts > 0
            && injected.throttles > 0
            && injected.lost_answers > 0
            && injected.index_lag > 0,
        "{injected:?}"
    );
    assert!(report.refused.transactions > 0, "{:?}", report.refused);
    let packages = &report.packages;
    let any = |count: fn(&Tally) -> u64| packages.iter().any(|one| count(&one.expected) > 0);
    assert!(
        any(Tally::waiting)
            && any(|tally| tally.announced)
            && any(|tally| tally.withdrawn)
            && any(|tally| tally.succeeded)
            && any(|tally| tally.failed)
            && any(|tally| tally.cancelled),
        "{packages:?}"
    );
}
