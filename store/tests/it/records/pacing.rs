//! Pacing of a device and of a group.

use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::pacing::UpTo;
use packcast_rollout::{PacingChange, PacingOverride};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, mia};

fn pauses(fragment: u16, cycle: u16) -> PacingOverride {
    PacingOverride {
        fragment_pause_s: UpTo::new(fragment),
        cycle_pause_s: UpTo::new(cycle),
        ..PacingOverride::default()
    }
}

async fn of(table: &Table, device: &DeviceId) -> PacingOverride {
    table.records.device_state(device).await.unwrap().pace
}

async fn change(table: &Table, device: &DeviceId, change: PacingChange) {
    let changed = table
        .records
        .set_device_pacing(device, &change, &mia())
        .await;
    changed.unwrap();
}

async fn check_ins_do_not_change_the_pacing_of_a_device(service: Service) {
    let nothing = PacingOverride::default();
    let table = Table::start_on(service, 80).await;
    let device = table.device(1).await;
    change(&table, &device, PacingChange::Set(nothing)).await;
    assert!(of(&table, &device).await.is_empty());

    change(&table, &device, PacingChange::Set(pauses(2, 0))).await;
    change(&table, &device, PacingChange::Set(pauses(0, 5))).await;
    let record = table.records.device_state(&device).await.unwrap().device;
    let mut seen = record.clone().unwrap();
    seen.last_seen = UnixTime(NOW.0 + 86_400);
    let written = table.records.write_check_in(&seen, record.as_ref()).await;
    written.unwrap();
    table.meter.take();
    assert_eq!(of(&table, &device).await, pauses(2, 5));
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");

    change(&table, &device, PacingChange::Replace(pauses(3, 0))).await;
    assert_eq!(of(&table, &device).await, pauses(3, 0));
    change(&table, &device, PacingChange::Replace(nothing)).await;
    assert!(of(&table, &device).await.is_empty());
}

async fn a_change_of_a_groups_pacing_is_a_revision(service: Service) {
    let table = Table::start_on(service, 81).await;
    let lab: GroupName = "lab".parse().unwrap();
    let records = &table.records;
    let set = PacingChange::Set(pauses(2, 5));
    assert!(records.pace_group(&lab, &set, signing()).await.is_err());
    let created = records.create_group(&lab, signing()).await.unwrap();
    let changed = records.pace_group(&lab, &set, signing()).await.unwrap();
    assert_eq!(changed.revision, created.revision + 1);
    let read = records.group(&lab).await.unwrap().unwrap();
    assert_eq!(read.pace, pauses(2, 5));

    let all = records.pace_group(&GroupName::all(), &set, signing()).await;
    assert_eq!(all.unwrap().pace, pauses(2, 5));
}

packcast_testing::on_each_service! {
    check_ins_do_not_change_the_pacing_of_a_device
    a_change_of_a_groups_pacing_is_a_revision
}
