//! Records of groups: the costs of their changes, and the refused changes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::assign::{AssignOutcome, PackageOnDevice};
use packcast_rollout::reconcile::{Reconciling, Step, reconcile};
use packcast_rollout::unassign::Unassigned;
use packcast_rollout::{GroupState, PackageRecord};
use packcast_store::RecordsError;
use packcast_store::records::DeviceState;
use packcast_testing::administrator::{Administrator as _, ChangeError, Joined};
use packcast_testing::meter::Usage;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, device};
use serde_json::json;

const MEMBERS: u32 = 10_000;
const MOST_GROUPS: usize = 40;

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

#[tokio::test]
async fn a_key_that_is_given_twice_is_read_once() {
    let table = with_groups(Service::Embedded, 370, &["lab"]).await;
    let device = table.device(1).await;
    join(&table, &device, "lab").await;
    let twice = [device.clone(), device.clone()];
    let memberships = table.records.memberships(&twice).await.unwrap();
    assert_eq!(memberships.len(), 1);
    let groups = [group("lab"), group("lab")];
    assert_eq!(table.records.group_states(&groups).await.unwrap().len(), 1);
}

/// Assigns a package and unassigns it, and returns the cost of each change.
async fn costs(table: &Table, group: &GroupName, package: &PackageRecord) -> [Usage; 2] {
    let records = &table.records;
    table.meter.take();
    let assigned = records.assign_group(group, package, false, signing()).await;
    assigned.unwrap();
    let assigned = table.meter.take();
    let unassigned = records.unassign_group(group, package.id, signing()).await;
    unassigned.unwrap();
    [assigned, table.meter.take()]
}

async fn a_large_group_costs_as_much_as_a_group_of_one(service: Service) {
    let table = with_groups(service, 80, &["lab"]).await;
    let (package, one) = (table.package("vlc", 5).await, table.device(1).await);
    join(&table, &one, "lab").await;
    // The group `all` is created with its first assignment.
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
    for usage in of_many.iter().flatten() {
        // The commit, and the group with its entry in the partition of the package.
        assert_eq!(usage.count("TransactWriteItems"), 2, "{usage:?}");
    }
}

async fn joining_takes_the_same_requests_for_any_number_of_assignments(service: Service) {
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
    let of_many = cost_of(&other).await;
    assert_eq!(of_many.operations, of_none.operations);
    // The document of the group and the pages of the trees are larger.
    let more = of_many.read_units - of_none.read_units + of_many.write_units - of_none.write_units;
    assert!(more <= 8.0, "{of_none:?} {of_many:?}");
}

async fn a_device_can_be_in_40_groups_at_most(service: Service) {
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
    let device_state = table.records.device_state(&device).await.unwrap();
    assert_eq!(device_state.memberships.joined().count(), MOST_GROUPS);
}

async fn concurrent_assignments_are_all_kept(service: Service) {
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
    // One completion may record the assignments of several commits, with the same `seq`.
    let mut seqs = state.assignments.iter().map(|one| one.seq);
    assert!(seqs.all(|seq| before < seq && seq <= state.revision));
    for package in &packages {
        let groups = table.records.groups_with(package.id).await.unwrap();
        assert_eq!(groups, [group("lab")]);
    }
}

async fn only_an_empty_group_is_deleted_and_its_revision_continues(service: Service) {
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
        Err(ChangeError::NoGroup { .. })
    ));
    assert!(matches!(
        records.join(&device, &lab, signing()).await,
        Err(ChangeError::NoGroup { .. })
    ));
    let again = records.create_group(&lab, signing()).await.unwrap();
    assert!(again.revision > before, "{again:?}");
    join(&table, &device, "lab").await;
    assert_eq!(records.size(&lab).await.unwrap(), 1);
}

async fn joining_a_group_during_its_deletion_succeeds_or_is_refused(service: Service) {
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
        // The deletion may have found the group empty, and have been committed after the join.
        assert!(
            matches!(joined, Ok(Joined::New) | Err(ChangeError::NoGroup { .. })),
            "{name}: {joined:?}"
        );
        assert_ne!(deleted.unwrap(), is_left, "{name}");
        let members = records.members(&name).await.unwrap();
        assert_eq!(members.len(), usize::from(is_left), "{name}");
        records.leave(&device, &name, signing()).await.unwrap();
    }
}

async fn a_record_under_the_key_of_another_is_corrupt(service: Service) {
    let table = with_groups(service, 112, &["lab"]).await;
    let (records, lab) = (&table.records, &group("lab"));
    let mut state = table.item("GROUP#lab", "STATE").await;
    state["group"] = json!({ "S": "all" });
    table.put(&state).await;
    let read = records.group(lab).await;
    assert!(
        matches!(read, Err(RecordsError::Corrupt { .. })),
        "{read:?}"
    );
    let read = records.group_states(std::slice::from_ref(lab)).await;
    assert!(
        matches!(read, Err(RecordsError::Corrupt { .. })),
        "{read:?}"
    );
}

/// A device in two groups; its package moves from one group to the other.
///
/// The first group has had the package, but the task was not announced to the device yet. Then the
/// second group gets the package.
struct Moving {
    table: Table,
    device: DeviceId,
    package: PackageRecord,
    device_state: DeviceState,
    /// The groups before either had the package.
    before: Vec<GroupState>,
    /// The groups now.
    now: Vec<GroupState>,
}

