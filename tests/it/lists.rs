//! Lists of few devices in the test suite; `just bench-lists` asks for those of many.

use packcast_tests::lists;

#[test]
fn each_list_has_its_devices_without_a_scan() {
    let report = lists::run(crate::PROGRAM, 200, |_| {});
    assert_eq!(report.faults(), [""; 0]);
    let units = |command: &str| {
        let mut answers = report.answers.iter();
        let answer = answers.find(|answer| answer.command == command);
        answer.unwrap().read_units
    };
    // The record of each device is read once, whatever the list.
    let all = units("device list");
    assert!((200.0..400.0).contains(&all), "{report:#?}");
    assert!(units("device list --limit 100") < all, "{report:#?}");
    assert!(units("status") < all, "{report:#?}");
}
