//! Records that follow from the signed state, written by one publisher and by several.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use packcast_protocol::state::document::DeviceGroups;
use packcast_protocol::state::{
    DeviceDocument, Document, Entries, GroupDocument, NodeHash, StateEntry, Terms,
};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::reconcile::{ObservedRevision, Step};
use packcast_rollout::state::{EarlierDevice, GroupPackages, project_packages};
use packcast_rollout::unassign::Unassigned;
use packcast_rollout::{GroupState, PackageRecord};
use packcast_store::records::{
    Announced, Announcing, DeviceChanges, DeviceProjected, DeviceTarget, GroupMoved,
    GroupProjected, GroupTarget, HeadChange, RecordedLeaf,
};
use packcast_testing::commits::commit_after;
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::raw::RawEngine;
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, device, mia};
use serde_json::{Value, json};

const RATES: FaultRates = FaultRates {
    conflicts: 150,
    update_conflicts: 0,
    throttles: 50,
    lost_answers: 150,
    unprocessed: 0,
    index_lag: 0,
};

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn lab() -> GroupName {
    group("lab")
}

fn entries(packages: &[(&PackageRecord, u64)]) -> Entries {
    let entry = |(package, seq): &(&PackageRecord, u64)| StateEntry {
        package: package.id,
        manifest: Sha256Digest::of(b"manifest"),
        seq: *seq,
        assignee: None,
        force: false,
        terms: Terms::default(),
    };
    Entries::new(packages.iter().map(entry).collect()).unwrap()
}

/// Returns the document of a group that commit `created` has created.
pub(super) fn group_document(
    created: u64,
    packages: &[(&PackageRecord, u64)],
) -> Document<GroupDocument> {
    let mut document = GroupDocument::empty(created, created);
    document.packages = entries(packages);
    Document::new(document)
}

/// The leaf of a device, with all that its projection needs.
struct Leaf {
    document: Option<Document<DeviceDocument>>,
    groups: BTreeMap<GroupName, u64>,
    earlier: EarlierDevice,
}

impl Leaf {
    /// Returns the leaf of a device in these groups, without packages.
    fn in_groups(groups: &[(&str, u64)]) -> Self {
        Self::new(groups, &[], &[])
    }

    /// Returns the leaf of a device whose earlier document had other packages.
    fn new(
        groups: &[(&str, u64)],
        packages: &[(&PackageRecord, u64)],
        earlier: &[(&PackageRecord, u64)],
    ) -> Self {
        let groups: BTreeMap<GroupName, u64> = groups
            .iter()
            .map(|(name, created)| (group(name), *created))
            .collect();
        let document = |packages| {
            let groups = DeviceGroups::new(groups.clone()).unwrap();
            DeviceDocument::new(groups, entries(packages))
        };
        let (document, earlier) = (document(packages), document(earlier));
        let earlier = [Some(&document), Some(&earlier)];
        Self {
            earlier: EarlierDevice::new(Some(&document), &groups, earlier),
            document: Some(Document::new(document)),
            groups,
        }
    }

    fn target<'a>(&'a self, device: &'a DeviceId) -> DeviceTarget<'a> {
        DeviceTarget {
            device,
            document: self.document.as_ref(),
            groups: &self.groups,
            earlier: &self.earlier,
        }
    }
}

async fn project_group(
    table: &Table,
    name: &str,
    document: Option<&Document<GroupDocument>>,
    order: u64,
) -> GroupProjected {
    let target = GroupTarget {
        group: &group(name),
        document,
        packages: &GroupPackages::default(),
        order,
    };
    table.records.project_group(&target).await.unwrap()
}

const WRITTEN: GroupProjected = GroupProjected::Written {
    left: GroupPackages {
        added: BTreeSet::new(),
        removed: BTreeSet::new(),
    },
};

/// Puts a head with a high order on record, so that no order of a test is above it.
async fn with_head(table: &Table) {
    let commit = commit_after(None, NodeHash::EMPTY, NOW);
    let change = HeadChange {
        replaced: None,
        commit: &commit,
        at: None,
        assigned: &[],
        lists: &[],
    };
    table.records.change_head(change).await.unwrap();
    let mut head = table.item("HEAD", "HEAD").await;
    head["order"]["N"] = "50".into();
    table.put(&head).await;
}

/// Puts an empty group on record, at order 1 of 50.
async fn with_lab(table: &Table, created: u64) {
    with_head(table).await;
    let document = group_document(created, &[]);
    let projected = project_group(table, "lab", Some(&document), 1).await;
    assert_eq!(projected, WRITTEN);
}

