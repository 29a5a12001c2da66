//! Enrolments with the token of a batch.

use futures_util::future::join_all;
use packcast_protocol::DeviceId;
use packcast_protocol::enrolment::{BatchId, EnrolmentBatch};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, device};

fn batch(number: u8, devices: u32) -> EnrolmentBatch {
    EnrolmentBatch::new(BatchId::new([number; 16]), devices, NOW).unwrap()
}

async fn a_batch_enrols_its_number_of_devices_even_at_once(service: Service) {
    let table = Table::start_on(service, 97).await;
    let (few, others) = (batch(1, 5), batch(2, 1));
    let devices: Vec<DeviceId> = (0..12).map(|number| device(number).device).collect();
    let enrol = |device| table.records.count_enrolment(&few, device);
    let counted = join_all(devices.iter().map(enrol)).await;
    let counted = counted
        .into_iter()
        .filter(|counted| *counted.as_ref().unwrap());
    assert_eq!(counted.count(), 5);
    let late = device(12).device;
    assert!(!enrol(&late).await.unwrap());
    let again = join_all(devices.iter().map(enrol)).await;
    let again = again
        .into_iter()
        .filter(|counted| *counted.as_ref().unwrap());
    assert_eq!(again.count(), 5, "a device counts once");
    let records = &table.records;
    assert!(records.count_enrolment(&others, &late).await.unwrap());
    assert!(records.count_enrolment(&others, &late).await.unwrap());
    let other = &devices[0];
    assert!(!records.count_enrolment(&others, other).await.unwrap());
}

packcast_testing::on_each_service! {
    a_batch_enrols_its_number_of_devices_even_at_once
}
