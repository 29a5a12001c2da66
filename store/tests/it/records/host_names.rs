//! Lookup of devices by their current host names.

use std::slice;

use futures_util::future::join_all;
use packcast_protocol::DeviceId;
use packcast_rollout::DeviceRecord;
use packcast_testing::service::Service;
use packcast_testing::table::{Table, device};

fn called(number: u32, host_name: &str) -> DeviceRecord {
    DeviceRecord {
        host_name: host_name.to_owned(),
        ..device(number)
    }
}

async fn named(table: &Table, host_name: &str) -> Vec<DeviceId> {
    table.records.devices_named(host_name).await.unwrap()
}

async fn a_device_is_found_by_its_host_name_in_any_case(service: Service) {
    let table = Table::start_on(service, 20).await;
    let record = called(1, "Reception-PC");
    table.records.write_check_in(&record, None).await.unwrap();
    for name in ["Reception-PC", "reception-pc", "RECEPTION-PC"] {
        assert_eq!(named(&table, name).await, slice::from_ref(&record.device));
    }
    assert!(named(&table, "reception").await.is_empty());
}

async fn a_renamed_device_is_not_found_by_its_old_name(service: Service) {
    let table = Table::start_on(service, 21).await;
    let (old, new) = (called(1, "old"), called(1, "new"));
    let records = &table.records;
    records.write_check_in(&old, None).await.unwrap();
    records.write_check_in(&new, Some(&old)).await.unwrap();
    assert!(named(&table, "old").await.is_empty());
    assert_eq!(named(&table, "new").await, slice::from_ref(&new.device));

    let recased = called(1, "NEW");
    records.write_check_in(&recased, Some(&new)).await.unwrap();
    assert_eq!(named(&table, "new").await, slice::from_ref(&new.device));
    let device_state = records.device_state(&new.device).await.unwrap();
    assert_eq!(device_state.device.unwrap().host_name, "NEW");
}

async fn concurrent_renames_leave_one_name(service: Service) {
    let table = Table::start_on(service, 22).await;
    let names = ["a", "b", "c", "d"];
    let first = called(1, "first");
    table.records.write_check_in(&first, None).await.unwrap();
    let renamed = names.map(|name| called(1, name));
    let writes = renamed
        .iter()
        .map(|record| table.records.write_check_in(record, Some(&first)));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let device_state = table.records.device_state(&first.device).await.unwrap();
    let last = device_state.device.unwrap().host_name;
    for name in names.into_iter().chain(["first"]) {
        let expected: &[DeviceId] = if name == last {
            slice::from_ref(&first.device)
        } else {
            &[]
        };
        assert_eq!(named(&table, name).await, expected, "{name}");
    }
}

async fn devices_of_the_same_name_are_listed_up_to_one_more_than_is_shown(service: Service) {
    let table = Table::start_on(service, 23).await;
    for number in 10..30 {
        let record = called(number, "localhost");
        table.records.write_check_in(&record, None).await.unwrap();
    }
    let found = named(&table, "localhost").await;
    let expected: Vec<DeviceId> = (10..21).map(|number| device(number).device).collect();
    assert_eq!(found, expected);
}

async fn a_device_without_a_host_name_has_no_entry(service: Service) {
    let table = Table::start_on(service, 24).await;
    let (nameless, named_later) = (called(1, ""), called(1, "pc"));
    let records = &table.records;
    records.write_check_in(&nameless, None).await.unwrap();
    assert!(named(&table, "").await.is_empty());
    let known = Some(&nameless);
    records.write_check_in(&named_later, known).await.unwrap();
    assert_eq!(named(&table, "pc").await, slice::from_ref(&nameless.device));
    let known = Some(&named_later);
    records.write_check_in(&nameless, known).await.unwrap();
    assert!(named(&table, "pc").await.is_empty());
}

async fn looking_up_a_host_name_is_one_query(service: Service) {
    let table = Table::start_on(service, 25).await;
    let record = called(1, "pc");
    table.records.write_check_in(&record, None).await.unwrap();
    table.meter.take();
    named(&table, "pc").await;
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
}

packcast_testing::on_each_service! {
    a_device_is_found_by_its_host_name_in_any_case
    a_renamed_device_is_not_found_by_its_old_name
    concurrent_renames_leave_one_name
    devices_of_the_same_name_are_listed_up_to_one_more_than_is_shown
    a_device_without_a_host_name_has_no_entry
    looking_up_a_host_name_is_one_query
}
