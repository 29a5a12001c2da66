//! Commands for devices, and tasks that a command resets.

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::command::{CommandProgress, reopen};
use packcast_rollout::{CommandRecord, DeviceCommand, DeviceCommands, TaskChange, TaskState};
use packcast_store::records::{Announcing, Recorded};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, mia, mia_at};

const LATER: UnixTime = UnixTime(NOW.0 + 60);

async fn commands(table: &Table, device: &DeviceId) -> DeviceCommands {
    table.records.device_state(device).await.unwrap().commands
}

fn cancel(asked_at: UnixTime, told_at: Option<UnixTime>) -> CommandRecord {
    CommandRecord {
        command: DeviceCommand::Drop,
        asked_at,
        told_at,
    }
}

async fn a_command_is_read_with_the_device_until_it_is_done(service: Service) {
    let table = Table::start_on(service, 30).await;
    let device = table.device(1).await;
    let records = &table.records;
    for kind in [DeviceCommand::Drop, DeviceCommand::RestartDownload] {
        records.command_device(&device, kind, &mia()).await.unwrap();
    }
    table.meter.take();
    let read = commands(&table, &device).await;
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
    assert_eq!(read.drop, Some(cancel(NOW, None)));

    let announced = cancel(NOW, Some(LATER));
    records
        .record_command_progress(&device, &CommandProgress::Announced(announced))
        .await
        .unwrap();
    assert_eq!(commands(&table, &device).await.drop, Some(announced));
    let restart = CommandProgress::Done(read.restart_download.unwrap());
    for note in [CommandProgress::Done(announced), restart] {
        records
            .record_command_progress(&device, &note)
            .await
            .unwrap();
    }
    assert_eq!(commands(&table, &device).await, DeviceCommands::default());
}

async fn progress_of_a_replaced_command_does_not_change_its_successor(service: Service) {
    let table = Table::start_on(service, 31).await;
    let device = table.device(1).await;
    let records = &table.records;
    for at in [NOW, LATER] {
        let ordered = records
            .command_device(&device, DeviceCommand::Drop, &mia_at(at))
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
    let now = commands(&table, &device).await.drop;
    assert_eq!(now, Some(cancel(LATER, None)));
    // A command that is done does not come back when an older reply is recorded late.
    let done = CommandProgress::Done(cancel(LATER, None));
    let announced = CommandProgress::Announced(cancel(LATER, Some(LATER)));
    for note in [done, announced] {
        records
            .record_command_progress(&device, &note)
            .await
            .unwrap();
    }
    assert_eq!(commands(&table, &device).await, DeviceCommands::default());
}

async fn a_task_is_reset_once(service: Service) {
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

/// Announces the only task of a device, and returns the change of the task by a drop command.
async fn announced_and_dropped(table: &Table, device: &DeviceId) -> TaskChange {
    let held = table.records.device_state(device).await.unwrap().tasks;
    let announcing = [Announcing::direct(&held[0])];
    let announced = announce(&table.records, device, &announcing, NOW).await;
    assert_eq!(announced.unwrap().on_record.len(), 1);
    let tasks = table.records.device_state(device).await.unwrap().tasks;
    let commands = DeviceCommands {
        restart_download: None,
        drop: Some(cancel(NOW, Some(LATER))),
    };
    let timeout = NamedCode::Timeout.into();
    reopen(&commands, &tasks[0], &timeout).expect("the device has dropped the task")
}

packcast_testing::on_each_service! {
    a_command_is_read_with_the_device_until_it_is_done
    progress_of_a_replaced_command_does_not_change_its_successor
    a_task_is_reset_once
}
