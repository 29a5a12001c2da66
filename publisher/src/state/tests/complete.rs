//! Completing records: after stops, by several publishers, and after later heads.

use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::unassign::Unassigned;
use packcast_store::records::{DeviceChanges, DeviceProjected};
use packcast_testing::fault::interruptions;

use super::*;
use crate::state::{Completed, Completing, complete, record_differences};

pub(super) fn office() -> GroupName {
    "office".parse().unwrap()
}

pub(super) fn of_device(number: u32) -> EntryOwner {
    EntryOwner::Device(device(number).device)
}

pub(super) fn assign_to(to: EntryOwner, package: PackageId) -> StateChange {
    let StateChange::Assign { assignment, .. } = assign(package, false) else {
        unreachable!("the change is an assignment");
    };
    StateChange::Assign { to, assignment }
}

pub(super) fn leave_lab(numbers: impl IntoIterator<Item = u32>) -> StateChange {
    let StateChange::Join { group, devices } = join(numbers) else {
        unreachable!("the change adds members");
    };
    StateChange::Leave { group, devices }
}

pub(super) fn delete_lab() -> StateChange {
    StateChange::DeleteGroup { group: lab() }
}

impl TestTarget {
    /// Creates a target with devices on record, from number 0 on.
    pub(super) async fn with_devices(seed: u64, devices: u32) -> Self {
        let target = Self::start(seed).await;
        for number in 0..devices {
            target.table.device(number).await;
        }
        target
    }

    pub(super) async fn try_complete(&self) -> Result<Completed, StateError> {
        complete(&self.table.records, &self.trust, NOW, &Progress::none()).await
    }

    pub(super) async fn complete(&self) -> Completed {
        self.try_complete().await.unwrap()
    }

    pub(super) async fn urgent(&self) -> Completing<'_> {
        let urgent =
            Completing::urgent(&self.table.records, &self.trust, NOW, Scope::Changed).await;
        urgent.unwrap()
    }

    /// Fails if any record does not follow from the head.
    pub(super) async fn check_records(&self) {
        let mut state = self.state().await;
        let records = &self.table.records;
        let differences = record_differences(records, &mut state, NOW, &Progress::none())
            .await
            .unwrap();
        assert_eq!(differences, []);
        let recorded = records.recorded_head().await.unwrap();
        assert_eq!(recorded, Some(state.head.unwrap().recorded()));
    }

    pub(super) async fn size(&self, group: &GroupName) -> u64 {
        self.table.records.size(group).await.unwrap()
    }
}

fn written(changes: DeviceChanges) -> DeviceProjected {
    DeviceProjected::Written(changes)
}

#[tokio::test]
async fn records_follow_the_commits() {
    let target = TestTarget::with_devices(320, 100).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine.commit(&[create_lab(), join(0..90)]).await;
    machine.commit(&[assign(package, false)]).await;
    let (head, _) = machine.commit(&[assign_to(of_device(95), package)]).await;
    let completed = target.complete().await;
    assert_eq!(completed.order, head.order);
    assert_eq!(completed.groups, BTreeSet::from([lab()]));
    assert_eq!(completed.devices.len(), 91);
    let of = |number: u32| completed.devices[&device(number).device].clone();
    let joined = DeviceChanges {
        joined: BTreeSet::from([lab()]),
        ..DeviceChanges::default()
    };
    assert_eq!(of(7), written(joined));
    let assigned = DeviceChanges {
        assigned: [(package, AssignOutcome::New { attempt: 1 })].into(),
        ..DeviceChanges::default()
    };
    assert_eq!(of(95), written(assigned));
    assert_eq!(target.size(&lab()).await, 90);
    target.check_records().await;
    let nothing = Completed {
        order: head.order,
        ..Completed::default()
    };
    assert_eq!(target.complete().await, nothing);

    machine
        .commit(&[StateChange::Unassign {
            from: of_device(95),
            package,
        }])
        .await;
    let completed = target.complete().await;
    let unassigned = DeviceChanges {
        unassigned: [(package, Unassigned::Dropped)].into(),
        ..DeviceChanges::default()
    };
    assert_eq!(completed.devices[&device(95).device], written(unassigned));
    target.check_records().await;
}

