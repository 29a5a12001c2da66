//! Blocked and removed devices: nothing is announced to them, and a removal leaves nothing behind.

use futures_util::future::join_all;
use packcast_protocol::api::DailyFacts;
use packcast_protocol::state::exchange::{WaitWord, WaitingPackage};
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::{DeviceRecord, FactsRecord, PackageRecord};
use packcast_store::records::{
    Announcing, Blocked, CheckInItems, CheckInWritten, Removing, Tally, Unblocked,
};
use packcast_store::{Records, RecordsError};
use packcast_testing::administrator::{Administrator as _, Joined, answered};
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, device, mia, mia_at, result};
use serde_json::json;

const RATES: FaultRates = FaultRates {
    conflicts: 150,
    update_conflicts: 150,
    throttles: 50,
    lost_answers: 150,
    unprocessed: 0,
    index_lag: 0,
};

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

async fn block(records: &Records, device: &DeviceId) {
    let reason = "stolen".parse().unwrap();
    let blocked = records
        .block(std::slice::from_ref(device), Some(&reason), &mia())
        .await;
    assert_eq!(blocked.unwrap(), [Blocked::New]);
}

async fn unblock(records: &Records, device: &DeviceId) -> Unblocked {
    let unblocked = records.unblock(std::slice::from_ref(device), &mia()).await;
    unblocked.unwrap().remove(0)
}

async fn begin_removal(records: &Records, device: &DeviceId) -> Result<Removing, RecordsError> {
    let begun = records
        .begin_removal(std::slice::from_ref(device), None, &mia())
        .await?;
    Ok(begun.into_iter().next().unwrap())
}

async fn announce(records: &Records, device: &DeviceId, package: &PackageRecord) -> bool {
    let device_state = records.device_state(device).await.unwrap();
    let (tasks, leaf) = (device_state.tasks, device_state.leaf);
    let task = tasks.iter().find(|task| task.package == package.id);
    let tasks = [Announcing::direct(task.expect("the package is assigned"))];
    let announced = records.announce(device, leaf.order, &tasks, NOW).await;
    let announced = announced.unwrap();
    assert_eq!(announced.on_record.len() + announced.refused.len(), 1);
    !announced.on_record.is_empty()
}

async fn nothing_is_announced_to_a_blocked_device(service: Service) {
    let table = Table::start_on(service, 120).await;
    let records = &table.records;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    table.assigned(&device, &package).await;
    block(records, &device).await;
    let device_state = records.device_state(&device).await.unwrap();
    let excluded = device_state.excluded.clone().unwrap();
    assert_eq!((excluded.since, excluded.is_removed()), (NOW, false));
    assert!(device_state.device.is_some());
    assert!(!announce(records, &device, &package).await);
    // A check-in that was decided before the block is not written after it.
    let known = device_state.device.unwrap();
    let renamed = DeviceRecord {
        host_name: "renamed".to_owned(),
        ..known.clone()
    };
    for written in [
        records.write_check_in(&renamed, Some(&known)).await,
        records.write_check_in(&renamed, None).await,
    ] {
        assert_eq!(written.unwrap(), CheckInWritten::Excluded);
    }
    let later = mia_at(NOW.plus(60));
    let again = records
        .block(std::slice::from_ref(&device), None, &later)
        .await;
    assert_eq!(again.unwrap(), [Blocked::Already]);
    let all = records.excluded_devices().await.unwrap();
    assert_eq!(all[&device].exclusion, excluded);
    assert_eq!(all[&device].host_name, "pc1");
    assert_eq!(unblock(records, &device).await, Unblocked::Blocked);
    assert_eq!(unblock(records, &device).await, Unblocked::NotExcluded);
    assert!(records.excluded_devices().await.unwrap().is_empty());
    assert!(announce(records, &device, &package).await);
}

/// Blocks a device while its task is announced. Whichever comes first, the announcement that
/// begins after the block is refused.
async fn an_announcement_races_with_a_block(service: Service) {
    let table = Table::start_on(service, 121).await;
    let (records, package) = (&table.records, table.package("vlc", 5).await);
    let mut announced_first = 0;
    for number in 0..30 {
        let device = table.device(number).await;
        let task = table.assigned(&device, &package).await;
        let tasks = [Announcing::direct(&task)];
        let leaf = records.device_state(&device).await.unwrap().leaf;
        let (announced, ()) = tokio::join!(
            records.announce(&device, leaf.order, &tasks, NOW),
            block(records, &device)
        );
        let is_announced = !announced.unwrap().on_record.is_empty();
        announced_first += u64::from(is_announced);
        if !is_announced {
            assert!(!announce(records, &device, &package).await);
        }
    }
    let tally = records.tally(package.id).await.unwrap();
    assert_eq!(tally.announced, announced_first);
}

/// A device with everything that a removal must delete.
struct Full {
    device: DeviceId,
    packages: Vec<PackageRecord>,
}