/// Writes the records of devices that all have the same leaf.
async fn project(
    table: &Table,
    devices: &[DeviceId],
    leaf: &Leaf,
    order: u64,
) -> Vec<DeviceProjected> {
    let targets: Vec<DeviceTarget<'_>> = devices.iter().map(|it| leaf.target(it)).collect();
    let records = &table.records;
    let projected = records.project_devices(&targets, order, NOW, &|_| {}).await;
    let mut projected = projected.unwrap();
    projected.sort_by_key(|(device, _)| *device);
    assert_eq!(projected.len(), devices.len());
    let outcomes = projected.into_iter().map(|(_, outcome)| outcome);
    outcomes.collect::<Result<_, _>>().unwrap()
}

async fn project_one(table: &Table, device: &DeviceId, leaf: &Leaf, order: u64) -> DeviceProjected {
    let projected = project(table, std::slice::from_ref(device), leaf, order).await;
    projected.into_iter().next().unwrap()
}

fn joined(name: &str) -> DeviceProjected {
    DeviceProjected::Written(DeviceChanges {
        joined: BTreeSet::from([group(name)]),
        ..DeviceChanges::default()
    })
}

fn left(name: &str) -> DeviceProjected {
    DeviceProjected::Written(DeviceChanges {
        left: BTreeSet::from([group(name)]),
        ..DeviceChanges::default()
    })
}

/// Returns members of the group, after a comparison with their number and with their own records.
async fn members(table: &Table, name: &str) -> Vec<DeviceId> {
    let (records, group) = (&table.records, group(name));
    let members = records.members(&group).await.unwrap();
    let size = records.size(&group).await.unwrap();
    assert_eq!(size, u64::try_from(members.len()).unwrap());
    let everyone = records.members(&GroupName::all()).await.unwrap();
    let memberships = records.memberships(&everyone).await.unwrap();
    let mut own: Vec<DeviceId> = memberships
        .into_iter()
        .filter(|(_, groups)| groups.includes(&group))
        .map(|(device, _)| device)
        .collect();
    own.sort_unstable();
    assert_eq!(own, members);
    members
}

async fn state(table: &Table, name: &str) -> Option<GroupState> {
    table.records.group(&group(name)).await.unwrap()
}

async fn leaf_of(table: &Table, device: &DeviceId) -> RecordedLeaf {
    table.records.device_state(device).await.unwrap().leaf
}

async fn a_group_follows_its_document(service: Service) {
    let table = Table::without_target_on(service, 400).await;
    let (vlc, git) = (table.package("vlc", 5).await, table.package("git", 3).await);
    let records = &table.records;
    let first = group_document(9, &[(&vlc, 9)]);
    let second = group_document(9, &[(&vlc, 9), (&git, 10)]);
    let third = group_document(9, &[(&git, 10)]);
    let mut before = None;
    for (order, document) in (1..).zip([&first, &second, &third]) {
        let target = GroupTarget {
            group: &lab(),
            document: Some(document),
            packages: &project_packages(Some(document), [before]),
            order,
        };
        assert_eq!(records.project_group(&target).await.unwrap(), WRITTEN);
        before = Some(&**document);
    }
    let state = state(&table, "lab").await.unwrap();
    let assignments = state.assignments.iter();
    let assignments = assignments.map(|it| (it.package, it.seq, it.mandate, it.priority));
    let expected = [(git.id, 2, Some(10), git.priority)];
    assert_eq!(assignments.collect::<Vec<_>>(), expected);
    assert_eq!((state.revision, state.created), (3, Some(9)));
    assert_eq!(state.document, Some(third.digest()));
    assert_eq!(records.groups().await.unwrap(), [state]);
    assert_eq!(records.groups_with(vlc.id).await.unwrap(), []);
    assert_eq!(records.groups_with(git.id).await.unwrap(), [lab()]);
    let revisions = records.revisions(&[lab()]).await.unwrap();
    assert_eq!(revisions[&lab()], 3);
}

