use packcast_protocol::DeviceId;
use proptest::prelude::*;

use super::*;
use crate::record::tests::{id, task};
use crate::state::StatePart;
use crate::state::samples::{
    after_commits, any_histories, applied, assign, changed_leaves, create, delete, device, empty,
    group, join, leave, of_device, of_group, rename, unassign,
};

/// Records as a store keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelRecords {
    groups: BTreeMap<GroupName, ModelGroup>,
    packages: BTreeSet<(GroupName, PackageId)>,
    devices: BTreeMap<DeviceId, RecordedDevice>,
    /// Members of each group, with the origin of the group that they have joined. A store does not
    /// keep the origin; here it proves that members never belong to an earlier group of the same
    /// name.
    members: BTreeMap<(GroupName, DeviceId), GroupOrigin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelGroup {
    order: u64,
    /// The members move to another name.
    is_moving: bool,
    /// `None` if the group is deleted.
    state: Option<GroupState>,
}

/// Returns the groups of a device, as a completing publisher finds them.
fn groups_of(state: &StatePart, device: &DeviceId) -> BTreeMap<GroupName, u64> {
    let groups = state.groups_of(device).unwrap().into_iter();
    groups
        .map(|(group, created)| (group.clone(), created))
        .collect()
}

impl ModelRecords {
    /// Returns the complete records of a state in which nothing has finished.
    fn of(state: &StatePart, order: u64) -> Self {
        let mut records = Self::default();
        records.follow(state, state.leaves().into_keys(), order);
        records
    }

    /// Sets all records of these leaves at once.
    fn follow(&mut self, state: &StatePart, names: impl IntoIterator<Item = LeafName>, order: u64) {
        let mut names: Vec<LeafName> = names.into_iter().collect();
        while self.move_one(state, &group_names(&names), order) {}
        names.sort_by_key(|name| !matches!(name, LeafName::Group(_)));
        for name in names {
            match name {
                LeafName::Group(group) => self.follow_group(state, &group, order),
                LeafName::Device(device) => {
                    let recorded = self.devices.entry(device.clone()).or_default().clone();
                    let projection = projected(state, &device, &recorded, &BTreeSet::new(), order);
                    self.write(&device, &projection.unwrap(), order);
                }
                _ => {}
            }
        }
    }

    fn follow_group(&mut self, state: &StatePart, group: &GroupName, order: u64) {
        let document = state.document_of_group(group);
        let stored = self.groups.get(group).and_then(|it| it.state.clone());
        let origin = document.map(|document| document.origin(group));
        if stored.as_ref().and_then(GroupState::origin) != origin {
            self.remove_members(group);
        }
        self.packages.retain(|(of, _)| of != group);
        let packages = project_packages(document.map(|it| &**it), [None])
            .added
            .into_iter();
        self.packages
            .extend(packages.map(|package| (group.clone(), package)));
        let state = document.map(|it| project_group(group, it, stored.as_ref(), |_| None, order));
        if document.is_some() || stored.is_some() {
            self.groups.insert(group.clone(), group_at(order, state));
        }
    }

