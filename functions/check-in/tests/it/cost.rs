//! Cost of a check-in without any task.

use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing_at;
use packcast_testing::table::{Table, result};

use crate::agents::Agent;
use crate::system::{TestSystem, prolog};

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

async fn finish_tasks(table: &Table, device: &packcast_protocol::DeviceId, number: u32) {
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