async fn a_writer_of_an_earlier_order_is_refused(service: Service) {
    let table = Table::without_target_on(service, 401).await;
    with_head(&table).await;
    let vlc = table.package("vlc", 5).await;
    let with_package = group_document(9, &[(&vlc, 10)]);
    let without = group_document(9, &[]);
    let projected = project_group(&table, "lab", Some(&without), 3).await;
    assert_eq!(projected, WRITTEN);
    let late = project_group(&table, "lab", Some(&with_package), 2).await;
    assert_eq!(late, GroupProjected::Superseded);
    assert_eq!(
        project_group(&table, "lab", None, 2).await,
        GroupProjected::Superseded
    );
    // The late writer has written the state before, and continues with the entries.
    let packages = project_packages(Some(&with_package), [None]);
    let records = &table.records;
    let written = records.write_group_packages(&lab(), &packages, 2).await;
    assert!(!written.unwrap());
    assert_eq!(records.groups_with(vlc.id).await.unwrap(), []);
    let state = state(&table, "lab").await.unwrap();
    assert_eq!((state.revision, state.assignments.len()), (3, 0));
    // A deleted group keeps its order, although it has no state.
    assert_eq!(
        project_group(&table, "lab", None, 5).await,
        GroupProjected::Deleted
    );
    let late = project_group(&table, "lab", Some(&without), 4).await;
    assert_eq!(late, GroupProjected::Superseded);
    assert!(!records.remove_members(&lab(), 4).await.unwrap());
    assert!(records.remove_members(&lab(), 5).await.unwrap());
}

async fn a_group_with_more_packages_than_a_transaction_is_completed_later(service: Service) {
    let table = Table::without_target_on(service, 402).await;
    let template = table.package_to_copy().await;
    let ids: Vec<PackageId> = (1..=230)
        .map(|n| PackageId::try_from(1_500_000_000 + n).unwrap())
        .collect();
    table.copy(&template, ids.iter().copied()).await;
    let records = &table.records;
    let packages = records.packages_of(&ids).await.unwrap();
    let with_seq: Vec<_> = packages.iter().map(|package| (package, 9)).collect();
    let document = group_document(9, &with_seq);
    let packages = project_packages(Some(&document), [None]);
    let target = GroupTarget {
        group: &lab(),
        document: Some(&document),
        packages: &packages,
        order: 1,
    };
    let GroupProjected::Written { left } = records.project_group(&target).await.unwrap() else {
        panic!("the group is new");
    };
    assert_eq!(left.added.len(), 230 - 97);
    assert!(
        records
            .write_group_packages(&lab(), &left, 1)
            .await
            .unwrap()
    );
    for package in [ids[0], ids[100], ids[229]] {
        assert_eq!(records.groups_with(package).await.unwrap(), [lab()]);
    }
    // A writer that continues after an interruption does not know which entries are written.
    let again = records.project_group(&target).await.unwrap();
    assert_eq!(again, GroupProjected::Written { left: packages });
}

async fn members_of_a_deleted_group_never_join_a_later_one(service: Service) {
    let table = Table::without_target_on(service, 403).await;
    with_lab(&table, 9).await;
    let devices: Vec<DeviceId> = (0..60).map(|number| device(number).device).collect();
    for number in 0..60 {
        table.device(number).await;
    }
    project(&table, &devices, &Leaf::in_groups(&[("lab", 9)]), 2).await;
    assert_eq!(members(&table, "lab").await.len(), 60);

    // The group is deleted and created again, and its later members are others.
    let again = group_document(12, &[]);
    let records = &table.records;
    let projected = project_group(&table, "lab", Some(&again), 4).await;
    assert_eq!(projected, GroupProjected::Deleted);
    assert_eq!(state(&table, "lab").await, None);
    let early = project_group(&table, "lab", Some(&again), 4).await;
    assert_eq!(early, GroupProjected::Deleted, "it still has members");
    let one = &devices[0];
    let late = project_one(&table, one, &Leaf::in_groups(&[("lab", 12)]), 4).await;
    assert_eq!(late, DeviceProjected::Written(DeviceChanges::default()));
    spoil_entry(&table, "lab", &devices[3]).await;
    assert!(records.remove_members(&lab(), 4).await.unwrap());
    assert_eq!(members(&table, "lab").await, []);
    let projected = project_group(&table, "lab", Some(&again), 4).await;
    assert_eq!(projected, WRITTEN);
    assert_eq!(state(&table, "lab").await.unwrap().created, Some(12));

    let two = &devices[1];
    let to_the_deleted_one = project_one(&table, two, &Leaf::in_groups(&[("lab", 9)]), 5).await;
    assert_eq!(to_the_deleted_one, DeviceProjected::OtherGroup);
    let to_the_later_one = project_one(&table, two, &Leaf::in_groups(&[("lab", 12)]), 5).await;
    assert_eq!(to_the_later_one, joined("lab"));
    // A slow writer that has deleted the group removes no member of the later one.
    assert!(!records.remove_members(&lab(), 4).await.unwrap());
    assert_eq!(members(&table, "lab").await, std::slice::from_ref(two));
}

