//! Events: each is on record together with its change, or neither is.

use futures_util::future::join_all;
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::event::MAX_DEVICES;
use packcast_rollout::pacing::UpTo;
use packcast_rollout::{
    AdministratorEvent, ChangedBy, DeviceCommand, EventTime, PacingChange, PacingOverride,
    UnsignedChange,
};
use packcast_store::Records;
use packcast_store::records::{Blocked, Removing, Reserved};
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, location, mia, published, reservation};
use serde_json::json;

const RATES: FaultRates = FaultRates {
    conflicts: 150,
    update_conflicts: 150,
    throttles: 50,
    lost_answers: 150,
    unprocessed: 0,
    index_lag: 0,
};

const EVER: EventTime = EventTime::of_microseconds(u64::MAX);

/// Returns an administrator at a microsecond of the test.
fn by(microsecond: u64) -> ChangedBy {
    let at = EventTime::of_second(NOW).microseconds() + microsecond;
    ChangedBy {
        at: EventTime::of_microseconds(at),
        ..mia()
    }
}

/// Returns all events, the newest first, read in pages of two.
async fn events(records: &Records) -> Vec<AdministratorEvent> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let (events, next) = records.events(EVER, from, 2).await.unwrap();
        assert!(events.len() <= 2);
        all.extend(events.into_iter().map(|event| event.event.unwrap()));
        match next {
            Some(next) => from = Some(next),
            None => return all,
        }
    }
}

/// Returns all changes, the oldest first.
async fn changes(records: &Records) -> Vec<UnsignedChange> {
    let events = events(records).await;
    events.into_iter().rev().map(|event| event.change).collect()
}

async fn draft(table: &Table) -> PackageId {
    let reserved = table.records.reserve(&reservation("vlc", 5), NOW).await;
    let Ok(Reserved::New(draft)) = reserved else {
        panic!("expected a new package, found {reserved:?}");
    };
    draft.id
}

async fn each_change_of_a_package_has_one_event(service: Service) {
    let table = Table::start_on(service, 230).await;
    let (records, id) = (&table.records, draft(&table).await);
    let (manifest, at) = (published(id), [location()]);
    assert!(records.activate(id, &at, &by(0)).await.is_err());
    // The second call of each pair changes nothing.
    records.publish(id, &manifest, &by(1)).await.unwrap();
    records.publish(id, &manifest, &by(2)).await.unwrap();
    records.activate(id, &at, &by(3)).await.unwrap();
    records.activate(id, &at, &by(4)).await.unwrap();
    let none = records.activate(id, &[], &by(5)).await.unwrap();
    assert!(none.active && none.locations.is_empty());
    records.deactivate(id, &by(6)).await.unwrap();
    records.deactivate(id, &by(7)).await.unwrap();
    records.delete(id, &by(8)).await.unwrap();
    records.delete(id, &by(9)).await.unwrap();
    assert!(records.activate(id, &at, &by(10)).await.is_err());
    let activated = |locations| UnsignedChange::Activated {
        package: id,
        locations,
    };
    let expected = [
        UnsignedChange::Published { package: id },
        activated(vec![location().name]),
        activated(Vec::new()),
        UnsignedChange::Deactivated { package: id },
        UnsignedChange::Deleted { package: id },
    ];
    assert_eq!(changes(records).await, expected);
    let newest = events(records).await.remove(0);
    assert_eq!(
        (newest.user.as_str(), newest.host.as_str()),
        ("mia", "desk")
    );
}

async fn a_pause_and_its_end_have_one_event_each(service: Service) {
    let table = Table::start_on(service, 231).await;
    let records = &table.records;
    records.end_pause(&by(0)).await.unwrap();
    records.begin_pause(&by(1)).await.unwrap();
    records.begin_pause(&by(2)).await.unwrap();
    records.end_pause(&by(3)).await.unwrap();
    records.end_pause(&by(4)).await.unwrap();
    let expected = [UnsignedChange::Paused, UnsignedChange::Resumed];
    assert_eq!(changes(records).await, expected);
}

