//! Reasons of waiting packages in check-ins.

use packcast_protocol::PackageId;
use packcast_protocol::api::{CHECK_IN_PATH, CheckInRequest};
use packcast_protocol::state::exchange::{WaitWord, WaitingPackage, WaitingPackages};
use packcast_testing::meter::Usage;

use crate::agents::{Agent, parsed};
use crate::results::{agent_with_task, report};
use crate::system::TestSystem;

/// Checks in with waiting packages, and returns the requests to the table.
async fn check_in(system: &TestSystem, agent: &Agent, waits: &[WaitingPackage]) -> Usage {
    let request = CheckInRequest {
        waits: WaitingPackages::first(waits.iter().copied()),
        ..Agent::asking()
    };
    system.table.meter.take();
    parsed(&agent.post(system, CHECK_IN_PATH, &request).await);
    system.table.meter.take()
}

async fn on_record(system: &TestSystem, agent: &Agent) -> Vec<WaitingPackage> {
    let records = &system.table.records;
    let device_state = records.device_state(&agent.device()).await;
    let device_state = device_state.expect("the device has records");
    let all = records.waits(&[agent.device()]).await;
    let all = all.expect("the records can be read");
    let waits = all.get(&agent.device()).cloned().unwrap_or_default();
    assert_eq!(device_state.waits, waits);
    waits
}

fn waiting(package: PackageId, attempt: u32, reason: WaitWord) -> WaitingPackage {
    WaitingPackage {
        package,
        attempt,
        reason,
        until: None,
    }
}

#[tokio::test]
async fn the_reason_of_a_waiting_package_is_written_once() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let expired = [waiting(package.id, 1, WaitWord::CommitExpired)];
    for (waits, recorded, writes) in [
        (&expired[..], &expired[..], true),
        (&expired, &expired, false),
        (&[waiting(package.id, 2, WaitWord::Used)], &[], true),
        (
            &[waiting(
                1_700_000_000.try_into().unwrap(),
                1,
                WaitWord::Used,
            )],
            &[],
            false,
        ),
    ] {
        let usage = check_in(&system, &agent, waits).await;
        assert_eq!(usage.write_units > 0.0, writes, "{waits:?}: {usage:?}");
        if !writes {
            assert_eq!(usage.operations, ["Query"]);
        }
        assert_eq!(on_record(&system, &agent).await, recorded);
    }
}

#[tokio::test]
async fn a_finished_package_waits_no_longer() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let waits = [waiting(package.id, 1, WaitWord::Unreachable)];
    check_in(&system, &agent, &waits).await;
    let result = report(package.id, 1, "SUCCESS_0");
    agent.check_in_with(&system, vec![result]).await;
    assert_eq!(on_record(&system, &agent).await, []);
    let usage = check_in(&system, &agent, &[]).await;
    assert!(usage.write_units < f64::EPSILON, "{usage:?}");
}
