//! Pages of a console over few devices in the test suite; `just bench-console` asks for those of many.

use packcast_tests::console::RunningConsole;
use packcast_tests::console::bench;
use packcast_tests::world::World;

#[test]
fn each_page_states_its_cost_and_scans_nothing() {
    let report = bench::run(crate::PROGRAM, 200, 20, |_| {});
    assert_eq!(report.faults(), [""; 0]);
    let units = |page: &str| {
        let mut answers = report.answers.iter();
        let answer = answers.find(|answer| answer.page == page);
        answer.unwrap().read_units
    };
    // The first search reads the records of all devices, and the second one nothing.
    assert!(units("/devices?name=pc1") > 100.0, "{report:#?}");
    assert!(units("/devices?name=pc2") < 10.0, "{report:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_console_leaves_no_core_dump() {
    let world = World::start(crate::PROGRAM);
    let limits = RunningConsole::start(&world).limits();
    let core = limits.lines().find(|it| it.starts_with("Max core file"));
    let soft = core.unwrap().split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{limits}");
}
