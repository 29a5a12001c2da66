//! The cost of a rollout for one device.

use super::*;

async fn a_rollout_adds_two_requests_and_ten_write_units_to_a_device(service: Service) {
    // DynamoDB Local reports other write units than AWS.
    let counts_units = matches!(service, Service::Embedded);
    let started = Started::on(service, 320).await;
    let (records, cached) = (started.records(), started.gate().await);
    let (plain, device) = (started.told(1).await, started.told(2).await);
    let (task, plain_task) = (started.task(&device).await, started.task(&plain).await);
    let spent = || started.table.meter.take();
    spent();

    let success = result(&plain_task, "SUCCESS_0");
    let recorded = records.record_result(&plain, &plain_task, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    let without = spent();
    assert_eq!(without.operations, ["TransactWriteItems"]);

    let (place, change) = taking(&cached, &task);
    let taken = records.take_place(&device, &task, place, &change).await;
    assert_eq!(taken.unwrap(), PlaceTaken::Taken);
    let mut with = spent();
    let task = started.task(&device).await;
    spent();
    let success = result(&task, "SUCCESS_0");
    let of_rollout = of_rollout(&device, &task, &success);
    let recorded =
        records.record_rollout_result(&device, &task, &success, &of_rollout, Some(&cached), NOW);
    assert_eq!(recorded.await.unwrap().recorded, Recorded::Written);
    let reported = spent();
    let settling = started.settling(&device).await;
    spent();
    let recorded = records.record_healthy(&device, &settling[0], Some(&cached), SETTLED);
    recorded.await.unwrap();
    let healthy = spent();
    for usage in [reported, healthy] {
        with.operations.extend(usage.operations);
        with.write_units += usage.write_units;
        with.read_units += usage.read_units;
    }
    // The report is one request with and without a rollout.
    assert_eq!(with.operations, ["TransactWriteItems"; 3]);
    if counts_units {
        let units = with.write_units - without.write_units;
        assert!((units - 10.0).abs() < f64::EPSILON, "{units}");
    }
}

async fn a_change_of_a_gate_is_one_request(service: Service) {
    let started = Started::on(service, 321).await;
    let gate = started.gate().await;
    started.table.meter.take();
    let change = pause(&gate).unwrap().unwrap();
    let records = started.records();
    assert!(records.change_gate(ROLLOUT, &change).await.unwrap());
    let usage = started.table.meter.take();
    assert_eq!(
        (usage.operations.as_slice(), usage.write_units),
        (&["UpdateItem".to_owned()][..], 1.0)
    );
}

packcast_testing::on_each_service! {
    a_rollout_adds_two_requests_and_ten_write_units_to_a_device
    a_change_of_a_gate_is_one_request
}