impl Moving {
    async fn start(service: Service, seed: u64) -> Self {
        let table = with_groups(service, seed, &["lab", "site"]).await;
        let (package, device) = (table.package("vlc", 5).await, table.device(1).await);
        join(&table, &device, "lab").await;
        join(&table, &device, "site").await;
        let moving = Self {
            device_state: table.records.device_state(&device).await.unwrap(),
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
        // Without a membership, no observed revision of the first group has to be advanced.
        assert!(
            records
                .leave(&moving.device, &lab, signing())
                .await
                .unwrap()
        );
        let site = group("site");
        let assigned = records.assign_group(&site, &moving.package, false, signing());
        assigned.await.unwrap();
        let device_state = records.device_state(&moving.device).await.unwrap();
        let now = records.groups().await.unwrap();
        Self {
            device_state,
            now,
            ..moving
        }
    }

    /// Returns the decision of a check-in that has read these states of the groups.
    fn steps(&self, states: &[GroupState]) -> Vec<Step> {
        let reconciling = Reconciling {
            device: &self.device,
            memberships: &self.device_state.memberships,
            tasks: &self.device_state.tasks,
            states,
            paused: &[],
        };
        let situation = |_| PackageOnDevice {
            system: packcast_rollout::DeviceSystem::Unknown,
            is_known: true,
            open: self.device_state.tasks.first().cloned(),
            ..PackageOnDevice::default()
        };
        reconcile(&reconciling, situation, |_| Some(&self.package), NOW)
    }

    async fn write(&self, steps: &[Step]) -> bool {
        let [step] = steps else {
            panic!("expected one step, found {steps:?}");
        };
        let records = &self.table.records;
        let written = records.write_step(&self.device, self.device_state.round, step);
        written.await.unwrap()
    }

    async fn reconcile(&self, states: &[GroupState]) -> bool {
        self.write(&self.steps(states)).await
    }

    /// Expects that a check-in that reads the current groups leaves the device with the package.
    async fn expect_task(mut self) {
        let records = &self.table.records;
        self.device_state = records.device_state(&self.device).await.unwrap();
        let steps = self.steps(&self.now);
        if !steps.is_empty() {
            assert!(self.write(&steps).await);
        }
        let task = self.table.task(&self.device, self.package.id).await;
        assert!(
            task.is_some(),
            "the task is gone, and no later check-in starts it"
        );
        let tally = self.table.records.tally(self.package.id).await.unwrap();
        assert_eq!((tally.assigned, tally.waiting()), (1, 1));
    }
}

async fn a_check_in_cannot_undo_the_decision_of_a_concurrent_one(service: Service) {
    for is_older_first in [true, false] {
        let moving = Moving::start(service.clone(), 85).await;
        let (older, newer) = (moving.steps(&moving.before), moving.steps(&moving.now));
        let (first, second) = if is_older_first {
            (&older, &newer)
        } else {
            (&newer, &older)
        };
        assert!(moving.write(first).await);
        assert!(!moving.write(second).await, "the decision is out of date");
        moving.expect_task().await;
    }
}

async fn a_command_cannot_undo_the_basis_of_a_check_in(service: Service) {
    let moving = Moving::start(service, 86).await;
    let newer = moving.steps(&moving.now);
    let records = &moving.table.records;
    // The task is the device's own, then its group's: the command ends the round.
    let assigned = records.assign(&moving.device, &moving.package, false, signing());
    assert!(matches!(
        assigned.await.unwrap(),
        AssignOutcome::AlreadyOpen { .. }
    ));
    let unassigned = records
        .unassign(&moving.device, &moving.package, signing())
        .await;
    assert_eq!(unassigned.unwrap(), Unassigned::KeptByGroup(group("site")));
    assert!(!moving.write(&newer).await, "the decision is out of date");
    moving.expect_task().await;
}

async fn the_task_of_a_package_that_nobody_is_assigned_is_withdrawn(service: Service) {
    let moving = Moving::start(service, 87).await;
    let (table, device, package) = (&moving.table, &moving.device, moving.package.id);
    let withdraw = async || {
        let withdrawn = table.records.withdraw_task(device, package).await;
        withdrawn.unwrap();
        table.task(device, package).await
    };
    assert!(withdraw().await.is_some(), "a group has the package");
    let unassigned = table
        .records
        .unassign_group(&group("site"), package, signing())
        .await;
    unassigned.unwrap();
    for _ in 0..2 {
        assert_eq!(withdraw().await, None);
    }
    let tally = table.records.tally(package).await.unwrap();
    assert_eq!((tally.assigned, tally.waiting()), (0, 0));
}

packcast_testing::on_each_service! {
    a_large_group_costs_as_much_as_a_group_of_one
    joining_takes_the_same_requests_for_any_number_of_assignments
    a_device_can_be_in_40_groups_at_most
    concurrent_assignments_are_all_kept
    only_an_empty_group_is_deleted_and_its_revision_continues
    joining_a_group_during_its_deletion_succeeds_or_is_refused
    a_check_in_cannot_undo_the_decision_of_a_concurrent_one
    a_command_cannot_undo_the_basis_of_a_check_in
    the_task_of_a_package_that_nobody_is_assigned_is_withdrawn
    a_record_under_the_key_of_another_is_corrupt
}