    /// Makes the next request that moves a renamed group to its present name. Returns false if there
    /// is none.
    fn move_one(&mut self, head: &StatePart, names: &BTreeSet<GroupName>, order: u64) -> bool {
        let recorded = self.groups.iter().filter_map(|(group, it)| {
            let origin = it.state.as_ref()?.origin()?;
            names.contains(group).then(|| (group.clone(), origin))
        });
        let renamed = renamed_groups(head, &recorded.collect()).unwrap();
        let nothing = group_at(0, None);
        let of = |group: &GroupName| self.groups.get(group).unwrap_or(&nothing).clone();
        let mut renamed = renamed.into_iter();
        let Some((from, to)) =
            renamed.find(|(from, to)| of(from).order <= order && of(to).order <= order)
        else {
            return false;
        };
        let (earlier, present) = (of(&from), of(&to));
        let document = head.document_of_group(&to).unwrap();
        let origin = Some(document.origin(&to));
        let is_present = present.state.as_ref().and_then(GroupState::origin) == origin;
        let is_begun = earlier.is_moving && earlier.order == order && present.order == order;
        if !is_present && (present.state.is_some() || self.remove_member(&to)) {
            self.groups.insert(to, group_at(order, None));
        } else if !is_begun {
            let latest = if is_present && !present.is_moving {
                &present
            } else {
                &earlier
            };
            let state = project_group(&to, document, latest.state.as_ref(), |_| None, order);
            self.groups.insert(to, group_at(order, Some(state)));
            let earlier = ModelGroup {
                order,
                is_moving: true,
                ..earlier
            };
            self.groups.insert(from, earlier);
        } else if let Some((_, device)) = self.members.keys().find(|(of, _)| *of == from).cloned() {
            let origin = self
                .members
                .remove(&(from.clone(), device.clone()))
                .unwrap();
            assert!(
                self.members
                    .insert((to.clone(), device.clone()), origin)
                    .is_none()
            );
            let groups = &mut self.devices.get_mut(&device).unwrap().groups;
            assert!(groups.remove(&from) && groups.insert(to));
        } else {
            self.groups.insert(from, group_at(order, None));
        }
        true
    }

    fn remove_members(&mut self, group: &GroupName) {
        while self.remove_member(group) {}
    }

    /// Returns false if the group has no members.
    fn remove_member(&mut self, group: &GroupName) -> bool {
        let mut members = self.members.keys();
        let Some(member) = members.find(|(of, _)| of == group).cloned() else {
            return false;
        };
        self.members.remove(&member);
        self.devices
            .get_mut(&member.1)
            .unwrap()
            .groups
            .remove(group);
        true
    }

    /// Returns true if the group with this number is on record.
    fn has_group(&self, group: &GroupName, created: u64) -> bool {
        let recorded = self.groups.get(group).filter(|it| !it.is_moving);
        let state = recorded.and_then(|it| it.state.as_ref());
        state.is_some_and(|state| state.created == Some(created))
    }

    fn origin(&self, group: &GroupName) -> GroupOrigin {
        let state = self.groups[group].state.as_ref().unwrap();
        state.origin().unwrap()
    }

    fn write(&mut self, device: &DeviceId, projection: &DeviceProjection, order: u64) {
        let joined = projection.joined.keys();
        let origins: Vec<GroupOrigin> = joined.map(|group| self.origin(group)).collect();
        let recorded = self.devices.entry(device.clone()).or_default();
        recorded.order = order;
        for package in &projection.withdrawn {
            recorded.open.remove(package);
        }
        for entry in &projection.opened {
            recorded.open.insert(entry.package, Some(entry.seq));
        }
        for left in &projection.left {
            assert!(recorded.groups.remove(left), "{left}");
            // The count of members is right only if each member is removed once.
            self.members
                .remove(&(left.clone(), device.clone()))
                .unwrap();
        }
        for (joined, origin) in projection.joined.keys().zip(origins) {
            assert!(recorded.groups.insert(joined.clone()), "{joined}");
            let member = (joined.clone(), device.clone());
            assert_eq!(self.members.insert(member, origin), None);
        }
    }

    /// A device reports on its first open task.
    fn finish(&mut self, device: &DeviceId) {
        if let Some(recorded) = self.devices.get_mut(device)
            && let Some((package, seq)) = recorded.open.pop_first()
        {
            recorded.used.insert((package, seq.unwrap()));
        }
    }

    /// Returns the records with assignments that all were recorded first in this order.
    fn with_seq(mut self, order: u64) -> Self {
        let states = self.groups.values_mut().filter_map(|it| it.state.as_mut());
        for assignment in states.flat_map(|state| &mut state.assignments) {
            assert!(assignment.seq <= 11);
            assignment.seq = order;
        }
        self
    }
}

fn group_at(order: u64, state: Option<GroupState>) -> ModelGroup {
    ModelGroup {
        order,
        is_moving: false,
        state,
    }
}