impl Full {
    /// Creates a device in a group, with a pending task, an announced one after a failure, and a
    /// success.
    async fn new(table: &Table, device: DeviceId, packages: &[PackageRecord]) -> Self {
        let records = &table.records;
        let [pending, retried, succeeded] = packages else {
            panic!("expected three packages");
        };
        let joined = records.join(&device, &lab(), signing()).await.unwrap();
        assert_eq!(joined, Joined::New);
        table.assigned(&device, pending).await;
        let task = table.assigned(&device, retried).await;
        let failed = result(&task, "ERR_EXECUTE");
        records
            .record_result(&device, &task, &failed)
            .await
            .unwrap();
        table.assigned(&device, retried).await;
        assert!(announce(records, &device, retried).await);
        table.finish(&device, succeeded).await;
        Self {
            device,
            packages: packages.to_vec(),
        }
    }

    /// Expects no trace of the device but its tombstone.
    async fn expect_gone(&self, records: &Records) {
        let device = &self.device;
        for package in &self.packages {
            let tally = records.tally(package.id).await.unwrap();
            assert_eq!(tally, Tally::default());
            assert!(records.devices_of(package.id).await.unwrap().is_empty());
        }
        for group in [lab(), GroupName::all()] {
            assert_eq!(records.size(&group).await.unwrap(), 0, "{group}");
            assert_eq!(records.members(&group).await.unwrap(), []);
        }
        assert_eq!(records.finished_tasks(device).await.unwrap(), []);
        assert_eq!(records.history(device).await.unwrap(), []);
        assert_eq!(records.devices_named("pc1").await.unwrap(), []);
        assert_eq!(records.devices(100).await.unwrap(), []);
        let device_state = records.device_state(device).await.unwrap();
        assert_eq!(
            (device_state.device, device_state.tasks),
            (None, Vec::new())
        );
        assert!(device_state.excluded.unwrap().is_removed());
        assert_eq!(device_state.waits, []);
    }
}

async fn three_packages(table: &Table) -> Vec<PackageRecord> {
    let mut packages = Vec::new();
    for name in ["pending", "retried", "succeeded"] {
        packages.push(table.package(name, 5).await);
    }
    let created = table.records.create_group(&lab(), signing()).await;
    created.unwrap();
    packages
}

/// Removes a device as the publisher does.
async fn remove(records: &Records, device: &DeviceId) -> Result<Removing, RecordsError> {
    let begun = begin_removal(records, device).await?;
    if let Removing::Begun { groups } = &begun {
        for group in groups {
            answered(records.leave(device, group, signing()).await)?;
        }
        records.erase(device).await?;
    }
    Ok(begun)
}

async fn a_removed_device_leaves_a_tombstone_only(service: Service) {
    let table = Table::start_on(service, 122).await;
    let (records, packages) = (&table.records, three_packages(&table).await);
    let full = Full::new(&table, table.device(1).await, &packages).await;
    let device = &full.device;
    records
        .write_history(device, &[packages[2].id], NOW)
        .await
        .unwrap();
    let known = records.device_state(device).await.unwrap().device.unwrap();
    let waits = [WaitingPackage {
        package: packages[0].id,
        attempt: 1,
        reason: WaitWord::CommitExpired,
        until: None,
    }];
    let facts = FactsRecord {
        device: device.clone(),
        at: NOW,
        facts: DailyFacts::default(),
    };
    let items = CheckInItems {
        waits: Some(&waits),
        facts: Some(&facts),
    };
    let written = records.write_check_in_with(&known, Some(&known), items);
    assert_eq!(written.await.unwrap(), CheckInWritten::Written);
    assert_eq!(records.device_state(device).await.unwrap().waits, waits);
    assert_eq!(records.facts(device).await.unwrap(), Some(facts));
    remove(records, device).await.unwrap();
    assert_eq!(records.facts(device).await.unwrap(), None);
    full.expect_gone(records).await;
    // No request that was decided before brings the device back.
    let renamed = DeviceRecord {
        host_name: "renamed".to_owned(),
        ..known.clone()
    };
    for known in [Some(&known), None] {
        let written = records.write_check_in(&renamed, known).await;
        assert_eq!(written.unwrap(), CheckInWritten::Excluded);
    }
    let assigned = records.assign(device, &packages[0], false, signing()).await;
    assert_eq!(assigned.unwrap(), AssignOutcome::UnknownDevice);
    let joined = records.join(device, &lab(), signing()).await.unwrap();
    assert_eq!(joined, Joined::UnknownDevice);
    assert_eq!(
        records
            .memberships(std::slice::from_ref(device))
            .await
            .unwrap(),
        []
    );
    assert_eq!(remove(records, device).await.unwrap(), Removing::Complete);
    let blocked = records
        .block(std::slice::from_ref(device), None, &mia())
        .await;
    assert_eq!(blocked.unwrap(), [Blocked::Removed]);
    full.expect_gone(records).await;
    // Once it is unblocked, the device is a new one.
    assert_eq!(unblock(records, device).await, Unblocked::Removed);
    let written = records.write_check_in(&known, None).await;
    assert_eq!(written.unwrap(), CheckInWritten::Written);
    let device_state = records.device_state(device).await.unwrap();
    assert_eq!(device_state.memberships.joined().count(), 0);
    assert_eq!(records.size(&GroupName::all()).await.unwrap(), 1);
}

