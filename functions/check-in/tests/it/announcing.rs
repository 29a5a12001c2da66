//! Announcements and stops while many devices check in, with conflicts as in the cloud.

use crate::load::{self, Load, LoadReport, Stop};
use crate::system::settings;

/// Lets 400 devices check in each second: four times the rate at which announcements could check one
/// item.
async fn run(stop: Stop) -> LoadReport {
    let load = Load {
        per_second: 400,
        seconds: 1,
        stop_seconds: 1,
        stop,
        seed: 1,
    };
    load::run(load, settings()).await
}

fn check(report: &LoadReport) {
    assert!(report.check_ins > 300, "{report:?}");
    assert!(report.announced > 300, "{report:?}");
    assert_eq!(report.unavailable, 0, "{report:?}");
    assert!(report.refused.transactions < report.announced, "{report:?}");
    assert!(report.write_units < 30.0, "{report:?}");
    assert!(report.stopped_after.is_some(), "{report:?}");
    assert_eq!(report.announced_afterwards, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn no_package_is_announced_after_a_deactivation_at_full_speed() {
    check(&run(Stop::Deactivate).await);
}

#[tokio::test(start_paused = true)]
async fn no_package_is_announced_after_an_unassignment_at_full_speed() {
    check(&run(Stop::Unassign).await);
}