async fn many_devices_join_and_leave_with_few_transactions(service: Service) {
    let table = Table::without_target_on(service, 404).await;
    with_lab(&table, 9).await;
    let one = table.device(0).await;
    let others = (1..500).map(|number| device(number).device);
    table.copy_device(&one, others).await;
    let devices: Vec<DeviceId> = (0..500).map(|number| device(number).device).collect();
    let in_lab = Leaf::in_groups(&[("lab", 9)]);
    table.meter.take();
    let projected = project(&table, &devices, &in_lab, 2).await;
    assert!(projected.iter().all(|it| *it == joined("lab")));
    let usage = table.meter.take();
    // 500 devices in 16 shards are about 31 in each.
    assert_eq!(usage.count("TransactWriteItems"), 16, "{usage:?}");
    assert_eq!(usage.operations.len(), 32);
    let records = &table.records;
    assert_eq!(records.size(&lab()).await.unwrap(), 500);

    let again = project(&table, &devices, &in_lab, 2).await;
    assert!(again.iter().all(|it| *it == DeviceProjected::AlreadySo));
    let mut gone = devices.clone();
    gone.push(device(1_000).device);
    let outside = Leaf::in_groups(&[]);
    let projected = project(&table, &gone, &outside, 3).await;
    let unknown = |it: &&DeviceProjected| **it == DeviceProjected::Unknown;
    assert_eq!(projected.iter().filter(unknown).count(), 1);
    assert_eq!(
        projected.iter().filter(|it| **it == left("lab")).count(),
        500
    );
    assert_eq!(records.size(&lab()).await.unwrap(), 0);
    let leaf = leaf_of(&table, &one).await;
    let digest = outside.document.as_ref().map(Document::digest);
    assert_eq!(leaf, RecordedLeaf { order: 3, digest });
}

async fn of_two_writers_the_later_order_stays(service: Service) {
    let table = Table::without_target_on(service, 405).await;
    with_lab(&table, 9).await;
    let office = group_document(9, &[]);
    project_group(&table, "office", Some(&office), 1).await;
    let devices: Vec<DeviceId> = (0..40).map(|number| device(number).device).collect();
    for number in 0..40 {
        table.device(number).await;
    }
    // At order 10 the devices are in one group, at order 11 in the other.
    let (tenth, eleventh) = (
        Leaf::in_groups(&[("lab", 9)]),
        Leaf::in_groups(&[("office", 9)]),
    );
    let writers = [(&tenth, 10), (&eleventh, 11), (&eleventh, 11), (&tenth, 10)];
    join_all(writers.map(|(leaf, order)| project(&table, &devices, leaf, order))).await;
    assert_eq!(members(&table, "lab").await, []);
    assert_eq!(members(&table, "office").await.len(), 40);
    let late = project(&table, &devices, &tenth, 10).await;
    assert!(late.iter().all(|it| *it == DeviceProjected::AlreadySo));
    // A device that has joined and left is written although the two documents are equal.
    let again = project(&table, &devices, &eleventh, 12).await;
    let nothing = DeviceProjected::Written(DeviceChanges::default());
    assert!(again.iter().all(|it| *it == nothing));
    let late = project(&table, &devices, &tenth, 11).await;
    assert!(late.iter().all(|it| *it == DeviceProjected::AlreadySo));
    assert_eq!(members(&table, "lab").await, []);
}

async fn records_are_complete_although_many_requests_fail(service: Service) {
    let table = Table::without_target_on(service, 406).await;
    with_lab(&table, 9).await;
    let package = table.package("vlc", 5).await;
    let devices: Vec<DeviceId> = (0..80).map(|number| device(number).device).collect();
    for number in 0..80 {
        table.device(number).await;
    }
    table.faults.set_rates(RATES);
    let (joins, leaves) = (
        Leaf::new(&[("lab", 9)], &[(&package, 9)], &[]),
        Leaf::new(&[], &[], &[(&package, 9)]),
    );
    let write = async |devices: &[DeviceId], leaf: &Leaf, order| {
        let targets: Vec<_> = devices.iter().map(|it| leaf.target(it)).collect();
        let records = &table.records;
        until_answered(async || {
            let projected = records
                .project_devices(&targets, order, NOW, &|_| {})
                .await?;
            let outcomes = projected.into_iter().map(|(_, outcome)| outcome);
            outcomes.collect::<Result<Vec<_>, _>>()
        })
        .await;
    };
    tokio::join!(
        write(&devices, &joins, 2),
        write(&devices, &joins, 2),
        write(&devices[40..], &leaves, 3),
        write(&devices[40..], &leaves, 3),
    );
    let injected = table.faults.injected();
    assert!(
        injected.conflicts > 0 && injected.lost_answers > 0,
        "{injected:?}"
    );
    table.faults.set_rates(FaultRates::default());
    let members = members(&table, "lab").await;
    let expected: BTreeSet<&DeviceId> = devices[..40].iter().collect();
    assert_eq!(members.iter().collect::<BTreeSet<_>>(), expected);
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.waiting()), (40, 40));
}

