//! Records of packages, devices and locations in the table.

mod assign;
mod batch;
mod commands;
mod copies;
mod cost;
mod events;
mod exclusion;
mod faults;
mod groups;
mod host_names;
mod import;
mod pacing;
mod projections;
mod report;
mod rollout;
mod state;

use futures_util::future::join_all;
use packcast_protocol::ocs::Inventory;
use packcast_protocol::{PackageId, Sha256Digest, UnixTime};
use packcast_rollout::LocationRecord;
use packcast_store::RecordsError;
use packcast_store::records::{
    ActivateError, MAX_AHEAD_S, PublishError, Reservation, ReserveError, Reserved, TableFault,
};
use packcast_testing::fault::{FakeFaults, FaultRates};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, connect, device, location, mia, published, reservation};

async fn of_many_reservations_of_one_name_exactly_one_is_new(service: Service) {
    let table = Table::start_on(service, 1).await;
    let one = reservation("vlc", 5);
    let reserved = join_all((0..8).map(|_| table.records.reserve(&one, NOW))).await;
    let mut new = 0;
    let mut ids = Vec::new();
    for reserved in reserved {
        match reserved.unwrap() {
            Reserved::New(package) => {
                new += 1;
                ids.push(package.id);
            }
            Reserved::Resumed(package) => ids.push(package.id),
        }
    }
    ids.dedup();
    assert_eq!((new, ids.len()), (1, 1));
}

async fn packages_reserved_in_the_same_second_get_consecutive_ids(service: Service) {
    let table = Table::start_on(service, 2).await;
    let names = ["a", "b", "c", "d"].map(|name| reservation(name, 5));
    let reserved = join_all(names.iter().map(|one| table.records.reserve(one, NOW))).await;
    assert!(
        reserved
            .iter()
            .all(|one| matches!(one, Ok(Reserved::New(_))))
    );
    let packages = table.records.packages(200).await.unwrap();
    let ids: Vec<u32> = packages.iter().map(|package| package.id.get()).collect();
    let first = u32::try_from(NOW.0).unwrap();
    assert_eq!(ids, [first, first + 1, first + 2, first + 3]);
}

/// Returns another version of a package.
fn version(name: &str, version: &str) -> Reservation {
    let content = Sha256Digest::of(version.as_bytes());
    Reservation {
        version: version.parse().unwrap(),
        content,
        ..reservation(name, 5)
    }
}

async fn a_version_has_a_later_id_than_every_earlier_one_whatever_the_clocks_said(
    service: Service,
) {
    let table = Table::start_on(service, 14).await;
    let reserve = async |name: &str, text: &str, at: UnixTime| {
        let reserved = table.records.reserve(&version(name, text), at).await;
        reserved.map(|reserved| match reserved {
            Reserved::New(package) | Reserved::Resumed(package) => package.id,
        })
    };
    // The clock of the first publisher is five minutes fast.
    let first = reserve("vlc", "1", NOW.plus(300)).await.unwrap();
    let second = reserve("vlc", "2", NOW).await.unwrap();
    assert_eq!(second, first.next().unwrap());
    // A deleted version counts, because devices may have deployed it.
    table.records.delete(second, &mia()).await.unwrap();
    let third = reserve("vlc", "3", NOW).await.unwrap();
    assert_eq!(third, second.next().unwrap());
    // A resumed publication keeps its id.
    assert_eq!(reserve("vlc", "1", NOW).await.unwrap(), first);
    // The names of other packages do not matter, also not those that begin with the name.
    let other = reserve("vl", "1", NOW).await.unwrap();
    assert_eq!(UnixTime(other.get().into()), NOW);

    let far = reserve("far", "1", NOW.plus(MAX_AHEAD_S)).await.unwrap();
    match reserve("far", "2", NOW).await {
        Err(ReserveError::LaterVersion { latest, .. }) => assert_eq!(latest, far),
        unexpected => panic!("{unexpected:?}"),
    }
}

async fn equal_content_resumes_and_different_content_conflicts(service: Service) {
    let table = Table::start_on(service, 3).await;
    let first = table.package("vlc", 5).await;
    let later = NOW.plus(60);
    let again = table.records.reserve(&reservation("vlc", 5), later).await;
    assert_eq!(again.unwrap(), Reserved::Resumed(first.clone()));
    let mut other = reservation("vlc", 5);
    other.content = Sha256Digest::of(b"other");
    match table.records.reserve(&other, later).await {
        Err(ReserveError::Conflict { existing }) => assert_eq!(*existing, first),
        unexpected => panic!("{unexpected:?}"),
    }
}

