//! The cost of requests to the table.

use packcast_protocol::PackageId;
use packcast_store::records::{Announcing, Recorded, Reserved};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, reservation, result};

async fn reading_a_device_is_one_query_of_one_unit_for_any_number_of_results(service: Service) {
    let table = Table::start_on(service, 50).await;
    let (device, package) = (table.device(1).await, table.package_to_copy().await);
    table.finish(&device, &package).await;
    let ids = (1..1_000).map(|n| PackageId::try_from(1_500_000_000 + n).unwrap());
    table.copy(&package, ids).await;
    table.meter.take();
    let device_state = table.records.device_state(&device).await.unwrap();
    assert!(device_state.device.is_some() && device_state.tasks.is_empty());
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert_eq!((usage.read_units, usage.write_units), (1.0, 0.0));
    assert!(device_state.consumed_units <= 1.0, "{device_state:?}");
    let finished = table.records.finished_tasks(&device).await.unwrap();
    assert_eq!(finished.len(), 1_000);
}

async fn no_request_scans_the_table(service: Service) {
    let table = Table::start_on(service, 51).await;
    let device = table.device(1).await;
    let package = table.package("vlc", 5).await;
    table.finish(&device, &package).await;
    let records = &table.records;
    records.packages(200).await.unwrap();
    records.devices(200).await.unwrap();
    records.locations().await.unwrap();
    records.tally(package.id).await.unwrap();
    records.devices_of(package.id).await.unwrap();
    records.finished_tasks(&device).await.unwrap();
    assert!(table.meter.take().count("Query") > 0);
    assert_eq!(table.meter.scans(), 0);
}

async fn a_package_with_more_devices_than_one_page_is_listed_completely(service: Service) {
    let table = Table::start_on(service, 52).await;
    let package = table.package("vlc", 5).await;
    for number in 0..150 {
        let device = table.device(number).await;
        let assigned = table
            .records
            .assign(&device, &package, false, signing())
            .await;
        assigned.unwrap();
    }
    assert_eq!(table.records.devices(200).await.unwrap().len(), 150);
    let states = table.records.devices_of(package.id).await.unwrap();
    assert_eq!(states.len(), 150);
    assert_eq!(
        table.records.tally(package.id).await.unwrap().waiting(),
        150
    );
}

async fn devices_with_an_ocs_agent_are_found_without_the_others(service: Service) {
    let table = Table::start_on(service, 58).await;
    for number in 0..40 {
        table.agent(number).await;
    }
    assert!(!table.records.has_ocs_devices().await.unwrap());
    table.device(1).await;
    table.meter.take();
    assert!(table.records.has_ocs_devices().await.unwrap());
    let usage = table.meter.take();
    assert_eq!(usage.count("Query"), 16);
    assert!(usage.read_units <= 16.0, "{usage:?}");
}

async fn an_item_of_a_transaction_costs_two_units(service: Service) {
    let on_reference = matches!(service, Service::DynamoDbLocal { .. });
    let table = Table::start_on(service, 53).await;
    let reserved = table.records.reserve(&reservation("vlc", 5), NOW).await;
    assert!(matches!(reserved, Ok(Reserved::New(_))), "{reserved:?}");
    // AWS documents two units for each item of up to 1 KiB, and the reservation writes three items.
    // DynamoDB Local reports other write units: only its read units are comparable with AWS.
    let units = if on_reference { 4.0 } else { 6.0 };
    let usage = table.meter.take();
    let transactions = usage.count("TransactWriteItems");
    assert_eq!((transactions, usage.write_units), (1, units), "{usage:?}");
}