fn group_names<'a>(names: impl IntoIterator<Item = &'a LeafName>) -> BTreeSet<GroupName> {
    let groups = names.into_iter().filter_map(|name| match name {
        LeafName::Group(group) => Some(group.clone()),
        _ => None,
    });
    groups.collect()
}

fn projected(
    state: &StatePart,
    device: &DeviceId,
    recorded: &RecordedDevice,
    earlier: &BTreeSet<PackageId>,
    order: u64,
) -> Option<DeviceProjection> {
    let leaf = DeviceLeaf {
        document: state.document_of_device(device),
        groups: &groups_of(state, device),
        earlier,
        order,
    };
    project_device(leaf, recorded)
}

/// A publisher that completes the records of a head, one request at a time.
struct Writer<'a> {
    head: &'a StatePart,
    order: u64,
    /// All documents that there have been.
    history: &'a [&'a StatePart],
    open: Vec<(LeafName, EarlierDocuments)>,
    groups: BTreeSet<GroupName>,
    next: NextRequest,
}

/// The next request of a writer.
enum NextRequest {
    /// Move renamed groups to their present names.
    MoveGroups,
    /// A request for the next leaf.
    NextLeaf,
    WriteGroup(GroupName, GroupPackages),
    /// Remove one member of a deleted group.
    RemoveMember(GroupName, GroupPackages),
    WritePackages {
        group: GroupName,
        /// The packages to write, each with its presence in the group.
        packages: Vec<(PackageId, bool)>,
    },
    WriteDevice {
        device: DeviceId,
        read: RecordedDevice,
        projection: Box<DeviceProjection>,
    },
}

