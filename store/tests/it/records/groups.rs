//! The records of groups: what they cost, and what they refuse.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::assign::{Assigned, PackageOnDevice};
use packcast_rollout::reconcile::{Reconciling, Step, reconcile};
use packcast_rollout::unassign::Unassigned;
use packcast_rollout::{GroupState, PackageRecord};
use packcast_store::records::{GroupError, Joined, Standing};
use packcast_testing::meter::Usage;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, device};

const MEMBERS: u32 = 10_000;
const MOST_GROUPS: usize = 50;

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

async fn with_groups(service: Service, seed: u64, names: &[&str]) -> Table {
    let table = Table::start_on(service, seed).await;
    for name in names {
        let created = table.records.create_group(&group(name), signing()).await;
        created.unwrap();
    }
    table
}

async fn join(table: &Table, device: &DeviceId, name: &str) {
    let joined = table.records.join(device, &group(name), signing()).await;
    assert_eq!(joined.unwrap(), Joined::New);
}

/// Assigns a package and takes it back, and returns what each cost.
async fn costs(table: &Table, group: &GroupName, package: &PackageRecord) -> [(Usage, f64); 2] {
    let records = &table.records;
    table.meter.take();
    let assigned = records.assign_group(group, package, false, signing()).await;
    let assigned = (table.meter.take(), assigned.unwrap().consumed_units);
    let unassigned = records.unassign_group(group, package.id, signing()).await;
    let unassigned = (table.meter.take(), unassigned.unwrap().consumed_units);
    [assigned, unassigned]
}

async fn a_group_of_many_costs_what_a_group_of_one_costs(service: Service) {
    let table = with_groups(service, 80, &["lab"]).await;
    let (package, one) = (table.package("vlc", 5).await, table.device(1).await);
    join(&table, &one, "lab").await;
    // The group of all comes into being with its first assignment.
    costs(&table, &GroupName::all(), &package).await;
    let of_one = [
        costs(&table, &group("lab"), &package).await,
        costs(&table, &GroupName::all(), &package).await,
    ];
    let others = (2..=MEMBERS).map(|number| device(number).device);
    table.copy_device(&one, others).await;
    let members = table.records.members(&group("lab")).await.unwrap();
    assert_eq!(members.len(), MEMBERS as usize);
    let of_many = [
        costs(&table, &group("lab"), &package).await,
        costs(&table, &GroupName::all(), &package).await,
    ];
    assert_eq!(of_many, of_one);
    for (usage, consumed_units) in of_many.iter().flatten() {
        assert_eq!(usage.count("TransactWriteItems"), 1, "{usage:?}");
        assert!(
            *consumed_units > 0.0 && usage.operations.len() <= 2,
            "{usage:?}"
        );
    }
}

async fn joining_costs_the_same_whatever_the_group_has(service: Service) {
    let table = with_groups(service, 87, &["lab"]).await;
    let (one, other) = (table.device(1).await, table.device(2).await);
    let cost_of = async |device| {
        table.meter.take();
        join(&table, device, "lab").await;
        table.meter.take()
    };
    let of_none = cost_of(&one).await;
    for n in 0..30 {
        let package = table.package(&format!("package-{n}"), 5).await;
        let lab = group("lab");
        let assigned = table
            .records
            .assign_group(&lab, &package, false, signing())
            .await;
        assigned.unwrap();
    }
    assert_eq!(cost_of(&other).await, of_none);
}