async fn a_direct_entry_has_one_task(service: Service) {
    let table = Table::without_target_on(service, 407).await;
    let (one, package) = (table.device(1).await, table.package("vlc", 5).await);
    let assigned = |outcome| {
        DeviceProjected::Written(DeviceChanges {
            assigned: BTreeMap::from([(package.id, outcome)]),
            ..DeviceChanges::default()
        })
    };
    let new = |attempt| assigned(AssignOutcome::New { attempt });
    let first = Leaf::new(&[], &[(&package, 9)], &[]);
    assert_eq!(project_one(&table, &one, &first, 1).await, new(1));
    let task = table.task(&one, package.id).await.unwrap();
    assert_eq!((task.mandate, task.direct), (Some(9), true));
    // A later entry continues the open task.
    let second = Leaf::new(&[], &[(&package, 10)], &[(&package, 9)]);
    let open = assigned(AssignOutcome::AlreadyOpen { attempt: 1 });
    assert_eq!(project_one(&table, &one, &second, 2).await, open);
    let task = table.task(&one, package.id).await.unwrap();
    assert_eq!(task.mandate, Some(10));
    let failure = packcast_testing::table::result(&task, "ERR_CLEAN");
    let records = &table.records;
    // A pending task ends as if the device had it already; only the mandate matters here.
    records.record_result(&one, &task, &failure).await.unwrap();
    let same = Leaf::new(&[], &[(&package, 10)], &[(&package, 9)]);
    let nothing = DeviceProjected::Written(DeviceChanges::default());
    assert_eq!(project_one(&table, &one, &same, 3).await, nothing);
    let third = Leaf::new(&[], &[(&package, 11)], &[(&package, 10)]);
    assert_eq!(project_one(&table, &one, &third, 4).await, new(2));
    let unassigned = |outcome| {
        DeviceProjected::Written(DeviceChanges {
            unassigned: BTreeMap::from([(package.id, outcome)]),
            ..DeviceChanges::default()
        })
    };
    let none = Leaf::new(&[], &[], &[(&package, 11)]);
    let dropped = unassigned(Unassigned::Dropped);
    assert_eq!(project_one(&table, &one, &none, 5).await, dropped);
    let not_assigned = unassigned(Unassigned::NotAssigned);
    assert_eq!(project_one(&table, &one, &none, 6).await, not_assigned);
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.failed), (1, 1));
    records.finished(&one, package.id).await.unwrap().unwrap();
}

async fn a_group_keeps_the_task_of_a_withdrawn_entry(service: Service) {
    let table = Table::without_target_on(service, 408).await;
    let (one, package) = (table.device(1).await, table.package("vlc", 5).await);
    let document = group_document(9, &[(&package, 9)]);
    project_group(&table, "lab", Some(&document), 1).await;
    let direct = Leaf::new(&[("lab", 9)], &[(&package, 10)], &[]);
    project_one(&table, &one, &direct, 2).await;
    let none = Leaf::new(&[("lab", 9)], &[], &[(&package, 10)]);
    let projected = project_one(&table, &one, &none, 3).await;
    let DeviceProjected::Written(changes) = projected else {
        panic!("{projected:?}");
    };
    let kept = BTreeMap::from([(package.id, Unassigned::KeptByGroup(lab()))]);
    assert_eq!(changes.unassigned, kept);
    assert!(!table.task(&one, package.id).await.unwrap().direct);
    // The group is another one at this head: its packages do not count.
    project_one(&table, &one, &direct, 4).await;
    let other = Leaf::new(&[], &[], &[(&package, 10)]);
    let projected = project_one(&table, &one, &other, 5).await;
    let DeviceProjected::Written(changes) = projected else {
        panic!("{projected:?}");
    };
    assert_eq!(changes.left, BTreeSet::from([lab()]));
    assert_eq!(changes.unassigned[&package.id], Unassigned::Dropped);
}