impl<'a> Writer<'a> {
    fn new(history: &'a [&'a StatePart], order: u64) -> Self {
        let commits = history.windows(2);
        let changes: Vec<LeafChange> = commits
            .flat_map(|pair| changed_leaves(pair[0], pair[1]))
            .collect();
        let mut open: Vec<_> = names_to_project(&changes).into_iter().collect();
        // Groups come first: they are at the end.
        open.sort_by_key(|(name, _)| matches!(name, LeafName::Group(_)));
        Self {
            head: history[history.len() - 1],
            order,
            history,
            groups: group_names(open.iter().map(|(name, _)| name)),
            open,
            next: NextRequest::MoveGroups,
        }
    }

    /// Makes one request. Returns false if there is nothing to do.
    fn work(&mut self, records: &mut ModelRecords) -> bool {
        match std::mem::replace(&mut self.next, NextRequest::NextLeaf) {
            NextRequest::MoveGroups => {
                if records.move_one(self.head, &self.groups, self.order) {
                    self.next = NextRequest::MoveGroups;
                }
            }
            NextRequest::NextLeaf => {
                let Some((name, earlier)) = self.open.pop() else {
                    return false;
                };
                match name {
                    LeafName::Group(group) => {
                        let packages = self.packages(&group, &earlier);
                        self.next = NextRequest::WriteGroup(group, packages);
                    }
                    LeafName::Device(device) => self.read_device(records, device),
                    // Its record follows from the document alone.
                    LeafName::Location(_) => {}
                    _ => panic!("{name} has no records"),
                }
            }
            NextRequest::WriteGroup(group, packages) => self.write_group(records, group, packages),
            NextRequest::RemoveMember(group, packages) => {
                let recorded = records.groups.get(&group).unwrap();
                if recorded.order == self.order {
                    let is_deleted = recorded.state.is_none();
                    self.next = if is_deleted && records.remove_member(&group) {
                        NextRequest::RemoveMember(group, packages)
                    } else if self.head.document_of_group(&group).is_some() {
                        NextRequest::WriteGroup(group, packages)
                    } else {
                        write_packages(group, packages)
                    };
                }
            }
            NextRequest::WritePackages {
                group,
                mut packages,
            } => {
                let is_current = records.groups[&group].order == self.order;
                if let Some((package, is_present)) = packages.pop()
                    && is_current
                {
                    if is_present {
                        records.packages.insert((group.clone(), package));
                    } else {
                        records.packages.remove(&(group.clone(), package));
                    }
                    self.next = NextRequest::WritePackages { group, packages };
                }
            }
            NextRequest::WriteDevice {
                device,
                read,
                projection,
            } => {
                let mut joined = projection.joined.iter();
                if !joined.all(|(group, created)| records.has_group(group, *created)) {
                    // The group belongs to a later order, and so does the device.
                } else if records.devices.get(&device) == Some(&read) {
                    records.write(&device, &projection, self.order);
                } else {
                    self.read_device(records, device);
                }
            }
        }
        true
    }

    fn packages(&self, group: &GroupName, earlier: &EarlierDocuments) -> GroupPackages {
        let states = self.history.iter();
        let documents = states.map(|state| state.document_of_group(group));
        let earlier: Vec<_> = documents
            .filter(|document| earlier.all().any(|of| of == document.map(Document::digest)))
            .map(|document| document.map(|document| &**document))
            .collect();
        let document = self.head.document_of_group(group);
        project_packages(document.map(|document| &**document), earlier)
    }

    fn write_group(
        &mut self,
        records: &mut ModelRecords,
        group: GroupName,
        packages: GroupPackages,
    ) {
        let recorded = records.groups.get(&group);
        if recorded.is_some_and(|recorded| recorded.order > self.order) {
            return;
        }
        let document = self.head.document_of_group(&group);
        let stored = recorded.and_then(|recorded| recorded.state.clone());
        let is_moving = recorded.is_some_and(|recorded| recorded.is_moving);
        let created = stored.as_ref().and_then(|stored| stored.created);
        let is_written = recorded.is_some_and(|recorded| recorded.order == self.order);
        let has_members = records.members.keys().any(|(of, _)| *of == group);
        let can_write = match (document, recorded) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(document), Some(_)) => {
                let is_new = stored.is_none() && is_written && !has_members;
                is_new || (created == Some(document.created) && !is_moving)
            }
        };
        if is_written && stored.is_some() && !is_moving {
            self.next = write_packages(group, packages);
            return;
        }
        let order = self.order;
        let state = document.filter(|_| can_write);
        let state = state.map(|it| project_group(&group, it, stored.as_ref(), |_| None, order));
        if state.is_some() && created.is_none() {
            assert!(
                !has_members,
                "{group} would get members of an earlier group"
            );
        }
        records.groups.insert(group.clone(), group_at(order, state));
        self.next = if can_write {
            write_packages(group, packages)
        } else {
            NextRequest::RemoveMember(group, packages)
        };
    }

    fn read_device(&mut self, records: &ModelRecords, device: DeviceId) {
        let read = records.devices.get(&device).cloned().unwrap_or_default();
        let states = self.history.iter();
        let documents = states.filter_map(|state| state.document_of_device(&device));
        let entries = documents.flat_map(|document| document.packages.as_slice());
        let earlier = entries.map(|entry| entry.package).collect();
        if let Some(projection) = projected(self.head, &device, &read, &earlier, self.order) {
            self.next = NextRequest::WriteDevice {
                device,
                read,
                projection: Box::new(projection),
            };
        }
    }
}

fn write_packages(group: GroupName, packages: GroupPackages) -> NextRequest {
    let added = packages.added.into_iter().map(|package| (package, true));
    let removed = packages.removed.into_iter().map(|package| (package, false));
    let packages = added.chain(removed).collect();
    NextRequest::WritePackages { group, packages }
}

#[test]
fn a_device_that_joined_and_left_is_not_a_member() {
    let before = applied(&empty(), &[create("lab")], 9);
    let joined = applied(&before, &[join("lab", &["web01"])], 10);
    let left = applied(&joined, &[leave("lab", &["web01"])], 11);
    let mut records = ModelRecords::of(&before, 9);
    let history = [&before, &joined, &left];
    let mut first = Writer::new(&history[..2], 10);
    while first.work(&mut records) {}
    assert_eq!(records.members.len(), 1);

    // The two states are equal, so their difference does not name the device.
    assert_eq!(changed_leaves(&before, &left), []);
    let mut second = Writer::new(&history, 11);
    while second.work(&mut records) {}
    assert_eq!(records.members, BTreeMap::new());
    assert_eq!(records.devices[&device("web01")].order, 11);
}