/// Ends the removal after each number of requests. The next removal completes it.
async fn an_interrupted_removal_is_completed(service: Service) {
    let table = Table::start_on(service, 123).await;
    let (records, packages) = (&table.records, three_packages(&table).await);
    let mut interrupted = 0;
    for requests in 0.. {
        let record = device(1);
        let written = records.write_check_in(&record, None).await;
        assert_eq!(written.unwrap(), CheckInWritten::Written);
        let full = Full::new(&table, record.device, &packages).await;
        table.faults.deny_after(Some(requests));
        let removed = remove(records, &full.device).await;
        table.faults.deny_after(None);
        if removed.is_err() {
            interrupted += 1;
            let device_state = records.device_state(&full.device).await.unwrap();
            let is_begun = device_state.excluded.is_some();
            let completed = remove(records, &full.device).await.unwrap();
            assert!(is_begun || matches!(completed, Removing::Begun { .. }));
        }
        full.expect_gone(records).await;
        assert_eq!(unblock(records, &full.device).await, Unblocked::Removed);
        if removed.is_ok() {
            break;
        }
    }
    assert!(interrupted > 8, "{interrupted} interruptions");
}

/// Removes devices that check in, report and join groups at the same time, while many requests
/// fail.
async fn removals_race_with_everything_else(service: Service) {
    for seed in 1..=3 {
        let table = Table::start_on(service.clone(), seed).await;
        let (records, packages) = (&table.records, three_packages(&table).await);
        let full = Full::new(&table, table.device(1).await, &packages).await;
        let device = &full.device;
        let device_state = records.device_state(device).await.unwrap();
        let known = device_state.device.unwrap();
        let task = device_state
            .tasks
            .iter()
            .find(|task| task.package == packages[1].id)
            .unwrap();
        table.faults.set_rates(RATES);
        let failed = result(task, "ERR_EXECUTE");
        let renamed = DeviceRecord {
            host_name: "renamed".to_owned(),
            ..known.clone()
        };
        tokio::join!(
            until_answered(async || remove(records, device).await),
            until_answered(async || records.record_result(device, task, &failed).await),
            until_answered(async || records.write_check_in(&renamed, Some(&known)).await),
            until_answered(async || {
                answered(records.assign(device, &packages[2], true, signing()).await)
            }),
            join_all((0..3).map(|_| until_answered(async || {
                records
                    .block(std::slice::from_ref(device), None, &mia())
                    .await
            }))),
        );
        table.faults.set_rates(FaultRates::default());
        // A block may have come between the steps of the removal; neither undoes the other.
        assert!(!matches!(
            remove(records, device).await.unwrap(),
            Removing::UnknownDevice
        ));
        full.expect_gone(records).await;
        assert_eq!(records.devices_named("renamed").await.unwrap(), []);
    }
}

async fn a_half_removed_device_is_not_unblocked(service: Service) {
    let table = Table::start_on(service, 124).await;
    let (records, device) = (&table.records, table.device(1).await);
    let removing = begin_removal(records, &device).await;
    assert_eq!(removing.unwrap(), Removing::Begun { groups: Vec::new() });
    assert_eq!(unblock(records, &device).await, Unblocked::HalfRemoved);
    let unknown = super::device(9).device;
    let removing = begin_removal(records, &unknown).await;
    assert_eq!(removing.unwrap(), Removing::UnknownDevice);
    let blocked = records
        .block(std::slice::from_ref(&unknown), None, &mia())
        .await;
    assert_eq!(blocked.unwrap(), [Blocked::UnknownDevice]);
}

async fn an_unreadable_record_stops_only_its_device(service: Service) {
    let table = Table::start_on(service, 125).await;
    let (records, devices) = (
        &table.records,
        [table.device(1).await, table.device(2).await],
    );
    let mut broken = table
        .item(&format!("DEVICE#{}", devices[0]), "0#DEVICE")
        .await;
    broken["last_seen"] = json!({ "S": "long ago" });
    table.put(&broken).await;
    let expected = [Blocked::Unreadable, Blocked::New];
    assert_eq!(records.block_outcomes(&devices).await.unwrap(), expected);
    let blocked = records.block(&devices, None, &mia()).await.unwrap();
    assert_eq!(blocked, expected);
    let expected = [Unblocked::Unreadable, Unblocked::Blocked];
    assert_eq!(records.unblock_outcomes(&devices).await.unwrap(), expected);
    assert_eq!(records.unblock(&devices, &mia()).await.unwrap(), expected);
    let begun = records.begin_removal(&devices, None, &mia()).await.unwrap();
    let groups = Vec::new();
    assert_eq!(begun, [Removing::Unreadable, Removing::Begun { groups }]);
}

packcast_testing::on_each_service! {
    nothing_is_announced_to_a_blocked_device
    an_announcement_races_with_a_block
    a_removed_device_leaves_a_tombstone_only
    an_interrupted_removal_is_completed
    removals_race_with_everything_else
    a_half_removed_device_is_not_unblocked
    an_unreadable_record_stops_only_its_device
}
