//! Enrolments with the token of a batch.

use futures_util::future::join_all;
use packcast_protocol::enrolment::{BatchId, EnrolmentBatch};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table};

fn batch(number: u8, devices: u32) -> EnrolmentBatch {
    EnrolmentBatch::new(BatchId::new([number; 16]), devices, NOW).unwrap()
}

async fn a_batch_enrols_its_number_of_devices_even_at_once(service: Service) {
    let table = Table::start_on(service, 97).await;
    let (few, others) = (batch(1, 5), batch(2, 1));
    let counted = join_all((0..12).map(|_| table.records.count_enrolment(&few))).await;
    let counted = counted
        .into_iter()
        .filter(|counted| *counted.as_ref().unwrap());
    assert_eq!(counted.count(), 5);
    assert!(!table.records.count_enrolment(&few).await.unwrap());
    assert!(table.records.count_enrolment(&others).await.unwrap());
    assert!(!table.records.count_enrolment(&others).await.unwrap());
}

packcast_testing::on_each_service! {
    a_batch_enrols_its_number_of_devices_even_at_once
}