#[test]
fn members_of_a_deleted_group_are_not_members_of_a_later_one() {
    let before = applied(
        &empty(),
        &[create("lab"), join("lab", &["web01", "web02"])],
        9,
    );
    let deleted = applied(&before, &[delete("lab")], 10);
    let changes = [create("lab"), join("lab", &["web02", "web03"])];
    let again = applied(&deleted, &changes, 11);
    let mut records = ModelRecords::of(&before, 9);
    let history = [&before, &deleted, &again];
    let mut writer = Writer::new(&history, 11);
    while writer.work(&mut records) {}
    let origin = GroupOrigin {
        name: group("lab"),
        created: 11,
    };
    let members = ["web02", "web03"].map(|host| ((group("lab"), device(host)), origin.clone()));
    assert_eq!(records.members, BTreeMap::from(members));
    assert_eq!(records.devices[&device("web01")].groups, BTreeSet::new());
}

#[test]
fn a_group_has_the_records_of_its_document() {
    let setup = [
        create("lab"),
        assign(of_group("lab"), 1),
        assign(of_group("lab"), 2),
    ];
    let before = applied(&empty(), &setup, 9);
    let changes = [unassign(of_group("lab"), 1), assign(of_group("lab"), 3)];
    let after = applied(&before, &changes, 10);
    let lab = group("lab");
    let earlier = before.group(&lab).unwrap();
    let packages = project_packages(after.group(&lab).unwrap(), [earlier]);
    assert_eq!(packages.added, BTreeSet::from([id(3)]));
    assert_eq!(packages.removed, BTreeSet::from([id(1)]));
    let deleted = project_packages(None, [earlier]);
    assert_eq!(deleted.removed, BTreeSet::from([id(1), id(2)]));

    let document = |state: &StatePart| state.document_of_group(&lab).unwrap().clone();
    let priority = |package| (package == id(3)).then(|| Priority::try_from(2).unwrap());
    let first = project_group(&lab, &document(&before), None, priority, 4);
    let second = project_group(&lab, &document(&after), Some(&first), priority, 5);
    let assignments = second.assignments.iter();
    let assignments = assignments.map(|it| (it.package, it.seq, it.mandate, it.priority.get()));
    let expected = [(id(2), 4, Some(9), 5), (id(3), 5, Some(10), 2)];
    assert_eq!(assignments.collect::<Vec<_>>(), expected);
    assert_eq!((second.revision, second.created), (5, Some(9)));
    assert_eq!(second.document, Some(document(&after).digest()));
}

#[test]
fn an_assignment_gets_a_later_seq_only_if_it_is_another_one() {
    let lab = group("lab");
    let document = |state: &StatePart| state.document_of_group(&lab).unwrap().clone();
    let first = applied(&empty(), &[create("lab"), assign(of_group("lab"), 1)], 9);
    let again = applied(&first, &[assign(of_group("lab"), 1)], 10);
    let other = applied(&first, &[assign(of_group("lab"), 2)], 10);
    let new = applied(&applied(&first, &[delete("lab")], 10), &[create("lab")], 11);
    let new = applied(&new, &[assign(of_group("lab"), 1)], 11);
    let stored = project_group(&lab, &document(&first), None, |_| None, 4);
    let seq = |state: &StatePart| {
        let next = project_group(&lab, &document(state), Some(&stored), |_| None, 5);
        next.assignment(id(1)).unwrap().seq
    };
    assert_eq!([&again, &other, &new].map(seq), [5, 4, 5]);
}

