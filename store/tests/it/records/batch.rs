//! Enrolments with the token of a batch.

use futures_util::future::join_all;
use packcast_protocol::DeviceId;
use packcast_protocol::enrolment::{BatchId, EnrolmentBatch};
use packcast_rollout::{EventTime, UnsignedChange};
use packcast_store::RecordsError;
use packcast_store::records::{BatchRecord, Enrolment};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, device, mia};

fn batch(number: u8, devices: u32) -> EnrolmentBatch {
    EnrolmentBatch::new(BatchId::new(None, [number; 16]), devices, NOW).unwrap()
}

async fn a_batch_enrols_its_number_of_devices_even_at_once(service: Service) {
    let table = Table::start_on(service, 97).await;
    let (few, others) = (batch(1, 5), batch(2, 1));
    let devices: Vec<DeviceId> = (0..12).map(|number| device(number).device).collect();
    let enrol = |device| table.records.count_enrolment(&few, device);
    let counted = join_all(devices.iter().map(enrol)).await;
    assert_eq!(count(counted), 5);
    let late = device(12).device;
    assert_eq!(enrol(&late).await.unwrap(), Enrolment::Full);
    let again = join_all(devices.iter().map(enrol)).await;
    assert_eq!(count(again), 5, "a device counts once");
    let records = &table.records;
    for (device, expected) in [
        (&late, Enrolment::Counted),
        (&late, Enrolment::Counted),
        (&devices[0], Enrolment::Full),
    ] {
        let counted = records.count_enrolment(&others, device).await;
        assert_eq!(counted.unwrap(), expected);
    }
    let expected = [(&few, 5), (&others, 1)].map(|(batch, enrolled)| BatchRecord {
        batch: batch.id().clone(),
        enrolled,
        limit: Some(batch.devices()),
        expires: Some(NOW),
        revoked: None,
    });
    assert_eq!(records.batches().await.unwrap(), expected);
}

fn count(counted: Vec<Result<Enrolment, RecordsError>>) -> usize {
    let counted = counted.into_iter().map(Result::unwrap);
    counted.filter(|it| *it == Enrolment::Counted).count()
}

async fn a_revoked_batch_enrols_no_device_whether_it_was_used_or_not(service: Service) {
    let table = Table::start_on(service, 98).await;
    let records = &table.records;
    let (used, unused) = (batch(1, 5), batch(2, 5));
    let [one, other] = [1, 2].map(|number| device(number).device);
    let counted = records.count_enrolment(&used, &one).await;
    assert_eq!(counted.unwrap(), Enrolment::Counted);
    for batch in [&used, &unused] {
        assert!(records.revoke_batch(batch.id(), &mia()).await.unwrap());
        assert!(!records.revoke_batch(batch.id(), &mia()).await.unwrap());
        for device in [&one, &other] {
            let counted = records.count_enrolment(batch, device).await;
            assert_eq!(counted.unwrap(), Enrolment::Revoked);
        }
    }
    let batches = records.batches().await.unwrap();
    let recorded = batches.iter().map(|it| (it.enrolled, it.limit, it.revoked));
    let revoked = Some(mia().at.second());
    assert_eq!(
        recorded.collect::<Vec<_>>(),
        [(1, Some(5), revoked), (0, None, revoked)]
    );
    let (events, _) = records
        .events(EventTime::of_microseconds(u64::MAX), None, 9)
        .await
        .unwrap();
    let changes = events.into_iter().map(|it| it.event.unwrap().change);
    let mut changes: Vec<UnsignedChange> = changes.collect();
    changes.sort_by_key(|change| format!("{change:?}"));
    let expected = [&used, &unused].map(|batch| UnsignedChange::TokenRevoked {
        batch: batch.id().clone(),
    });
    assert_eq!(changes, expected);
}

packcast_testing::on_each_service! {
    a_batch_enrols_its_number_of_devices_even_at_once
    a_revoked_batch_enrols_no_device_whether_it_was_used_or_not
}
