//! Device commands for OCS agents: the replies, and the tasks afterwards.

use packcast_protocol::{DeviceId, Outcome, PackageId, UnixTime};
use packcast_rollout::command::PATIENCE_S;
use packcast_rollout::{DeviceCommand, DeviceCommands, PackageRecord, TaskState};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia};

use crate::system::{TestSystem, announced, attribute, download, inventory, prolog};

/// Returns a device with an OCS agent, to which a package was announced.
async fn device_with_task(system: &TestSystem) -> (DeviceId, PackageRecord) {
    let device = system.settled_device(1).await;
    let package = system.table.package("stuck", 5).await;
    system.assign(&device, &package, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    (device, package)
}

async fn give(system: &TestSystem, device: &DeviceId, command: DeviceCommand) {
    let given = system
        .table
        .records
        .command_device(device, command, &mia())
        .await;
    given.expect("a device can be given a command");
}

async fn open_commands(system: &TestSystem, device: &DeviceId) -> DeviceCommands {
    let device_state = system.table.records.device_state(device).await;
    device_state.expect("a device can be read").commands
}

async fn withdraw(system: &TestSystem, device: &DeviceId, package: &PackageRecord) {
    let records = &system.table.records;
    let unassigned = records.unassign(device, package, signing()).await;
    unassigned.expect("a package can be unassigned");
    let task = system
        .table
        .task(device, package.id)
        .await
        .expect("the task is open");
    assert!(matches!(task.state, TaskState::Withdrawn { .. }));
}

/// Sends a PROLOG and returns ON and TIMEOUT, whether an inventory is asked for, and the
/// packages.
async fn check_in(system: &TestSystem, at: UnixTime) -> (String, bool, Vec<PackageId>) {
    let reply = system.ocs_at(&prolog(1), at).await;
    let conf = reply.lines().find(|line| line.contains("TYPE=\"CONF\""));
    let conf = conf.expect("a reply has a configuration");
    let value = |name| attribute(conf, name).expect("the configuration has every value");
    let conf = format!("ON={} TIMEOUT={}", value("ON"), value("TIMEOUT"));
    let asks = reply.contains("<RESPONSE>SEND</RESPONSE>");
    (conf, asks, announced(&reply))
}

fn work(packages: &[PackageId]) -> (String, bool, Vec<PackageId>) {
    ("ON=1 TIMEOUT=30".to_owned(), false, packages.to_vec())
}

fn drop_all(asks: bool) -> (String, bool, Vec<PackageId>) {
    ("ON=1 TIMEOUT=0".to_owned(), asks, Vec::new())
}

fn stop() -> (String, bool, Vec<PackageId>) {
    ("ON=0 TIMEOUT=30".to_owned(), true, Vec::new())
}

#[tokio::test]
pub(crate) async fn a_stopped_agent_resumes_at_its_next_check_in() {
    let system = TestSystem::start().await;
    let (device, package) = device_with_task(&system).await;
    give(&system, &device, DeviceCommand::RestartDownload).await;
    assert_eq!(check_in(&system, NOW).await, stop());
    assert_eq!(system.ocs(&inventory(1, &[])).await, "");
    assert_eq!(
        open_commands(&system, &device).await,
        DeviceCommands::default()
    );
    assert_eq!(check_in(&system, NOW).await, work(&[package.id]));
    assert_ne!(system.ocs(&inventory(1, &[])).await, "");
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
}

#[tokio::test]
async fn an_agent_is_stopped_once_even_if_its_inventory_is_lost() {
    let system = TestSystem::start().await;
    let (device, package) = device_with_task(&system).await;
    give(&system, &device, DeviceCommand::RestartDownload).await;
    assert_eq!(check_in(&system, NOW).await, stop());
    assert_eq!(check_in(&system, NOW).await, work(&[package.id]));
    assert_eq!(
        open_commands(&system, &device).await,
        DeviceCommands::default()
    );
}

#[tokio::test]
async fn a_drop_cancels_withdrawn_tasks_and_announces_the_others_again() {
    let system = TestSystem::start().await;
    let (device, stuck) = device_with_task(&system).await;
    let wanted = system.table.package("wanted", 5).await;
    system.assign(&device, &wanted, false).await;
    check_in(&system, NOW).await;
    withdraw(&system, &device, &stuck).await;
    give(&system, &device, DeviceCommand::Drop).await;
    let next = system.table.package("next", 5).await;
    system.assign(&device, &next, false).await;

    assert_eq!(check_in(&system, NOW).await, drop_all(true));
    assert_ne!(system.ocs(&inventory(1, &[])).await, "");
    for package in [stuck.id, wanted.id, wanted.id] {
        system.ocs(&download(1, package, "ERR_TIMEOUT")).await;
    }
    let finished = system.table.records.finished(&device, stuck.id).await;
    let finished = finished.unwrap().unwrap();
    assert_eq!(finished.code.to_string(), "ERR_TIMEOUT");
    assert_eq!(finished.outcome, Outcome::Cancelled);
    let tally = system.table.records.tally(stuck.id).await.unwrap();
    assert_eq!((tally.cancelled, tally.failed, tally.announced), (1, 0, 0));
    let held = system.table.task(&device, wanted.id).await.unwrap();
    assert_eq!((held.state, held.attempt), (TaskState::Pending, 1));
    assert_eq!(system.counts(wanted.id).await, [0, 0, 0]);

    assert_eq!(check_in(&system, NOW).await, work(&[wanted.id, next.id]));
    assert_eq!(
        open_commands(&system, &device).await,
        DeviceCommands::default()
    );
    // From here on, a timeout is a failure.
    system.ocs(&download(1, wanted.id, "ERR_TIMEOUT")).await;
    assert_eq!(system.counts(wanted.id).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_result_that_comes_while_dropping_counts() {
    let system = TestSystem::start().await;
    let (device, package) = device_with_task(&system).await;
    give(&system, &device, DeviceCommand::Drop).await;
    check_in(&system, NOW).await;
    system.ocs(&download(1, package.id, "SUCCESS_0")).await;
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
    assert_eq!(check_in(&system, NOW).await, work(&[]));
}

#[tokio::test]
async fn a_deployed_package_is_found_before_its_task_is_dropped() {
    let system = TestSystem::start().await;
    let (device, package) = device_with_task(&system).await;
    withdraw(&system, &device, &package).await;
    give(&system, &device, DeviceCommand::Drop).await;
    assert_eq!(check_in(&system, NOW).await, drop_all(true));
    system.ocs(&inventory(1, &[package.id])).await;
    system.ocs(&download(1, package.id, "ERR_TIMEOUT")).await;
    let code = system.code(&device, package.id).await;
    assert_eq!(code.as_deref(), Some("SUCCESS_ALREADY_IN_HISTORY"));
}

#[tokio::test]
async fn withdrawn_tasks_are_not_announced_after_a_drop_without_report() {
    let system = TestSystem::start().await;
    let (device, stuck) = device_with_task(&system).await;
    withdraw(&system, &device, &stuck).await;
    let next = system.table.package("next", 5).await;
    system.assign(&device, &next, false).await;
    give(&system, &device, DeviceCommand::Drop).await;
    assert_eq!(check_in(&system, NOW).await, drop_all(true));
    let soon = NOW.plus(PATIENCE_S - 1);
    assert_eq!(check_in(&system, soon).await, drop_all(false));
    for late in [0, 60] {
        let late = NOW.plus(PATIENCE_S + late);
        assert_eq!(check_in(&system, late).await, work(&[next.id]));
    }
    // The report may still arrive.
    system.ocs(&download(1, stuck.id, "ERR_TIMEOUT")).await;
    let tally = system.table.records.tally(stuck.id).await.unwrap();
    assert_eq!((tally.cancelled, tally.failed), (1, 0));
    check_in(&system, NOW.plus(PATIENCE_S + 120)).await;
    assert_eq!(
        open_commands(&system, &device).await,
        DeviceCommands::default()
    );
}

#[tokio::test]
async fn a_timeout_without_a_command_is_a_failure() {
    let system = TestSystem::start().await;
    let (device, package) = device_with_task(&system).await;
    give(&system, &device, DeviceCommand::Drop).await;
    // The command has not reached the device yet.
    system.ocs(&download(1, package.id, "ERR_TIMEOUT")).await;
    assert_eq!(system.counts(package.id).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_command_that_was_carried_out_costs_nothing() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    give(&system, &device, DeviceCommand::Drop).await;
    check_in(&system, NOW).await;
    system.ocs(&inventory(1, &[])).await;
    check_in(&system, NOW).await;
    system.operations();
    assert_eq!(check_in(&system, NOW).await, work(&[]));
    assert_eq!(system.operations(), ["Query"]);
}