#[test]
fn the_assignments_of_a_renamed_group_keep_their_seq() {
    let setup = [
        create("lab"),
        assign(of_group("lab"), 1),
        assign(of_group("lab"), 2),
    ];
    let first = applied(&empty(), &setup, 9);
    let changes = [rename("lab", "hall"), assign(of_group("hall"), 2)];
    let renamed = applied(&first, &changes, 10);
    let document = |state: &StatePart, name| state.document_of_group(&group(name)).unwrap().clone();
    let stored = project_group(&group("lab"), &document(&first, "lab"), None, |_| None, 4);
    let next = project_group(
        &group("hall"),
        &document(&renamed, "hall"),
        Some(&stored),
        |_| None,
        5,
    );
    let seqs = next
        .assignments
        .iter()
        .map(|it| (it.seq, it.assignee.clone()));
    let expected = [(4, Some(group("lab"))), (5, None)];
    assert_eq!(seqs.collect::<Vec<_>>(), expected);
    assert_eq!((next.created, next.created_at), (Some(10), UnixTime(9)));
    // A new group under the old name does not continue the renamed one.
    let new = applied(&renamed, &[create("lab"), assign(of_group("lab"), 1)], 11);
    let new = project_group(
        &group("lab"),
        &document(&new, "lab"),
        Some(&stored),
        |_| None,
        6,
    );
    assert_eq!(new.assignments[0].seq, 6);
}

#[test]
fn members_move_to_the_present_name_before_others_join() {
    let setup = [create("lab"), join("lab", &["web01", "web02"])];
    let before = applied(&empty(), &setup, 9);
    let renamed = applied(&before, &[rename("lab", "hall")], 10);
    let new = applied(&renamed, &[create("lab"), join("lab", &["web01"])], 11);
    let mut records = ModelRecords::of(&before, 9);
    let history = [&before, &renamed, &new];
    // The first writer stops after it has moved one of the members.
    let mut first = Writer::new(&history[..2], 10);
    for _ in 0..2 {
        first.work(&mut records);
    }
    let mut second = Writer::new(&history, 11);
    while second.work(&mut records) {}
    while first.work(&mut records) {}
    let member = |name: &str, host: &str, origin: u64| {
        let name_of_origin = group("lab");
        let origin = GroupOrigin {
            name: name_of_origin,
            created: origin,
        };
        ((group(name), device(host)), origin)
    };
    let expected = [
        member("hall", "web01", 9),
        member("hall", "web02", 9),
        member("lab", "web01", 11),
    ];
    assert_eq!(records.members, BTreeMap::from(expected));
}

#[test]
fn a_direct_entry_opens_a_task_once() {
    let first = applied(&empty(), &[assign(of_device("web01"), 1)], 9);
    let again = applied(&first, &[assign(of_device("web01"), 1)], 10);
    let none = applied(&again, &[unassign(of_device("web01"), 1)], 11);
    let web01 = device("web01");
    let changes = |state: &StatePart, recorded: &RecordedDevice| {
        let earlier = BTreeSet::from([id(1)]);
        let projection = projected(state, &web01, recorded, &earlier, 5).unwrap();
        let opened = projection.opened.iter().map(|entry| entry.seq);
        (opened.collect::<Vec<_>>(), projection.withdrawn.len())
    };
    let nothing = RecordedDevice::default();
    let direct = OpenTask {
        mandate: Some(9),
        ..task(1, 5)
    };
    let open = nothing.clone().with_tasks([&direct], []);
    let used = RecordedDevice {
        used: BTreeSet::from([(id(1), 9)]),
        ..RecordedDevice::default()
    };
    assert_eq!(changes(&first, &nothing), (vec![9], 0));
    assert_eq!(changes(&first, &open), (vec![], 0));
    assert_eq!(changes(&first, &used), (vec![], 0));
    assert_eq!(changes(&again, &open), (vec![10], 0));
    assert_eq!(changes(&again, &used), (vec![10], 0));
    assert_eq!(changes(&none, &open), (vec![], 1));
    assert_eq!(changes(&none, &used), (vec![], 1));
    let removed = RecordedDevice {
        is_removed: true,
        ..open.clone()
    };
    assert_eq!(changes(&again, &removed), (vec![], 0));
    let later = RecordedDevice { order: 5, ..open };
    assert_eq!(projected(&first, &web01, &later, &BTreeSet::new(), 5), None);
}