async fn a_device_can_change_all_of_its_groups_and_packages(service: Service) {
    let table = Table::without_target_on(service, 409).await;
    let one = table.device(1).await;
    let template = table.package_to_copy().await;
    let ids: Vec<PackageId> = (1..=60)
        .map(|n| PackageId::try_from(1_500_000_000 + n).unwrap())
        .collect();
    table.copy(&template, ids.iter().copied()).await;
    let packages = table.records.packages_of(&ids).await.unwrap();
    let with_seq: Vec<_> = packages.iter().map(|package| (package, 9)).collect();
    let names: Vec<String> = (0..80).map(|n| format!("g{n:02}")).collect();
    for name in &names {
        let document = group_document(9, &[]);
        project_group(&table, name, Some(&document), 1).await;
    }
    let all: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 9)).collect();
    let (before, after) = all.split_at(40);
    project_one(&table, &one, &Leaf::new(before, &with_seq[..30], &[]), 2).await;
    let leaf = Leaf::new(after, &with_seq[30..], &with_seq[..30]);
    let projected = project_one(&table, &one, &leaf, 3).await;
    let DeviceProjected::Written(changes) = projected else {
        panic!("{projected:?}");
    };
    assert_eq!((changes.joined.len(), changes.left.len()), (40, 40));
    assert_eq!((changes.assigned.len(), changes.unassigned.len()), (30, 30));
    let device_state = table.records.device_state(&one).await.unwrap();
    let joined: Vec<&str> = device_state
        .memberships
        .joined()
        .map(GroupName::as_str)
        .collect();
    let expected: Vec<&str> = after.iter().map(|(name, _)| *name).collect();
    assert_eq!(joined, expected);
    let tasks: Vec<PackageId> = device_state.tasks.iter().map(|task| task.package).collect();
    assert_eq!(tasks, ids[30..]);
    assert_eq!(members(&table, "g00").await, []);
    assert_eq!(members(&table, "g79").await, [one]);
}

async fn a_removed_device_loses_and_gets_nothing_more(service: Service) {
    let table = Table::without_target_on(service, 410).await;
    with_lab(&table, 9).await;
    let (one, package) = (table.device(1).await, table.package("vlc", 5).await);
    let (records, in_lab) = (&table.records, Leaf::in_groups(&[("lab", 9)]));
    project_one(&table, &one, &in_lab, 2).await;
    records
        .begin_removal(std::slice::from_ref(&one), None, &mia())
        .await
        .unwrap();
    let later = Leaf::new(&[("lab", 9), ("office", 9)], &[(&package, 9)], &[]);
    let nothing = DeviceProjected::Written(DeviceChanges::default());
    assert_eq!(project_one(&table, &one, &later, 3).await, nothing);
    let outside = Leaf::in_groups(&[]);
    assert_eq!(project_one(&table, &one, &outside, 4).await, left("lab"));
    records.erase(&one).await.unwrap();
    let gone = project_one(&table, &one, &in_lab, 5).await;
    assert_eq!(gone, DeviceProjected::Unknown);
    assert_eq!(members(&table, "lab").await, []);
}

async fn a_check_in_and_a_change_of_groups_keep_each_other(service: Service) {
    let table = Table::without_target_on(service, 411).await;
    with_lab(&table, 9).await;
    let one = table.device(1).await;
    let leaf = Leaf::in_groups(&[("lab", 9)]);
    project_one(&table, &one, &leaf, 2).await;
    let known = device(1);
    let mut record = known.clone();
    record.last_seen = NOW.plus(86_400);
    table
        .records
        .write_check_in(&record, Some(&known))
        .await
        .unwrap();
    let device_state = table.records.device_state(&one).await.unwrap();
    assert_eq!(device_state.device, Some(record));
    assert_eq!(device_state.leaf.order, 2);
    assert!(device_state.memberships.includes(&lab()));
}

async fn a_task_is_announced_only_under_the_leaf_that_was_read(service: Service) {
    let table = Table::without_target_on(service, 413).await;
    let (one, package) = (table.device(1).await, table.package("vlc", 5).await);
    let entry = Leaf::new(&[], &[(&package, 9)], &[]);
    let records = &table.records;
    let announce = async |leaf_order| {
        let task = table.task(&one, package.id).await.unwrap();
        let tasks = [Announcing::direct(&task)];
        let announced = records.announce(&one, leaf_order, &tasks, NOW).await;
        let Announced { on_record, refused } = announced.unwrap();
        (on_record.len(), refused.len())
    };
    project_one(&table, &one, &entry, 1).await;
    assert_eq!(leaf_of(&table, &one).await.order, 1);
    assert_eq!(announce(0).await, (0, 1));
    // The next head keeps the entry, and somebody else changes the device.
    let kept = Leaf::new(&[], &[(&package, 9)], &[(&package, 9)]);
    project_one(&table, &one, &kept, 2).await;
    assert_eq!(announce(1).await, (0, 1));
    assert_eq!(announce(2).await, (1, 0));
}

fn hall() -> GroupName {
    group("hall")
}

