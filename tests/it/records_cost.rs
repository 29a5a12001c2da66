//! What questions cost.

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::{OpenTask, PackageRecord, TaskState};
use packcast_store::records::Recorded;
use packcast_tests::table::{NOW, Table, result};

/// Writes down that a device has a package already, which ends its task at once.
async fn finish(table: &Table, device: &DeviceId, package: &PackageRecord) {
    let records = &table.records;
    records.assign(device, package, false, NOW).await.unwrap();
    let task = OpenTask {
        package: package.id,
        priority: package.priority,
        attempt: 1,
        state: TaskState::Held,
        force: false,
        direct: true,
        assigned_at: NOW,
    };
    let success = result(&task, "SUCCESS_ALREADY_IN_HISTORY");
    let recorded = records.record_result(device, &task, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
}

#[tokio::test]
async fn an_idle_check_in_is_one_query_of_one_unit_whatever_was_finished() {
    let table = Table::start(50).await;
    let device = table.device(1).await;
    let package = table.package("vlc", 5).await;
    for number in 1..=1_000 {
        let id = PackageId::try_from(1_500_000_000 + number).unwrap();
        finish(
            &table,
            &device,
            &PackageRecord {
                id,
                ..package.clone()
            },
        )
        .await;
    }
    table.faults.take_operations();
    let standing = table.records.standing(&device).await.unwrap();
    assert!(standing.device.is_some() && standing.tasks.is_empty());
    let (operations, units) = table.faults.take_operations();
    assert_eq!(operations, ["Query"]);
    assert!(units <= 1.0 && units > 0.0, "{units}");
    assert!(standing.consumed_units <= 1.0, "{standing:?}");
    let finished = table.records.finished_tasks(&device).await.unwrap();
    assert_eq!(finished.len(), 1_000);
}

#[tokio::test]
async fn no_question_scans() {
    let table = Table::start(51).await;
    let device = table.device(1).await;
    let package = table.package("vlc", 5).await;
    finish(&table, &device, &package).await;
    let records = &table.records;
    records.packages().await.unwrap();
    records.devices().await.unwrap();
    records.locations().await.unwrap();
    records.tally(package.id).await.unwrap();
    records.devices_of(package.id).await.unwrap();
    records.finished_tasks(&device).await.unwrap();
    let (operations, _) = table.faults.take_operations();
    assert!(operations.iter().any(|name| name == "Query"));
    assert!(!operations.iter().any(|name| name.contains("Scan")));
}

#[tokio::test]
async fn a_package_with_more_devices_than_a_page_is_listed_whole() {
    let table = Table::start(52).await;
    let package = table.package("vlc", 5).await;
    for number in 0..150 {
        let device = table.device(number).await;
        let assigned = table.records.assign(&device, &package, false, NOW).await;
        assigned.unwrap();
    }
    assert_eq!(table.records.devices().await.unwrap().len(), 150);
    let states = table.records.devices_of(package.id).await.unwrap();
    assert_eq!(states.len(), 150);
    assert_eq!(
        table.records.tally(package.id).await.unwrap().waiting(),
        150
    );
}
