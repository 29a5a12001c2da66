//! Orders for a device, and tasks that are put back by them.

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::command::{CommandProgress, reopen};
use packcast_rollout::{CommandRecord, DeviceCommand, DeviceCommands, TaskChange, TaskState};
use packcast_store::records::{Announcing, Recorded};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};

const LATER: UnixTime = UnixTime(NOW.0 + 60);

async fn orders(table: &Table, device: &DeviceId) -> DeviceCommands {
    table.records.standing(device).await.unwrap().orders
}

fn cancel(asked_at: UnixTime, told_at: Option<UnixTime>) -> CommandRecord {
    CommandRecord {
        command: DeviceCommand::Cancel,
        asked_at,
        told_at,
    }
}

async fn an_order_is_read_with_the_device_until_it_is_done(service: Service) {
    let table = Table::start_on(service, 30).await;
    let device = table.device(1).await;
    let records = &table.records;
    for kind in [DeviceCommand::Cancel, DeviceCommand::Unstick] {
        records.command_device(&device, kind, NOW).await.unwrap();
    }
    table.meter.take();
    let read = orders(&table, &device).await;
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
    assert_eq!(read.cancel, Some(cancel(NOW, None)));

    let told = cancel(NOW, Some(LATER));
    records
        .record_command_progress(&device, &CommandProgress::Announced(told))
        .await
        .unwrap();
    assert_eq!(orders(&table, &device).await.cancel, Some(told));
    let unstick = CommandProgress::Done(read.unstick.unwrap());
    for note in [CommandProgress::Done(told), unstick] {
        records
            .record_command_progress(&device, &note)
            .await
            .unwrap();
    }
    assert_eq!(orders(&table, &device).await, DeviceCommands::default());
}

async fn an_order_that_was_replaced_is_not_taken_for_the_one_before(service: Service) {
    let table = Table::start_on(service, 31).await;
    let device = table.device(1).await;
    let records = &table.records;
    for at in [NOW, LATER] {
        let ordered = records
            .command_device(&device, DeviceCommand::Cancel, at)
            .await;
        ordered.unwrap();
    }
    let before = cancel(NOW, Some(LATER));
    for note in [
        CommandProgress::Announced(before),
        CommandProgress::Done(before),
    ] {
        records
            .record_command_progress(&device, &note)
            .await
            .unwrap();
    }
    let now = orders(&table, &device).await.cancel;
    assert_eq!(now, Some(cancel(LATER, None)));
    // One that is done meanwhile does not come back.
    let done = CommandProgress::Done(cancel(LATER, None));
    let told = CommandProgress::Announced(cancel(LATER, Some(LATER)));
    for note in [done, told] {
        records
            .record_command_progress(&device, &note)
            .await
            .unwrap();
    }
    assert_eq!(orders(&table, &device).await, DeviceCommands::default());
}

async fn a_task_is_put_back_once(service: Service) {
    let table = Table::start_on(service, 32).await;
    let device = table.device(1).await;
    let package = table.package("stuck", 5).await;
    let records = &table.records;
    records
        .assign(&device, &package, false, signing())
        .await
        .unwrap();
    let change = announced_and_dropped(&table, &device).await;
    assert_eq!(records.tally(package.id).await.unwrap().announced, 1);
    for expected in [Recorded::Written, Recorded::Superseded] {
        let recorded = records.reopen(&device, &change).await.unwrap();
        assert_eq!(recorded, expected);
        let tally = records.tally(package.id).await.unwrap();
        assert_eq!((tally.assigned, tally.announced, tally.failed), (1, 0, 0));
    }
    let task = table.task(&device, package.id).await.unwrap();
    assert_eq!((task.state, task.attempt), (TaskState::Pending, 1));
}

/// Announces the only task of a device, and returns what an order to drop changes of it.
async fn announced_and_dropped(table: &Table, device: &DeviceId) -> TaskChange {
    let held = table.records.standing(device).await.unwrap().tasks;
    let announcing = [Announcing::direct(&held[0])];
    let announced = table.records.announce(device, &announcing, NOW).await;
    assert_eq!(announced.unwrap().on_record.len(), 1);
    let tasks = table.records.standing(device).await.unwrap().tasks;
    let orders = DeviceCommands {
        unstick: None,
        cancel: Some(cancel(NOW, Some(LATER))),
    };
    let timeout = NamedCode::Timeout.into();
    reopen(&orders, &tasks[0], &timeout).expect("it was dropped by order")
}

packcast_testing::on_each_service! {
    an_order_is_read_with_the_device_until_it_is_done
    an_order_that_was_replaced_is_not_taken_for_the_one_before
    a_task_is_put_back_once
}