/// Returns the group `hall`, which was `lab`, at the head with this order.
fn renamed<'a>(
    name: &'a GroupName,
    document: &'a Document<GroupDocument>,
    packages: &'a GroupPackages,
    order: u64,
) -> GroupTarget<'a> {
    GroupTarget {
        group: name,
        document: Some(document),
        packages,
        order,
    }
}

/// Two publishers move the members at the same time, and many requests fail.
async fn members_of_a_renamed_group_keep_their_observed_revisions(service: Service) {
    let table = Table::without_target_on(service, 413).await;
    with_head(&table).await;
    let vlc = table.package("vlc", 5).await;
    let before = group_document(9, &[(&vlc, 9)]);
    assert_eq!(
        project_group(&table, "lab", Some(&before), 1).await,
        WRITTEN
    );
    let devices: Vec<DeviceId> = (0..60).map(|number| device(number).device).collect();
    for number in 0..60 {
        table.device(number).await;
    }
    project(&table, &devices, &Leaf::in_groups(&[("lab", 9)]), 2).await;
    let records = &table.records;
    for device in &devices[..30] {
        let observed = ObservedRevision {
            group: lab(),
            from: 0,
            to: 1,
        };
        let step = Step {
            changes: Vec::new(),
            observed: vec![observed],
        };
        let count = records.device_state(device).await.unwrap().round;
        assert!(records.write_step(device, count, &step).await.unwrap());
    }
    let document = Document::new(before.renamed(&lab(), &hall(), 12).unwrap());
    let (name, none) = (hall(), GroupPackages::default());
    let target = renamed(&name, &document, &none, 4);
    table.faults.set_rates(RATES);
    let from = lab();
    let movers = (0..2).map(|_| until_answered(|| records.move_group(&from, &target)));
    let moved = join_all(movers).await;
    table.faults.set_rates(FaultRates::default());
    assert_eq!(moved, [GroupMoved::Done; 2]);

    let sorted: BTreeSet<DeviceId> = devices.iter().cloned().collect();
    assert!(members(&table, "hall").await.iter().eq(&sorted));
    assert_eq!(members(&table, "lab").await, []);
    assert_eq!(state(&table, "lab").await, None);
    let hall_state = state(&table, "hall").await.unwrap();
    assert_eq!(hall_state.assignments[0].seq, 1);
    assert_eq!(hall_state.assignments[0].assignee, Some(lab()));
    assert_eq!(records.groups().await.unwrap(), [hall_state]);
    for (number, device) in devices.iter().enumerate() {
        let groups = records.device_state(device).await.unwrap().memberships;
        assert_eq!(groups.observed_revision(&hall()), u64::from(number < 30));
    }
    // A publisher that completes an earlier head adds nobody under the earlier name.
    let late = project_one(&table, &devices[0], &Leaf::in_groups(&[("lab", 9)]), 3).await;
    assert_eq!(late, DeviceProjected::OtherGroup);
    let late = project_group(&table, "lab", Some(&before), 3).await;
    assert_eq!(late, GroupProjected::Superseded);
    let late = records
        .move_group(&lab(), &renamed(&name, &document, &none, 3))
        .await;
    assert_eq!(late.unwrap(), GroupMoved::Superseded);
}

/// The command stops before each of its writes, and the next command completes the move.
async fn a_renamed_group_is_moved_after_any_interruption(service: Service) {
    let table = Table::without_target_on(service, 414).await;
    with_head(&table).await;
    let devices: Vec<DeviceId> = (0..3).map(|number| device(number).device).collect();
    for number in 0..3 {
        table.device(number).await;
    }
    let first = group_document(9, &[]);
    assert_eq!(project_group(&table, "lab", Some(&first), 1).await, WRITTEN);
    project(&table, &devices, &Leaf::in_groups(&[("lab", 9)]), 2).await;
    let (records, none) = (&table.records, GroupPackages::default());
    let (mut names, mut document) = ([lab(), hall()], first);
    for order in 3.. {
        let next = document.renamed(&names[0], &names[1], order + 10).unwrap();
        let next = Document::new(next);
        let target = renamed(&names[1], &next, &none, order);
        table
            .faults
            .deny_after_writes(u32::try_from(order - 3).ok());
        let moved = records.move_group(&names[0], &target).await;
        table.faults.deny_after_writes(None);
        assert_eq!(
            records.move_group(&names[0], &target).await.unwrap(),
            GroupMoved::Done
        );
        assert_eq!(members(&table, names[1].as_str()).await, devices);
        assert_eq!(members(&table, names[0].as_str()).await, []);
        let groups = records.groups().await.unwrap().into_iter();
        assert_eq!(
            groups.map(|it| it.group).collect::<Vec<_>>(),
            [names[1].clone()]
        );
        if moved.is_ok() {
            assert!(order > 6);
            break;
        }
        names.reverse();
        document = next;
    }
}

