//! Packages for another system than the one of a device.

use packcast_protocol::manifest::Platform;
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId};
use packcast_rollout::PackageRecord;
use packcast_store::records::{DeploymentState, Reservation};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, reservation};

use crate::agents::Agent;
use crate::system::{TestSystem, device, inventory, packs, prolog};

/// Assigns a new package for a platform to all devices.
async fn for_all(system: &TestSystem, name: &str, platform: Platform) -> PackageRecord {
    let reservation = Reservation {
        platform,
        ..reservation(name, 5)
    };
    let package = system.publish(&reservation).await;
    let all = GroupName::all();
    let records = &system.table.records;
    let assigned = records.assign_group(&all, &package, false, signing()).await;
    assigned.expect("a package can be assigned");
    package
}

/// Returns the devices that were assigned, failed, and do not apply.
async fn counts(system: &TestSystem, package: PackageId) -> [u64; 3] {
    let tally = system.table.records.tally(package).await;
    let tally = tally.expect("a tally can be read");
    [tally.assigned, tally.failed, tally.not_applicable]
}

async fn outcome(system: &TestSystem, device: &DeviceId, package: PackageId) -> Outcome {
    let finished = system.table.records.finished(device, package).await;
    let finished = finished.expect("a result can be read");
    finished.expect("the task has ended").outcome
}

#[tokio::test]
async fn an_ocs_agent_of_another_system_is_not_told_and_does_not_fail() {
    let system = TestSystem::start().await;
    let windows = for_all(&system, "setup", Platform::Windows).await;
    let linux = for_all(&system, "tool", Platform::Linux).await;
    // The name of the agent tells at the first check-in that the device does not run Windows.
    let reply = system.ocs(&prolog(1)).await;
    let announced = packs(&reply);
    assert_eq!(announced.len(), 1, "{reply}");
    assert!(announced[0].contains(&linux.id.to_string()), "{reply}");
    assert_eq!(counts(&system, windows.id).await, [1, 0, 1]);
    let id = device(1);
    assert_eq!(
        outcome(&system, &id, windows.id).await,
        Outcome::NotApplicable
    );
    let states = system.table.records.devices_of(windows.id).await.unwrap();
    assert_eq!(states[&id], DeploymentState::NotApplicable);

    // The inventory tells that the device does not run macOS.
    system.ocs(&inventory(1, &[])).await;
    let macos = for_all(&system, "app", Platform::Macos).await;
    // The function has cached the packages of the group for a minute.
    let later = NOW.plus(120);
    let reply = system.ocs_at(&prolog(1), later).await;
    assert!(!reply.contains(&macos.id.to_string()), "{reply}");
    assert_eq!(counts(&system, macos.id).await, [1, 0, 1]);
    // Nothing is left to do.
    system.operations();
    system.ocs_at(&prolog(1), later).await;
    assert_eq!(system.operations(), ["Query"]);
}

#[tokio::test]
async fn a_packcast_agent_of_another_system_is_not_told_and_does_not_fail() {
    let system = TestSystem::start().await;
    let windows = for_all(&system, "setup", Platform::Windows).await;
    let agent = Agent::new(1);
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.tasks, []);
    assert_eq!(counts(&system, windows.id).await, [1, 0, 1]);
    let id = agent.device();
    assert_eq!(
        outcome(&system, &id, windows.id).await,
        Outcome::NotApplicable
    );
}