#[tokio::test]
async fn a_difference_of_each_record_is_found() {
    use crate::state::DifferenceKind::{
        Address, Device, Document, Members, Order, Package, Presence, Settings, Size,
    };

    let target = TestTarget::with_devices(321, 3).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let direct = assign_to(of_device(2), package);
    machine
        .commit(&[
            create_lab(),
            join([1]),
            assign(package, false),
            direct,
            StateChange::AddLocation {
                location: "cdn".parse().unwrap(),
                url: "cdn.example.net".parse().unwrap(),
            },
        ])
        .await;
    target.complete().await;
    let table = &target.table;
    let one = device(1).device;
    let own = format!("DEVICE#{one}");
    let found = async || {
        let mut state = target.state().await;
        let found = record_differences(&table.records, &mut state, NOW, &Progress::none()).await;
        found.unwrap()
    };
    let kinds = async || -> Vec<_> { found().await.into_iter().map(|it| it.kind).collect() };
    let mut state = table.item("GROUP#lab", "STATE").await;
    let kept = state.clone();
    state["assignments"]["L"][0]["M"]["force"]["BOOL"] = true.into();
    table.put(&state).await;
    assert_eq!(kinds().await, [Settings]);
    table.put(&kept).await;

    let mut item = table.item(&own, "0#DEVICE").await;
    let kept = item.clone();
    item["groups"]["M"] = serde_json::json!({});
    table.put(&item).await;
    assert!(matches!(&kinds().await[..], [Device(lacking)] if lacking.joined.len() == 1));
    item["leaf"]["M"]["digest"]["S"] = "00".repeat(32).into();
    table.put(&item).await;
    assert_eq!(kinds().await, [Document]);
    item = kept.clone();
    item["leaf"]["M"]["order"]["N"] = "99".into();
    table.put(&item).await;
    assert_eq!(kinds().await, [Order]);
    table.put(&kept).await;

    let mut location = table.item("CATALOG", "LOCATION#cdn").await;
    let kept = location.clone();
    location["location"]["S"] = "thief.example.net".into();
    table.put(&location).await;
    assert!(
        matches!(&kinds().await[..], [Address { found, .. }] if found.to_string() == "thief.example.net")
    );
    table.put(&kept).await;

    let two = device(2).device;
    let member = table
        .item(&format!("GROUP#lab#{}", shard_of(table, &one).await), &own)
        .await;
    let mut other = member.clone();
    other["sk"]["S"] = format!("DEVICE#{two}").into();
    other["device"]["S"] = two.to_string().into();
    table.put(&other).await;
    assert_eq!(kinds().await, [Members]);
    assert_eq!(target.size(&lab()).await, 1);

    // A later commit, whose records nobody has completed.
    machine
        .commit(&[StateChange::CreateGroup { group: office() }, leave_lab([1])])
        .await;
    let texts: Vec<String> = found().await.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    device/ocs:pc1-2026-03-04-05-06-07: the record follows from another document
    group/lab: other devices are members
    group/lab: the number of members is wrong
    group/office: only the head or only the records have it
    ");
    assert!(kinds().await.contains(&Presence) && kinds().await.contains(&Size));
    machine.commit(&[unassign(package)]).await;
    assert!(kinds().await.contains(&Package(package)));
}

/// Returns the shard of the group in which a device is a member.
pub(super) async fn shard_of(table: &Table, device: &DeviceId) -> String {
    for shard in 0..16 {
        let shard = format!("{shard:02}");
        let item = table
            .item(&format!("GROUP#lab#{shard}"), &format!("DEVICE#{device}"))
            .await;
        if !item.is_null() {
            return shard;
        }
    }
    panic!("{device} is no member");
}

#[tokio::test]
async fn the_next_command_completes_the_records_after_a_stop_between_any_two_writes() {
    let target = TestTarget::with_devices(322, 6).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let assign_to = |number| assign_to(of_device(number), package);
    let setup = [create_lab(), join(0..4), assign_to(5)];
    machine.commit(&setup).await;
    target.complete().await;
    for (round, stop) in (0..).zip(interruptions(1)) {
        // The group is deleted and created again, with other members. Each device that has the
        // package loses it to another one.
        let first = round % 2;
        let unassign = StateChange::Unassign {
            from: of_device(5 - first),
            package,
        };
        machine
            .commit(&[
                delete_lab(),
                create_lab(),
                join(1 - first..5 - first),
                assign(package, false),
                unassign,
                assign_to(4 + first),
            ])
            .await;
        target.table.faults.deny_after_writes(Some(stop));
        let stopped = target.try_complete().await;
        target.table.faults.deny_after_writes(None);
        if stopped.is_err() {
            target.complete().await;
        }
        target.check_records().await;
        assert_eq!(target.size(&lab()).await, 4);
        if stopped.is_ok() {
            assert!(stop > 10, "the records need more writes than {stop}");
            break;
        }
    }
}

#[tokio::test]
async fn several_publishers_complete_the_records_of_each_other() {
    let target = TestTarget::with_devices(323, 60).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine.commit(&[create_lab(), join(0..30)]).await;
    for round in 0..6 {
        let one = async {
            machine
                .commit(&[assign(package, false), join(30..45)])
                .await;
            machine
                .commit(&[delete_lab(), create_lab(), join(20..50)])
                .await;
            target.try_complete().await
        };
        let two = async {
            let urgent = target.urgent().await;
            tokio::task::yield_now().await;
            urgent.rest(&Progress::none()).await
        };
        let three = target.try_complete();
        let (one, two, three) = tokio::join!(one, two, three);
        for completed in [one, two, three] {
            completed.unwrap();
        }
        target.complete().await;
        target.check_records().await;
        assert_eq!(target.size(&lab()).await, 30, "{round}");
    }
}