async fn each_change_of_a_device_has_one_event(service: Service) {
    let table = Table::start_on(service, 232).await;
    let (records, device) = (&table.records, table.device(1).await);
    let pacing = PacingOverride {
        cycle_pause_s: UpTo::new(5),
        ..PacingOverride::default()
    };
    let set = PacingChange::Set(pacing);
    for microsecond in [1, 2] {
        let by = by(microsecond);
        let set = records.set_device_pacing(&device, &set, &by).await;
        assert_eq!(set.unwrap(), pacing);
    }
    let reset = PacingChange::Replace(PacingOverride::default());
    for microsecond in [3, 4] {
        let by = by(microsecond);
        let reset = records.set_device_pacing(&device, &reset, &by).await;
        assert!(reset.unwrap().is_empty());
    }
    let command = DeviceCommand::Drop;
    records
        .command_device(&device, command, &by(5))
        .await
        .unwrap();
    let paced = |pacing| UnsignedChange::DevicePaced {
        device: device.clone(),
        pacing,
    };
    let expected = [
        paced(pacing),
        paced(PacingOverride::default()),
        UnsignedChange::Commanded {
            device: device.clone(),
            command,
        },
    ];
    assert_eq!(changes(records).await, expected);
}

/// Returns the devices of all events, with the number of events.
fn devices_of(changes: &[UnsignedChange]) -> (Vec<DeviceId>, usize) {
    let devices = changes.iter().flat_map(UnsignedChange::devices).cloned();
    let mut devices: Vec<DeviceId> = devices.collect();
    devices.sort_unstable();
    (devices, changes.len())
}

async fn devices_that_are_changed_together_share_an_event(service: Service) {
    // DynamoDB Local reports other write units than AWS.
    let on_embedded = matches!(service, Service::Embedded);
    let table = Table::start_on(service, 233).await;
    let records = &table.records;
    let mut devices = Vec::new();
    for number in 0..60 {
        devices.push(table.device(number).await);
    }
    devices.sort_unstable();
    let reason = "stolen".parse().unwrap();
    let first = &devices[..1];
    let blocked = records.block(first, Some(&reason), &by(1)).await.unwrap();
    assert_eq!(blocked, [Blocked::New]);
    let one = changes(records).await;
    let UnsignedChange::Blocked {
        devices: named,
        reason: Some(because),
    } = &one[0]
    else {
        panic!("unexpected events {one:?}");
    };
    assert_eq!((&named.devices[..], because), (first, &reason));
    assert!(named.host_names[0].starts_with("pc"));

    table.meter.take();
    let blocked = records.block(&devices, None, &by(2)).await.unwrap();
    let usage = table.meter.take();
    assert_eq!(blocked[0], Blocked::Already);
    assert!(blocked[1..].iter().all(|it| *it == Blocked::New));
    assert_eq!(
        usage.count("TransactWriteItems"),
        60_usize.div_ceil(MAX_DEVICES)
    );
    // 59 devices with two writes of two units each, and three events.
    let of_events = usage.write_units - 59.0 * 4.0;
    assert!(
        !on_embedded || (6.0..=18.0).contains(&of_events),
        "{usage:?}"
    );
    // Of the events, one does not name the device that was blocked before.
    let all = changes(records).await;
    assert_eq!(devices_of(&all[1..]), (devices[1..].to_vec(), 3));
    let again = records.block(&devices, None, &by(3)).await.unwrap();
    assert!(again.iter().all(|it| *it == Blocked::Already));
    assert_eq!(changes(records).await.len(), all.len());

    records.unblock(&devices, &by(4)).await.unwrap();
    records.unblock(&devices, &by(5)).await.unwrap();
    let unblocked = changes(records).await.split_off(all.len());
    assert_eq!(devices_of(&unblocked), (devices.clone(), 3));
    let before = changes(records).await.len();
    for microsecond in [6, 7] {
        let by = by(microsecond);
        let removing = records.begin_removal(&devices, None, &by).await.unwrap();
        let begun = |it: &Removing| matches!(it, Removing::Begun { .. });
        assert!(removing.iter().all(begun));
    }
    let removed = changes(records).await.split_off(before);
    assert_eq!(devices_of(&removed), (devices.clone(), 3));
}