async fn a_device_is_in_50_groups_and_no_more(service: Service) {
    let names: Vec<String> = (0..=MOST_GROUPS).map(|n| format!("group-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = with_groups(service, 81, &names).await;
    let device = table.device(1).await;
    let (first, last) = names.split_at(MOST_GROUPS - 1);
    for name in first {
        join(&table, &device, name).await;
    }
    let groups: Vec<GroupName> = last.iter().map(|name| group(name)).collect();
    let joined = join_all(
        groups
            .iter()
            .map(|group| table.records.join(&device, group, signing())),
    )
    .await;
    let joined: Vec<Joined> = joined.into_iter().map(Result::unwrap).collect();
    let new = joined.iter().filter(|joined| **joined == Joined::New);
    assert_eq!(new.count(), 1, "{joined:?}");
    let standing = table.records.standing(&device).await.unwrap();
    assert_eq!(standing.memberships.joined().count(), MOST_GROUPS);
}

async fn assignments_at_once_are_all_kept(service: Service) {
    let table = with_groups(service, 82, &["lab"]).await;
    let mut packages = Vec::new();
    for n in 0..8 {
        packages.push(table.package(&format!("package-{n}"), 5).await);
    }
    let lab = group("lab");
    let before = table.records.group(&lab).await.unwrap().unwrap().revision;
    let twice = packages.iter().chain(&packages);
    let assigned = twice.map(|package| table.records.assign_group(&lab, package, false, signing()));
    for assigned in join_all(assigned).await {
        assigned.unwrap();
    }
    let state = table.records.group(&lab).await.unwrap().unwrap();
    let ids: BTreeSet<_> = state.assignments.iter().map(|one| one.package).collect();
    assert_eq!(ids, packages.iter().map(|package| package.id).collect());
    assert_eq!(state.revision, before + 16);
    let seqs: BTreeSet<u64> = state.assignments.iter().map(|one| one.seq).collect();
    assert_eq!(seqs.len(), packages.len());
    for package in &packages {
        let groups = table.records.groups_with(package.id).await.unwrap();
        assert_eq!(groups, [group("lab")]);
    }
}

async fn a_group_is_deleted_only_when_it_is_empty_and_counts_on(service: Service) {
    let table = with_groups(service, 83, &["lab"]).await;
    let (records, lab) = (&table.records, group("lab"));
    let (package, device) = (table.package("vlc", 5).await, table.device(1).await);
    records
        .assign_group(&lab, &package, false, signing())
        .await
        .unwrap();
    assert!(!records.delete_group(&lab).await.unwrap());
    records
        .unassign_group(&lab, package.id, signing())
        .await
        .unwrap();
    join(&table, &device, "lab").await;
    assert!(!records.delete_group(&lab).await.unwrap());
    assert!(records.leave(&device, &lab, signing()).await.unwrap());
    let before = records.group(&lab).await.unwrap().unwrap().revision;
    assert!(records.delete_group(&lab).await.unwrap());
    assert!(matches!(
        records.delete_group(&lab).await,
        Err(GroupError::NoGroup { .. })
    ));
    assert!(matches!(
        records.join(&device, &lab, signing()).await,
        Err(GroupError::NoGroup { .. })
    ));
    let again = records.create_group(&lab, signing()).await.unwrap();
    assert!(again.revision > before, "{again:?}");
    join(&table, &device, "lab").await;
    assert_eq!(records.size(&lab).await.unwrap(), 1);
}

async fn who_joins_a_group_that_is_deleted_is_in_it_or_is_refused(service: Service) {
    let table = with_groups(service, 84, &[]).await;
    let (records, device) = (&table.records, table.device(1).await);
    for n in 0..20 {
        let name = group(&format!("group-{n}"));
        records.create_group(&name, signing()).await.unwrap();
        let (joined, deleted) = tokio::join!(
            records.join(&device, &name, signing()),
            records.delete_group(&name)
        );
        let is_left = records.group(&name).await.unwrap().is_some();
        match joined {
            Ok(Joined::New) => assert!(!deleted.unwrap() && is_left, "{name}"),
            Err(GroupError::NoGroup { .. }) => assert!(deleted.unwrap() && !is_left, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        records.leave(&device, &name, signing()).await.unwrap();
    }
}

/// A device in two groups, of which one has had a package that the device was told nothing of
/// yet, and the other gets it.
struct Moving {
    table: Table,
    device: DeviceId,
    package: PackageRecord,
    standing: Standing,
    /// The groups as they were when neither had it.
    before: Vec<GroupState>,
    /// The groups as they are.
    now: Vec<GroupState>,
}

impl Moving {
    async fn start(service: Service, seed: u64) -> Self {
        let table = with_groups(service, seed, &["lab", "site"]).await;
        let (package, device) = (table.package("vlc", 5).await, table.device(1).await);
        join(&table, &device, "lab").await;
        join(&table, &device, "site").await;
        let moving = Self {
            standing: table.records.standing(&device).await.unwrap(),
            before: table.records.groups().await.unwrap(),
            now: Vec::new(),
            table,
            device,
            package,
        };
        let records = &moving.table.records;
        let lab = group("lab");
        let assigned = records.assign_group(&lab, &moving.package, false, signing());
        assigned.await.unwrap();
        assert!(moving.reconcile(&records.groups().await.unwrap()).await);
        records
            .unassign_group(&lab, moving.package.id, signing())
            .await
            .unwrap();
        // No mark is left to be moved for the group that has lost it.
        assert!(
            records
                .leave(&moving.device, &lab, signing())
                .await
                .unwrap()
        );
        let site = group("site");
        let assigned = records.assign_group(&site, &moving.package, false, signing());
        assigned.await.unwrap();
        let standing = records.standing(&moving.device).await.unwrap();
        let now = records.groups().await.unwrap();
        Self {
            standing,
            now,
            ..moving
        }
    }

    /// Decides as a check-in does that believes the groups to be so.
    fn steps(&self, states: &[GroupState]) -> Vec<Step> {
        let reconciling = Reconciling {
            device: &self.device,
            memberships: &self.standing.memberships,
            tasks: &self.standing.tasks,
            states,
        };
        let situation = |_| PackageOnDevice {
            is_known: true,
            open: self.standing.tasks.first().cloned(),
            ..PackageOnDevice::default()
        };
        reconcile(&reconciling, situation, |_| Some(&self.package), NOW)
    }

    async fn write(&self, steps: &[Step]) -> bool {
        let [step] = steps else {
            panic!("one step is enough: {steps:?}");
        };
        let records = &self.table.records;
        let written = records.write_step(&self.device, self.standing.round, step);
        written.await.unwrap()
    }

    async fn reconcile(&self, states: &[GroupState]) -> bool {
        self.write(&self.steps(states)).await
    }

    /// Expects that a check-in that knows everything leaves the device with the package.
    async fn expect_task(mut self) {
        let records = &self.table.records;
        self.standing = records.standing(&self.device).await.unwrap();
        let steps = self.steps(&self.now);
        if !steps.is_empty() {
            assert!(self.write(&steps).await);
        }
        let task = self.table.task(&self.device, self.package.id).await;
        assert!(task.is_some(), "nobody begins it again");
        let tally = self.table.records.tally(self.package.id).await.unwrap();
        assert_eq!((tally.assigned, tally.waiting()), (1, 1));
    }
}

async fn what_one_check_in_counts_on_another_cannot_take_back(service: Service) {
    for is_older_first in [true, false] {
        let moving = Moving::start(service.clone(), 85).await;
        let (older, newer) = (moving.steps(&moving.before), moving.steps(&moving.now));
        let (first, second) = if is_older_first {
            (&older, &newer)
        } else {
            (&newer, &older)
        };
        assert!(moving.write(first).await);
        assert!(!moving.write(second).await, "it was decided before");
        moving.expect_task().await;
    }
}

async fn what_a_check_in_counts_on_a_command_cannot_take_back(service: Service) {
    let moving = Moving::start(service, 86).await;
    let newer = moving.steps(&moving.now);
    let records = &moving.table.records;
    // It is the device's own, and then its group's: the command ends the round.
    let assigned = records.assign(&moving.device, &moving.package, false, signing());
    assert!(matches!(
        assigned.await.unwrap(),
        Assigned::AlreadyOpen { .. }
    ));
    let unassigned = records
        .unassign(&moving.device, &moving.package, signing())
        .await;
    assert_eq!(unassigned.unwrap(), Unassigned::KeptByGroup(group("site")));
    assert!(!moving.write(&newer).await, "it was decided before");
    moving.expect_task().await;
}

packcast_testing::on_each_service! {
    a_group_of_many_costs_what_a_group_of_one_costs
    joining_costs_the_same_whatever_the_group_has
    a_device_is_in_50_groups_and_no_more
    assignments_at_once_are_all_kept
    a_group_is_deleted_only_when_it_is_empty_and_counts_on
    who_joins_a_group_that_is_deleted_is_in_it_or_is_refused
    what_one_check_in_counts_on_another_cannot_take_back
    what_a_check_in_counts_on_a_command_cannot_take_back
}
