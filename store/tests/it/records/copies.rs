//! Copies of revisions and activations, which announcements check.

use std::pin::pin;
use std::time::Duration;

use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::state::{GroupPackages, StateChange};
use packcast_rollout::{OpenTask, PackageRecord};
use packcast_store::records::{Announced, Announcing, GroupTarget};
use packcast_testing::administrator::{Administrator as _, commit_only, may_complete};
use packcast_testing::fault::{FakeFaults, FaultRates, HoldTimes};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, connect, mia};
use serde_json::{Value, json};

use super::projections::group_document;

/// A device with an open task of its group.
struct Started {
    table: Table,
    package: PackageRecord,
    device: DeviceId,
    task: OpenTask,
    lab: GroupName,
    /// The revision of the group.
    revision: u64,
}

impl Started {
    async fn start(service: Service, seed: u64) -> Self {
        let table = Table::start_on(service, seed).await;
        let (package, device) = (table.package("vlc", 5).await, table.device(1).await);
        let lab: GroupName = "lab".parse().unwrap();
        let records = &table.records;
        records.create_group(&lab, signing()).await.unwrap();
        records.join(&device, &lab, signing()).await.unwrap();
        let group = records.assign_group(&lab, &package, false, signing()).await;
        // The task is also the device's own, so that it is open without a check-in.
        let task = table.assigned(&device, &package).await;
        Self {
            revision: group.unwrap().revision,
            table,
            package,
            device,
            task,
            lab,
        }
    }

    /// Announces the task as one of the group, at a revision that a function has read.
    async fn announce(&self, revision: u64) -> Announced {
        let announcing = Announcing {
            by_group: Some((&self.lab, revision)),
            ..Announcing::direct(&self.task)
        };
        let announced = announce(&self.table.records, &self.device, &[announcing], NOW).await;
        announced.unwrap()
    }

    async fn expect_refused(&self, revision: u64) {
        let announced = self.announce(revision).await;
        assert_eq!(announced.refused, [self.package.id]);
    }

    async fn expect_announced(&self, revision: u64) {
        let announced = self.announce(revision).await;
        assert_eq!(announced.on_record, [self.package.id]);
    }

    fn shards(&self) -> Vec<(String, &'static str)> {
        let id = self.package.id;
        let shard = |shard| (format!("TALLY#{id}#{shard:02}"), "TALLY");
        (0..64).map(shard).collect()
    }

    fn copies(&self) -> Vec<(String, &'static str)> {
        let copy = |shard| (format!("GROUP#{}#{shard:02}", self.lab), "REVISION");
        (0..64).map(copy).collect()
    }

    /// Returns an attribute of all items with these keys.
    async fn all(&self, keys: &[(String, &str)], attribute: &str) -> Vec<Value> {
        let mut values = Vec::new();
        for (pk, sk) in keys {
            values.push(self.table.item(pk, sk).await[attribute].take());
        }
        values
    }

    /// Sets an attribute of all items with these keys, as somebody who controls the table can.
    async fn forge(&self, keys: &[(String, &str)], attribute: &str, value: &Value) {
        for (pk, sk) in keys {
            let mut item = self.table.item(pk, sk).await;
            item["pk"] = json!({ "S": pk });
            item["sk"] = json!({ "S": sk });
            item[attribute] = value.clone();
            self.table.put(&item).await;
        }
    }

    async fn change_group(&self) -> u64 {
        let records = &self.table.records;
        let lab = records.unassign_group(&self.lab, self.package.id, signing());
        lab.await.unwrap().revision
    }
}

async fn a_stop_is_on_all_copies_when_it_returns(service: Service) {
    let started = Started::start(service, 140).await;
    let later = started.change_group().await;
    let copies = started.all(&started.copies(), "revision").await;
    assert_eq!(copies, vec![json!({ "N": later.to_string() }); 64]);
    started.expect_refused(started.revision).await;
    let records = &started.table.records;
    records
        .deactivate(started.package.id, &mia())
        .await
        .unwrap();
    let shards = started.all(&started.shards(), "active").await;
    assert_eq!(shards, vec![json!({ "BOOL": false }); 64]);
    started.expect_refused(later).await;
}

/// A function may read the source of a change whose copies are not written yet.
async fn an_earlier_copy_admits_a_later_revision(service: Service) {
    let started = Started::start(service, 141).await;
    started.expect_announced(started.revision + 1).await;
}

async fn without_a_copy_nothing_is_announced(service: Service) {
    let started = Started::start(service, 142).await;
    for (pk, sk) in started.copies() {
        started.table.delete(&pk, sk).await;
    }
    started.expect_refused(started.revision).await;
    let later = started.change_group().await;
    for (pk, sk) in started.shards() {
        started.table.delete(&pk, sk).await;
    }
    started.expect_refused(later).await;
    let (records, by) = (&started.table.records, mia());
    let activated = records.activate(started.package.id, &started.package.locations, &by);
    activated.await.unwrap();
    started.expect_announced(later).await;
}

/// A command was interrupted after the source; the same command completes the copies.
async fn a_repeated_command_completes_the_copies(service: Service) {
    let started = Started::start(service, 143).await;
    let (records, faults) = (&started.table.records, &started.table.faults);
    let id = started.package.id;
    faults.deny_after_writes(Some(20));
    records.deactivate(id, &mia()).await.unwrap_err();
    faults.deny_after_writes(None);
    assert!(!records.package(id).await.unwrap().unwrap().active);
    let shards = started.all(&started.shards(), "active").await;
    assert!(shards.contains(&json!({ "BOOL": true })), "{shards:?}");
    records.deactivate(id, &mia()).await.unwrap();
    let shards = started.all(&started.shards(), "active").await;
    assert_eq!(shards, vec![json!({ "BOOL": false }); 64]);
}