#[tokio::test]
async fn a_slow_publisher_completes_the_later_head() {
    let target = TestTarget::with_devices(324, 20).await;
    let machine = target.machine("one");
    let (vlc, git) = (
        target.table.package("vlc", 5).await.id,
        target.table.package("git", 3).await.id,
    );
    machine.commit(&[create_lab(), join(0..10)]).await;
    target.complete().await;
    machine.commit(&[assign(vlc, false), join(10..15)]).await;
    let slow = target.urgent().await;
    // The later publisher stops after its urgent records. The slow one completes its own order.
    machine.commit(&[assign(git, false), leave_lab([3])]).await;
    drop(target.urgent().await);
    assert_eq!(target.size(&lab()).await, 9);
    let completed = slow.rest(&Progress::none()).await.unwrap();
    assert_eq!(completed.order, 2);
    assert_eq!(target.size(&lab()).await, 14);
    let recorded = target.table.records.recorded_head().await.unwrap();
    assert_eq!(recorded.map(|head| head.order), Some(2));
    target.complete().await;
    target.check_records().await;

    // A slow publisher that cannot complete its own order continues with the later head.
    machine.commit(&[delete_lab()]).await;
    let slow = target.urgent().await;
    let (later, _) = machine.commit(&[create_lab(), join(15..18)]).await;
    drop(target.urgent().await);
    let completed = slow.rest(&Progress::none()).await.unwrap();
    assert_eq!(completed.order, later.order);
    target.check_records().await;
    assert_eq!(target.size(&lab()).await, 3);

    // A device that both heads change follows the later one.
    let create_office = || StateChange::CreateGroup { group: office() };
    machine.commit(&[create_office()]).await;
    target.complete().await;
    let delete_office = StateChange::DeleteGroup { group: office() };
    machine.commit(&[join([18]), delete_office]).await;
    let slow = target.urgent().await;
    let join_office = StateChange::Join {
        group: office(),
        devices: BTreeSet::from([device(18).device]),
    };
    machine.commit(&[create_office(), join_office]).await;
    drop(target.urgent().await);
    slow.rest(&Progress::none()).await.unwrap();
    assert_eq!(target.size(&office()).await, 1);
    target.check_records().await;

    // If the later publisher has completed its head, the slow one changes nothing.
    machine.commit(&[join(19..20)]).await;
    let slow = target.urgent().await;
    machine.commit(&[delete_lab()]).await;
    target.complete().await;
    slow.rest(&Progress::none()).await.unwrap();
    target.check_records().await;
    assert_eq!(target.size(&lab()).await, 0);
}

#[tokio::test]
async fn lost_packages_and_groups_come_first() {
    let target = TestTarget::with_devices(325, 5).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let direct = assign_to(of_device(1), package);
    machine
        .commit(&[create_lab(), join([2]), assign(package, false), direct])
        .await;
    target.complete().await;
    machine
        .commit(&[
            StateChange::Unassign {
                from: of_device(1),
                package,
            },
            unassign(package),
            leave_lab([2]),
            join([3]),
        ])
        .await;
    let urgent = target.urgent().await;
    let lost: Vec<DeviceId> = urgent.completed().devices.keys().cloned().collect();
    assert_eq!(lost, [1, 2].map(|number| device(number).device));
    assert_eq!(target.size(&lab()).await, 0);
    let state = target.table.records.group(&lab()).await.unwrap().unwrap();
    assert_eq!(state.assignments, []);
    assert!(
        target
            .table
            .task(&device(1).device, package)
            .await
            .is_none()
    );
    urgent.rest(&Progress::none()).await.unwrap();
    assert_eq!(target.size(&lab()).await, 1);
    target.check_records().await;
}

#[tokio::test]
async fn records_are_complete_although_many_requests_fail() {
    let target = TestTarget::with_devices(326, 40).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine
        .commit(&[create_lab(), join(0..40), assign(package, false)])
        .await;
    target.table.faults.set_rates(FaultRates {
        conflicts: 200,
        update_conflicts: 200,
        throttles: 60,
        lost_answers: 100,
        unprocessed: 200,
        index_lag: 0,
    });
    let persist = async || {
        for _ in 0..50 {
            if let Ok(completed) = target.try_complete().await {
                return completed;
            }
        }
        panic!("the records are not complete after 50 attempts");
    };
    tokio::join!(persist(), persist());
    target.table.faults.set_rates(FaultRates::default());
    target.check_records().await;
    assert_eq!(target.size(&lab()).await, 40);
}