async fn an_error_names_a_clock_out_of_range(service: Service) {
    let table = Table::start_on(service, 4).await;
    let reserved = table
        .records
        .reserve(&reservation("vlc", 5), UnixTime(7))
        .await;
    let error = reserved.unwrap_err();
    assert!(matches!(error, ReserveError::Clock { now: UnixTime(7) }));
}

async fn a_package_is_published_once_and_activated_only_afterwards(service: Service) {
    let table = Table::start_on(service, 5).await;
    let Ok(Reserved::New(draft)) = table.records.reserve(&reservation("vlc", 5), NOW).await else {
        panic!("the first reservation is new");
    };
    let (id, records) = (draft.id, &table.records);
    let early = records.activate(id, &[location()], &mia()).await;
    assert!(matches!(early, Err(ActivateError::NotPublished { .. })));

    let value = published(id);
    let first = records.publish(id, &value, &mia()).await.unwrap();
    let mut later = value.clone();
    later.published_at = NOW.plus(9);
    assert_eq!(records.publish(id, &later, &mia()).await.unwrap(), first);
    later.manifest = Sha256Digest::of(b"other");
    let other = records.publish(id, &later, &mia()).await;
    assert!(matches!(other, Err(PublishError::Conflict { .. })));

    let active = records.activate(id, &[location()], &mia()).await.unwrap();
    assert!(active.active && active.published() == Some(&value));
    assert_eq!(records.package(id).await.unwrap(), Some(active.clone()));
    let halted = records.deactivate(id, &mia()).await.unwrap();
    assert!(!halted.active && halted.locations == active.locations);

    let named = "vlc@1.0".parse().unwrap();
    assert_eq!(records.find(&named).await.unwrap(), Some(halted));
}

async fn missing_records_are_reported_as_missing(service: Service) {
    let table = Table::start_on(service, 6).await;
    let (records, id) = (&table.records, PackageId::at(NOW).unwrap());
    let unknown = device(1).device;
    assert_eq!(records.package(id).await.unwrap(), None);
    assert_eq!(
        records.find(&"vlc@1.0".parse().unwrap()).await.unwrap(),
        None
    );
    let publish = records.publish(id, &published(id), &mia()).await;
    assert!(matches!(publish, Err(PublishError::NoPackage { .. })));
    let activate = records.activate(id, &[location()], &mia()).await;
    assert!(matches!(activate, Err(ActivateError::NoPackage { .. })));
    let deactivate = records.deactivate(id, &mia()).await;
    assert!(matches!(deactivate, Err(ActivateError::NoPackage { .. })));
    assert_eq!(records.finished(&unknown, id).await.unwrap(), None);
    assert_eq!(records.device_state(&unknown).await.unwrap().device, None);
    assert!(records.history(&unknown).await.unwrap().is_empty());
    assert!(records.packages_of(&[id]).await.unwrap().is_empty());
}

async fn concurrent_first_check_ins_create_one_device(service: Service) {
    let table = Table::start_on(service, 7).await;
    let record = device(1);
    for written in join_all((0..6).map(|_| table.records.write_check_in(&record, None))).await {
        written.unwrap();
    }
    assert_eq!(table.records.devices(200).await.unwrap(), [(record, None)]);
}

async fn a_check_in_keeps_the_fields_that_it_does_not_contain(service: Service) {
    let table = Table::start_on(service, 8).await;
    let mut record = device(1);
    record.inventory_received = Some(NOW);
    table.records.write_check_in(&record, None).await.unwrap();
    let mut later = device(1);
    later.first_seen = NOW.plus(50);
    later.last_seen = NOW.plus(50);
    later.inventory_asked = Some(NOW.plus(50));
    let known = Some(&record);
    table.records.write_check_in(&later, known).await.unwrap();
    let read = table
        .records
        .device_state(&record.device)
        .await
        .unwrap()
        .device;
    later.first_seen = NOW;
    later.inventory_received = Some(NOW);
    assert_eq!(read, Some(later));
}

async fn the_time_at_which_a_device_was_seen_is_only_raised(service: Service) {
    let table = Table::start_on(service, 15).await;
    let known = table.device(1).await;
    let records = &table.records;
    for (at, expected) in [(50, 50), (20, 50), (50, 50), (60, 60)] {
        records.mark_seen(&known, NOW.plus(at)).await.unwrap();
        let device_state = records.device_state(&known).await.unwrap();
        let last_seen = device_state.device.unwrap().last_seen;
        assert_eq!(last_seen, NOW.plus(expected));
    }
    // A device that is unknown stays unknown.
    let unknown = device(2).device;
    records.mark_seen(&unknown, NOW).await.unwrap();
    let device_state = records.device_state(&unknown).await.unwrap();
    assert_eq!(device_state.device, None);
}