async fn a_change_repairs_forged_copies(service: Service) {
    let started = Started::start(service, 144).await;
    let far = json!({ "N": "1000000000" });
    started.forge(&started.copies(), "revision", &far).await;
    started.expect_refused(started.revision).await;
    let later = started.change_group().await;
    let copies = started.all(&started.copies(), "revision").await;
    assert_eq!(copies, vec![json!({ "N": later.to_string() }); 64]);
    let shards = started.shards();
    for (attribute, value) in [
        ("activation", far),
        ("activation", json!({ "S": "many" })),
        ("active", json!({ "BOOL": true })),
        ("active", json!({ "S": "yes" })),
    ] {
        let active = json!({ "BOOL": true });
        started.forge(&shards, "active", &active).await;
        started.forge(&shards, attribute, &value).await;
        let (records, id) = (&started.table.records, started.package.id);
        records.deactivate(id, &mia()).await.unwrap();
        let active = started.all(&shards, "active").await;
        assert_eq!(active, vec![json!({ "BOOL": false }); 64], "{attribute}");
        let package = started
            .table
            .item(&format!("PACKAGE#{id}"), "PACKAGE")
            .await;
        assert!(package["activation"]["N"].is_string(), "{package}");
        let activation = started.all(&shards, "activation").await;
        assert_eq!(activation, vec![package["activation"].clone(); 64]);
        started.expect_refused(later).await;
    }
}

/// Activations and deactivations at the same time leave all copies as the package is.
async fn the_last_of_concurrent_changes_is_on_all_copies(service: Service) {
    let started = Started::start(service, 145).await;
    let (records, package) = (&started.table.records, &started.package);
    let change = async |number: u8| {
        if number.is_multiple_of(2) {
            records.deactivate(package.id, &mia()).await.unwrap()
        } else {
            let (locations, by) = (&package.locations, mia());
            let activated = records.activate(package.id, locations, &by);
            activated.await.unwrap()
        }
    };
    for _ in 0..5 {
        tokio::join!(change(0), change(1), change(2), change(3));
        let active = records.package(package.id).await.unwrap().unwrap().active;
        let shards = started.all(&started.shards(), "active").await;
        assert_eq!(shards, vec![json!({ "BOOL": active }); 64]);
    }
}

/// A command writes the source of a revision, and ends its copies only after a later command.
async fn a_slow_change_is_not_written_over_a_later_one(service: Service) {
    const HELD: Duration = Duration::from_hours(1);
    let started = Started::start(service, 146).await;
    let (table, lab) = (&started.table, &started.lab);
    let records = &table.records;
    let group = "office".parse().unwrap();
    commit_only(records, &StateChange::CreateGroup { group }, signing()).await;
    let order = records.head().await.unwrap().unwrap().order;
    let created = records.group(lab).await.unwrap().unwrap().created.unwrap();
    let document = group_document(created, &[(&started.package, created)]);
    let target = GroupTarget {
        group: lab,
        document: Some(&document),
        packages: &GroupPackages::default(),
        order,
    };
    let faults = FakeFaults::new(146, FaultRates::default());
    faults.hold_items(Some(HoldTimes {
        transaction: HELD,
        single: Duration::ZERO,
    }));
    let slow = connect(&table.endpoint, &faults, records.table()).await;
    let mut change = pin!(slow.project_group(&target));
    let source_is_written = async {
        let written = json!({ "N": order.to_string() });
        while table.item("GROUP#lab", "REVISION").await["revision"] != written {}
    };
    tokio::select! {
        _ = &mut change => panic!("the answer to the first write is held"),
        () = source_is_written => {}
    }
    let later = started.change_group().await;
    assert_eq!(later, order + 1);
    faults.hold_items(None);
    tokio::time::pause();
    tokio::time::advance(HELD).await;
    tokio::time::resume();
    change.await.unwrap();
    let copies = started.all(&started.copies(), "revision").await;
    assert_eq!(copies, vec![json!({ "N": later.to_string() }); 64]);
    started.expect_refused(order).await;
}

/// A command is interrupted after it has moved the device to the present name of the group.
async fn a_member_that_has_moved_is_not_refused_while_others_move(service: Service) {
    let mut started = Started::start(service, 147).await;
    let hall: GroupName = "hall".parse().unwrap();
    let (records, faults) = (&started.table.records, &started.table.faults);
    let rename = StateChange::RenameGroup {
        group: started.lab.clone(),
        to: hall.clone(),
    };
    commit_only(records, &rename, signing()).await;
    let pk = format!("DEVICE#{}", started.device);
    for writes in 1.. {
        faults.deny_after_writes(Some(writes));
        let is_complete = may_complete(records, NOW).await;
        faults.deny_after_writes(None);
        assert!(!is_complete, "the device moves before the end");
        let item = started.table.item(&pk, "0#DEVICE").await;
        if item["groups"]["M"].get("hall").is_some() {
            break;
        }
    }
    let revision = records.group(&hall).await.unwrap().unwrap().revision;
    started.lab = hall;
    started.expect_announced(revision).await;
}

packcast_testing::on_each_service! {
    a_stop_is_on_all_copies_when_it_returns
    an_earlier_copy_admits_a_later_revision
    without_a_copy_nothing_is_announced
    a_repeated_command_completes_the_copies
    a_change_repairs_forged_copies
    the_last_of_concurrent_changes_is_on_all_copies
    a_slow_change_is_not_written_over_a_later_one
    a_member_that_has_moved_is_not_refused_while_others_move
}