/// Runs through the life of a task, and returns the operations and read units of each step.
async fn life(service: Service) -> Vec<(&'static str, Vec<String>, f64)> {
    let table = Table::start_on(service, 54).await;
    let records = &table.records;
    let mut life = Vec::new();
    let mut note = |step| {
        let usage = table.meter.take();
        life.push((step, usage.operations, usage.read_units));
    };
    let device = table.device(1).await;
    note("check-in");
    let package = table.package("vlc", 5).await;
    note("package");
    records.device_state(&device).await.unwrap();
    note("device_state, idle");
    records
        .assign(&device, &package, false, signing())
        .await
        .unwrap();
    note("assign");
    let task = table.task(&device, package.id).await.unwrap();
    note("device_state, assigned");
    let tasks = [Announcing::direct(&task)];
    announce(records, &device, &tasks, NOW).await.unwrap();
    note("announce");
    let task = table.task(&device, package.id).await.unwrap();
    let success = result(&task, "SUCCESS");
    let recorded = records.record_result(&device, &task, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    note("report");
    records.tally(package.id).await.unwrap();
    records.devices_of(package.id).await.unwrap();
    records.packages(200).await.unwrap();
    note("status");
    life
}

#[tokio::test]
async fn the_engines_agree_on_operations_and_read_units() {
    let Some(reference) = Service::dynamodb_local() else {
        return;
    };
    let (embedded, reference) = (life(Service::Embedded).await, life(reference).await);
    for (one, other) in embedded.iter().zip(&reference) {
        assert_eq!((one.0, &one.1), (other.0, &other.1));
        // In a batch, AWS and the embedded engine count each requested item, whereas DynamoDB Local
        // counts only the items that it finds. It counts nothing for a query without a result, such
        // as the one for earlier versions of the package.
        if one.0 == "package" || one.1.iter().any(|it| it == "BatchGetItem") {
            assert!(one.2 > other.2, "{one:?} and {other:?}");
        } else {
            let difference = (one.2 - other.2).abs();
            assert!(difference < f64::EPSILON, "{one:?} and {other:?}");
        }
    }
    assert_eq!(embedded.len(), reference.len());
    let idle = ("device_state, idle", vec!["Query".to_owned()], 1.0);
    assert!(reference.contains(&idle), "{reference:#?}");
}

/// Compares the costs of OCS agents and Packcast agents. A change is one commit, and then all
/// records that follow from it: transactions, requests, read units, write units.
#[tokio::test]
async fn a_change_costs_the_same_for_both_kinds_of_agents() {
    let table = Table::start(55).await;
    let records = &table.records;
    let (ocs, packcast) = (table.device(1).await, table.agent(2).await);
    let package = table.package("vlc", 5).await;
    let lab = "lab".parse().unwrap();
    records.create_group(&lab, signing()).await.unwrap();
    table.meter.take();
    let cost = || {
        let usage = table.meter.take();
        let transactions = usage.count("TransactWriteItems");
        let requests = usage.operations.len();
        (transactions, requests, usage.read_units, usage.write_units)
    };
    let assigned = records.assign_group(&lab, &package, false, signing());
    assigned.await.unwrap();
    let mut costs = vec![("assign group", cost())];
    for device in [&ocs, &packcast] {
        records.join(device, &lab, signing()).await.unwrap();
        costs.push(("join", cost()));
    }
    for device in [&ocs, &packcast] {
        let assigned = records.assign(device, &package, false, signing());
        assigned.await.unwrap();
        costs.push(("assign", cost()));
    }
    let expected = [
        // Of these, 65 requests read and write the 64 copies of the revision.
        ("assign group", (2, 86, 82.0, 87.0)),
        ("join", (2, 21, 16.0, 21.0)),
        ("join", (2, 21, 18.0, 21.0)),
        ("assign", (2, 26, 25.0, 26.0)),
        ("assign", (2, 26, 22.0, 26.0)),
    ];
    assert_eq!(costs, expected);
}

packcast_testing::on_each_service! {
    reading_a_device_is_one_query_of_one_unit_for_any_number_of_results
    no_request_scans_the_table
    an_item_of_a_transaction_costs_two_units
    a_package_with_more_devices_than_one_page_is_listed_completely
    devices_with_an_ocs_agent_are_found_without_the_others
}