async fn devices_are_listed_by_id(service: Service) {
    let table = Table::start_on(service, 9).await;
    for number in [30, 4, 200, 1] {
        table.device(number).await;
    }
    let devices = table.records.devices(200).await.unwrap();
    let names: Vec<&str> = devices
        .iter()
        .map(|(device, _)| device.host_name.as_str())
        .collect();
    assert_eq!(names, ["pc1", "pc200", "pc30", "pc4"]);
}

async fn a_history_is_written_only_when_it_changed(service: Service) {
    let table = Table::start_on(service, 10).await;
    let device = table.device(1).await;
    let ids = [3, 1, 2].map(|n| PackageId::try_from(1_790_000_000 + n).unwrap());
    let (records, sorted) = (&table.records, [ids[1], ids[2], ids[0]]);
    assert!(records.write_history(&device, &ids, NOW).await.unwrap());
    table.meter.take();
    assert!(!records.write_history(&device, &sorted, NOW).await.unwrap());
    assert_eq!(table.meter.take().operations, ["GetItem"]);
    assert_eq!(records.history(&device).await.unwrap(), sorted);
    // The newest ones stay of more packages than an inventory can have.
    let id = |n: usize| PackageId::try_from(1_790_000_000 + u32::try_from(n).unwrap()).unwrap();
    let many: Vec<PackageId> = (0..=Inventory::MAX_HISTORY).map(id).collect();
    assert!(records.write_history(&device, &many, NOW).await.unwrap());
    assert_eq!(records.history(&device).await.unwrap(), many[1..]);
    assert!(records.write_history(&device, &[], NOW).await.unwrap());
    assert!(records.history(&device).await.unwrap().is_empty());
}

async fn a_location_with_a_known_name_is_replaced(service: Service) {
    let table = Table::start_on(service, 11).await;
    let (records, first) = (&table.records, location());
    let second = LocationRecord {
        location: "cdn.example.net:8443/ocs".parse().unwrap(),
        ..first.clone()
    };
    assert_eq!(records.add_location(&first).await.unwrap(), None);
    assert_eq!(
        records.add_location(&second).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(
        records.locations().await.unwrap(),
        std::slice::from_ref(&second)
    );
}

async fn an_existing_table_is_left_as_it_is(service: Service) {
    let table = Table::start_on(service, 12).await;
    let device = table.device(1).await;
    table.records.create_table().await.unwrap();
    let device_state = table.records.device_state(&device).await.unwrap();
    assert!(device_state.device.is_some());
}

async fn a_missing_table_and_an_unreachable_service_are_distinguished(service: Service) {
    let table = Table::start_on(service, 13).await;
    let faults = FakeFaults::new(13, FaultRates::default());
    let nowhere = connect(&table.endpoint, &faults, "nowhere").await;
    let error = nowhere.locations().await.unwrap_err();
    assert!(
        matches!(&error, RecordsError::Table { table, fault: TableFault::Missing, .. }
            if table == "nowhere"),
        "{error:?}"
    );
    assert!(!error.is_retryable());
    // Nothing listens on port 1.
    let dead = connect("http://127.0.0.1:1", &faults, "nowhere").await;
    let error = dead.locations().await.unwrap_err();
    assert!(
        matches!(&error, RecordsError::Table { endpoint, fault: TableFault::Unreachable, .. }
            if endpoint == "http://127.0.0.1:1"),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

packcast_testing::on_each_service! {
    of_many_reservations_of_one_name_exactly_one_is_new
    packages_reserved_in_the_same_second_get_consecutive_ids
    a_version_has_a_later_id_than_every_earlier_one_whatever_the_clocks_said
    equal_content_resumes_and_different_content_conflicts
    an_error_names_a_clock_out_of_range
    a_package_is_published_once_and_activated_only_afterwards
    missing_records_are_reported_as_missing
    concurrent_first_check_ins_create_one_device
    a_check_in_keeps_the_fields_that_it_does_not_contain
    the_time_at_which_a_device_was_seen_is_only_raised
    devices_are_listed_by_id
    a_history_is_written_only_when_it_changed
    a_location_with_a_known_name_is_replaced
    an_existing_table_is_left_as_it_is
    a_missing_table_and_an_unreachable_service_are_distinguished
}
