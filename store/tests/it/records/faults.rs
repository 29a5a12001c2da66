//! Announcements and reports while many requests to the service fail.

use futures_util::future::join_all;
use packcast_protocol::DeviceId;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::{OpenTask, PackageRecord, ReportDecision, ReportedBy, apply_report};
use packcast_store::Records;
use packcast_store::records::{Announcing, DeploymentState, Tally};
use packcast_testing::administrator::{Administrator as _, answered};
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, device, result};

const RATES: FaultRates = FaultRates {
    conflicts: 150,
    update_conflicts: 150,
    throttles: 50,
    lost_answers: 150,
    unprocessed: 0,
    index_lag: 500,
};

const DEVICES: u32 = 8;

async fn open(records: &Records, device: &DeviceId) -> Option<OpenTask> {
    let device_state = until_answered(async || records.device_state(device).await).await;
    device_state.tasks.into_iter().next()
}

async fn report(records: &Records, device: &DeviceId, package: &PackageRecord, code: &str) {
    let task = open(records, device).await;
    let done = until_answered(async || records.finished(device, package.id).await).await;
    if let ReportDecision::Record(task) =
        apply_report(task.as_ref(), done.as_ref(), ReportedBy::Ocs)
    {
        let finished = result(task, code);
        until_answered(async || records.record_result(device, task, &finished).await).await;
    }
}

/// Announces a task. Another device's change may complete the records of this device again, which
/// refuses the announcement under the leaf that was read.
async fn announce_once(records: &Records, device: &DeviceId, task: &OpenTask) {
    for _ in 0..100 {
        let tasks = [Announcing::direct(task)];
        let announced = until_answered(async || announce(records, device, &tasks, NOW).await).await;
        if announced.on_record == [task.package] {
            return;
        }
    }
    panic!("the announcement is refused each time");
}

/// Assigns once, announces twice and reports three times; the repeated reports have other results.
async fn deploy(records: &Records, device: &DeviceId, package: &PackageRecord, code: &str) {
    until_answered(async || answered(records.assign(device, package, false, signing()).await))
        .await;
    let task = open(records, device)
        .await
        .expect("the package is assigned");
    for _ in 0..2 {
        announce_once(records, device, &task).await;
    }
    report(records, device, package, code).await;
    tokio::join!(
        report(records, device, package, "SUCCESS_"),
        report(records, device, package, "ERR_CLEAN"),
    );
}

/// Runs the attempts of a device: odd numbers fail first, and three of four succeed.
async fn live(records: &Records, number: u32, package: &PackageRecord) {
    let device = device(number).device;
    if number % 2 == 1 {
        deploy(records, &device, package, "ERR_EXECUTE").await;
    }
    if number % 4 != 3 {
        deploy(records, &device, package, "SUCCESS_0").await;
    }
}

async fn the_tally_is_correct_whatever_fails(service: Service) {
    for seed in 1..=5 {
        let table = Table::start_on(service.clone(), seed).await;
        let package = table.package("vlc", 5).await;
        for number in 0..DEVICES {
            table.device(number).await;
        }
        table.faults.set_rates(RATES);
        join_all((0..DEVICES).map(|number| live(&table.records, number, &package))).await;
        let injected = table.faults.injected();
        assert!(
            injected.conflicts > 0 && injected.throttles > 0 && injected.lost_answers > 0,
            "seed {seed}: {injected:?}"
        );
        table.faults.set_rates(FaultRates::default());
        // Devices 3 and 7 have only failed.
        let expected = Tally {
            assigned: 8,
            announced: 0,
            succeeded: 6,
            failed: 2,
            cancelled: 0,
            not_applicable: 0,
            withdrawn: 0,
        };
        let tally = table.records.tally(package.id).await.unwrap();
        assert_eq!(tally, expected, "seed {seed}");
        for number in 0..DEVICES {
            let (device, id) = (device(number).device, package.id);
            let done = table.records.finished(&device, id).await.unwrap().unwrap();
            let attempt = if number % 4 == 1 { 2 } else { 1 };
            assert_eq!(done.attempt, attempt, "seed {seed}, device {number}");
        }
    }
}

async fn a_lost_answer_neither_writes_nor_counts_twice(service: Service) {
    let table = Table::start_on(service, 60).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let once = FaultRates {
        lost_answers: 400,
        ..FaultRates::default()
    };
    table.faults.set_rates(once);
    let records = &table.records;
    // The answer to the first attempt may be lost; the next attempt then finds the task.
    let assigned = until_answered(async || {
        answered(records.assign(&device, &package, false, signing()).await)
    })
    .await;
    assert!(matches!(
        assigned,
        AssignOutcome::New { attempt: 1 } | AssignOutcome::AlreadyOpen { attempt: 1 }
    ));
    let task = open(records, &device).await.unwrap();
    until_answered(async || announce(records, &device, &[Announcing::direct(&task)], NOW).await)
        .await;
    let task = open(records, &device).await.unwrap();
    let success = result(&task, "SUCCESS");
    until_answered(async || records.record_result(&device, &task, &success).await).await;
    assert!(table.faults.injected().lost_answers > 0);
    table.faults.set_rates(FaultRates::default());
    let tally = records.tally(package.id).await.unwrap();
    assert_eq!(
        (tally.assigned, tally.announced, tally.succeeded),
        (1, 0, 1)
    );
}

async fn a_lagging_index_shows_old_states_and_affects_no_decision(service: Service) {
    let table = Table::start_on(service, 61).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let records = &table.records;
    records
        .assign(&device, &package, false, signing())
        .await
        .unwrap();
    let states = || records.devices_of(package.id);
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Pending);
    table.faults.set_rates(FaultRates {
        index_lag: 1000,
        ..FaultRates::default()
    });
    let task = open(records, &device).await.unwrap();
    let announced = announce(records, &device, &[Announcing::direct(&task)], NOW)
        .await
        .unwrap();
    assert_eq!(announced.on_record, [package.id]);
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Pending);
    assert!(table.faults.injected().index_lag > 0);
    let again = records.assign(&device, &package, false, signing()).await;
    assert_eq!(again.unwrap(), AssignOutcome::AlreadyOpen { attempt: 1 });
}

packcast_testing::on_each_service! {
    the_tally_is_correct_whatever_fails
    a_lost_answer_neither_writes_nor_counts_twice
    a_lagging_index_shows_old_states_and_affects_no_decision
}
