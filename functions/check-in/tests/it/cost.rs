//! Cost of a check-in without news.

use packcast_protocol::DeviceId;
use packcast_rollout::PackageRecord;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing_at;
use packcast_testing::table::{Table, result};

use crate::agents::Agent;
use crate::system::{TestSystem, announced, prolog};

#[tokio::test]
async fn an_idle_ocs_agent_costs_one_query() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    finish_tasks(&system.table, &device, 5).await;
    system.table.meter.take();
    for _ in 0..2 {
        system.ocs(&prolog(1)).await;
        let usage = system.table.meter.take();
        assert_eq!(usage.operations, ["Query"]);
        assert!(usage.read_units <= 1.0, "{usage:?}");
    }
}

#[tokio::test]
async fn an_idle_packcast_agent_costs_one_query() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    finish_tasks(&system.table, &agent.device(), 5).await;
    agent.check_in(&system).await;
    system.table.meter.take();
    for _ in 0..2 {
        agent.check_in(&system).await;
        let usage = system.table.meter.take();
        assert_eq!(usage.operations, ["Query"]);
        assert!(usage.read_units <= 1.0, "{usage:?}");
    }
}

#[tokio::test]
async fn a_repeated_announcement_costs_no_write() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    system.ocs(&prolog(1)).await;
    system.operations();
    system.ocs(&prolog(1)).await;
    assert_eq!(system.operations(), ["Query"]);
}

async fn finish_tasks(table: &Table, device: &DeviceId, number: u32) {
    for n in 0..number {
        let package = table.package(&format!("old{n}"), 5).await;
        let records = &table.records;
        let assigned = records.assign(device, &package, false, signing_at(package.created_at));
        assigned.await.expect("a package can be assigned");
        let task = table.task(device, package.id).await.expect("a task");
        let result = result(&task, "SUCCESS");
        let recorded = records.record_result(device, &task, &result).await;
        recorded.expect("a result can be recorded");
    }
}

/// Numbers of open tasks of which a device was told before.
const OPEN_TASKS: [u32; 4] = [0, 1, 10, 40];

/// A check-in of a device without news is one Query, however many open tasks the device has.
#[tokio::test]
async fn a_check_in_without_news_is_one_query_for_any_number_of_open_tasks() {
    let system = TestSystem::start().await;
    let packages = packages(&system.table, OPEN_TASKS[3]).await;
    let mut units: Vec<[f64; 2]> = Vec::new();
    for (number, tasks) in OPEN_TASKS.into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let packages = &packages[..tasks as usize];
        let ocs = system.settled_device(number.into()).await;
        let agent = Agent::enrolled(&system, number + 1).await;
        for device in [&ocs, &agent.device()] {
            assign_all(&system.table, device, packages).await;
        }
        let of_ocs = async || {
            let reply = system.ocs(&prolog(number.into())).await;
            announced(&reply).len()
        };
        let of_agent = async || agent.check_in(&system).await.tasks.len();
        units.push([
            read_units(&system, tasks, of_ocs).await,
            read_units(&system, tasks, of_agent).await,
        ]);
    }
    // A unit reads 4 KB, and a task has about 200 bytes.
    for (tasks, units) in OPEN_TASKS.into_iter().zip(&units) {
        let most = 1.0 + f64::from(tasks / 15);
        assert!(
            units.iter().all(|units| *units <= most),
            "{tasks}: {units:?}"
        );
    }
}

/// Checks in until all tasks are announced and cached, and returns the read units of a further
/// check-in.
async fn read_units(system: &TestSystem, tasks: u32, check_in: impl AsyncFn() -> usize) -> f64 {
    while check_in().await < tasks as usize {}
    check_in().await;
    system.table.meter.take();
    assert_eq!(check_in().await, tasks as usize);
    let usage = system.table.meter.take();
    assert_eq!(usage.operations, ["Query"], "{tasks} open tasks");
    usage.read_units
}

async fn packages(table: &Table, number: u32) -> Vec<PackageRecord> {
    let mut packages = Vec::new();
    for n in 0..number {
        packages.push(table.package(&format!("p{n}"), 5).await);
    }
    packages
}

async fn assign_all(table: &Table, device: &DeviceId, packages: &[PackageRecord]) {
    for package in packages {
        table.assigned(device, package).await;
    }
}