/// Blocks and unblocks the same devices several times at once, while many requests fail. Each
/// transaction that was made has exactly one event.
async fn no_change_lacks_its_event_although_many_requests_fail(service: Service) {
    for seed in 234..237 {
        let table = Table::start_on(service.clone(), seed).await;
        let records = &table.records;
        let devices = [table.device(1).await, table.device(2).await];
        table.faults.set_rates(RATES);
        let toggles = (0..4).map(|number| {
            let (devices, by) = (&devices, by(number));
            async move {
                until_answered(async || records.block(devices, None, &by).await).await;
                until_answered(async || records.unblock(devices, &by).await).await;
            }
        });
        join_all(toggles).await;
        table.faults.set_rates(FaultRates::default());
        let excluded = records.excluded_devices().await.unwrap();
        let changes = changes(records).await;
        for device in &devices {
            let of_device = changes.iter().filter(|it| it.devices().contains(&device));
            let blocks = of_device.map(|it| matches!(it, UnsignedChange::Blocked { .. }));
            let (blocked, unblocked): (Vec<bool>, Vec<bool>) = blocks.partition(|it| *it);
            let open = blocked.len() - unblocked.len();
            assert_eq!(
                open,
                usize::from(excluded.contains_key(device)),
                "{changes:#?}"
            );
        }
    }
}

async fn the_newest_events_are_read_with_one_query(service: Service) {
    let table = Table::start_on(service, 237).await;
    let records = &table.records;
    for microsecond in 0..20 {
        let is_pause = microsecond % 2 == 0;
        if is_pause {
            records.begin_pause(&by(microsecond)).await.unwrap();
        } else {
            records.end_pause(&by(microsecond)).await.unwrap();
        }
    }
    table.meter.take();
    let (newest, next) = records.events(EVER, None, 5).await.unwrap();
    assert_eq!(table.meter.take().operations, ["Query"]);
    assert!(next.is_some());
    let at = newest.iter().map(|event| event.at.microseconds());
    assert!(at.eq((15..20).rev().map(|it| by(it).at.microseconds())));
    let (earlier, _) = records.events(by(3).at, None, 9).await.unwrap();
    assert_eq!(earlier.len(), 3);
    let (none, next) = records.events(by(0).at, None, 9).await.unwrap();
    assert!(none.is_empty() && next.is_none());
}

async fn an_event_that_cannot_be_read_does_not_stop_the_others(service: Service) {
    let table = Table::start_on(service, 238).await;
    table.records.begin_pause(&by(0)).await.unwrap();
    let forged = |sk: &str, change: &str| {
        json!({
            "pk": { "S": "EVENT" }, "sk": { "S": sk }, "user": { "S": "ada" },
            "host": { "S": "" }, "change": { "S": change },
        })
    };
    table
        .put(&forged("01800000000000000000-00", "promoted"))
        .await;
    table.put(&forged("0x", "paused")).await;
    let (events, _) = table.records.events(EVER, None, 9).await.unwrap();
    assert_eq!(events.len(), 2);
    let error = events[0].event.as_ref().unwrap_err().to_string();
    assert!(error.contains("EVENT 01800000000000000000-00"), "{error}");
    assert!(events[1].event.is_ok());
}

packcast_testing::on_each_service! {
    each_change_of_a_package_has_one_event
    a_pause_and_its_end_have_one_event_each
    each_change_of_a_device_has_one_event
    devices_that_are_changed_together_share_an_event
    no_change_lacks_its_event_although_many_requests_fail
    the_newest_events_are_read_with_one_query
    an_event_that_cannot_be_read_does_not_stop_the_others
}