/// Makes the entry of a member in the list of a group unreadable.
async fn spoil_entry(table: &Table, group: &str, member: &DeviceId) {
    let mut spoilt = 0;
    for shard in 0..16 {
        let pk = format!("GROUP#{group}#{shard:02}");
        let mut entry = table.item(&pk, &format!("DEVICE#{member}")).await;
        if !entry.is_null() {
            entry["device"] = json!({ "S": "nobody" });
            table.put(&entry).await;
            spoilt += 1;
        }
    }
    assert_eq!(spoilt, 1);
}

/// Somebody has changed the counts of both names, and an entry of the list.
async fn a_renamed_group_with_wrong_counts_is_moved(service: Service) {
    let table = Table::without_target_on(service, 415).await;
    with_head(&table).await;
    let devices: Vec<DeviceId> = (0..3).map(|number| device(number).device).collect();
    for number in 0..3 {
        table.device(number).await;
    }
    let before = group_document(9, &[]);
    assert_eq!(
        project_group(&table, "lab", Some(&before), 1).await,
        WRITTEN
    );
    project(&table, &devices, &Leaf::in_groups(&[("lab", 9)]), 2).await;
    for (name, shard) in [lab(), hall()]
        .iter()
        .flat_map(|name| (0..16).map(move |n| (name, n)))
    {
        let pk = format!("GROUP#{name}#{shard:02}");
        table
            .put(&json!({
                "pk": { "S": pk },
                "sk": { "S": "COUNT" },
                "members": { "N": "7" },
            }))
            .await;
    }
    spoil_entry(&table, "lab", &devices[0]).await;
    let document = Document::new(before.renamed(&lab(), &hall(), 12).unwrap());
    let (name, none) = (hall(), GroupPackages::default());
    let target = renamed(&name, &document, &none, 4);
    let moved = table.records.move_group(&lab(), &target).await;
    assert_eq!(moved.unwrap(), GroupMoved::Done);
    assert_eq!(members(&table, "hall").await, devices);
    assert_eq!(members(&table, "lab").await, []);
    let size = async |name: &GroupName| table.records.size(name).await.unwrap();
    assert_eq!((size(&lab()).await, size(&hall()).await), (0, 3));
}

/// Refusals name the items of a transaction by their position.
async fn each_item_of_a_refused_transaction_has_a_reason(service: Service) {
    let table = Table::without_target_on(service, 412).await;
    let check = |number: usize| {
        let is_met = number % 7 != 3 && number != 99;
        let condition = if is_met {
            "attribute_not_exists(pk)"
        } else {
            "attribute_exists(pk)"
        };
        json!({ "ConditionCheck": {
            "TableName": table.records.table(),
            "Key": { "pk": { "S": format!("nothing {number}") }, "sk": { "S": "x" } },
            "ConditionExpression": condition,
        } })
    };
    let items: Vec<Value> = (0..100).map(check).collect();
    let question = json!({ "TransactItems": items });
    let engine = RawEngine::at(&table.endpoint);
    let (status, answer) = engine.answer("TransactWriteItems", &question).await;
    assert_eq!(status, 400);
    let reasons = answer["CancellationReasons"].as_array().unwrap();
    let failed: Vec<usize> = reasons
        .iter()
        .enumerate()
        .filter(|(_, reason)| reason["Code"] == "ConditionalCheckFailed")
        .map(|(number, _)| number)
        .collect();
    let expected: Vec<usize> = (0..100).filter(|n| n % 7 == 3 || *n == 99).collect();
    assert_eq!((reasons.len(), failed), (100, expected));
}

packcast_testing::on_each_service! {
    a_group_follows_its_document
    a_writer_of_an_earlier_order_is_refused
    a_group_with_more_packages_than_a_transaction_is_completed_later
    members_of_a_deleted_group_never_join_a_later_one
    many_devices_join_and_leave_with_few_transactions
    of_two_writers_the_later_order_stays
    records_are_complete_although_many_requests_fail
    a_direct_entry_has_one_task
    a_group_keeps_the_task_of_a_withdrawn_entry
    a_device_can_change_all_of_its_groups_and_packages
    a_removed_device_loses_and_gets_nothing_more
    a_check_in_and_a_change_of_groups_keep_each_other
    a_task_is_announced_only_under_the_leaf_that_was_read
    each_item_of_a_refused_transaction_has_a_reason
    members_of_a_renamed_group_keep_their_observed_revisions
    a_renamed_group_is_moved_after_any_interruption
    a_renamed_group_with_wrong_counts_is_moved
}