#[test]
fn only_direct_open_tasks_follow_from_entries() {
    let announced_at = UnixTime(1_795_000_000);
    let by_group = OpenTask {
        direct: false,
        ..task(1, 5)
    };
    let withdrawn = OpenTask {
        state: TaskState::Withdrawn { announced_at },
        ..task(2, 5)
    };
    let direct = task(3, 5);
    let recorded = RecordedDevice::default().with_tasks([&by_group, &withdrawn, &direct], []);
    assert_eq!(recorded.open, BTreeMap::from([(id(3), None)]));
}

#[test]
fn records_of_a_device_that_lost_something_are_urgent() {
    let base = [create("lab"), create("office"), join("lab", &["web01"])];
    let before = applied(&empty(), &base, 9);
    let before = applied(&before, &[assign(of_device("web01"), 1)], 10);
    let web01 = device("web01");
    let compare = |changes: &[crate::state::StateChange]| {
        let after = applied(&before, changes, 11);
        let document = after.device(&web01).unwrap();
        let earlier = [before.device(&web01).unwrap(), document];
        let comparison = EarlierDevice::new(document, &groups_of(&after, &web01), earlier);
        (comparison.has_other_entries, comparison.has_lost)
    };
    assert_eq!(compare(&[join("office", &["web01"])]), (false, false));
    assert_eq!(compare(&[leave("lab", &["web01"])]), (false, true));
    assert_eq!(compare(&[delete("lab")]), (false, true));
    assert_eq!(compare(&[assign(of_device("web01"), 2)]), (true, false));
    assert_eq!(compare(&[unassign(of_device("web01"), 1)]), (true, true));
}

proptest! {
    /// Two publishers complete the records at the same time; the first may be killed.
    #[test]
    fn writers_in_any_order_end_in_the_records_of_the_head(
        [setup, tenth, eleventh] in any_histories([8, 5, 5]),
        turns in proptest::collection::vec(0_u8..5, 0..60),
        is_killed in any::<bool>(),
    ) {
        let before = after_commits(&empty(), &setup, 1);
        let first = after_commits(&before, &tenth, 30);
        let second = after_commits(&first, &eleventh, 50);
        let mut records = ModelRecords::of(&before, 9);
        let history = [&before, &first, &second];
        let mut one = Writer::new(&history[..2], 10);
        let mut other = Writer::new(&history, 11);
        for turn in turns {
            match turn {
                0 | 1 => { one.work(&mut records); }
                2 | 3 => { other.work(&mut records); }
                _ => records.finish(&device("web01")),
            }
        }
        if !is_killed {
            while one.work(&mut records) {}
        }
        while other.work(&mut records) {}
        while !is_killed && one.work(&mut records) {}

        let changes: Vec<LeafChange> = changed_leaves(&before, &first)
            .into_iter()
            .chain(changed_leaves(&first, &second))
            .collect();
        let mut expected = ModelRecords::of(&before, 9);
        // A used entry is not opened again, and an earlier entry of its package has no task.
        for (device, recorded) in &records.devices {
            let expected = expected.devices.get_mut(device).unwrap();
            expected.used.clone_from(&recorded.used);
            for (package, seq) in &recorded.used {
                if expected.open.get(package).is_some_and(|open| *open <= Some(*seq)) {
                    expected.open.remove(package);
                }
            }
        }
        let changed = names_to_project(&changes);
        for name in changed.keys() {
            if let LeafName::Group(group) = name {
                expected.groups.entry(group.clone()).or_insert(group_at(0, None));
            }
        }
        expected.follow(&second, changed.into_keys(), 11);
        for recorded in records.groups.values_mut().chain(expected.groups.values_mut()) {
            // A group that was deleted long ago has no record in one of the two.
            if recorded.state.is_none() {
                recorded.order = 11;
            }
        }
        prop_assert_eq!(records.with_seq(1), expected.with_seq(1));
    }
}
