use packcast_protocol::DeviceId;
use proptest::prelude::*;

use super::*;
use crate::state::StatePart;
use crate::state::samples::{
    after_commits, any_changes, applied, assign, changed_leaves, create, device, empty, group,
    join, leave, of_device, of_group, unassign,
};

/// Records as a store keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelRecords {
    revisions: BTreeMap<GroupName, RevisionRecord>,
    packages: BTreeSet<(GroupName, PackageId)>,
    devices: BTreeMap<DeviceId, RecordedLeaf>,
    members: BTreeSet<(GroupName, u64, DeviceId)>,
}

impl ModelRecords {
    /// Returns the complete records of a state in which nothing has finished.
    fn of(state: &StatePart, order: u64) -> Self {
        let mut records = Self::default();
        for name in state.leaves().into_keys() {
            records.follow(state, &name, order);
        }
        records
    }

    /// Sets all records of a leaf at once.
    fn follow(&mut self, state: &StatePart, name: &LeafName, order: u64) {
        match name {
            LeafName::Group(group) => {
                let projection = project_group(state.document_of_group(group), [None], order);
                self.packages.retain(|(of, _)| of != group);
                let added = projection.added.into_iter();
                self.packages
                    .extend(added.map(|package| (group.clone(), package)));
                self.revisions.insert(group.clone(), projection.revision);
            }
            LeafName::Device(device) => {
                let recorded = self.devices.entry(device.clone()).or_default().clone();
                let projection =
                    project_device(state.document_of_device(device), &recorded, order).unwrap();
                self.write(device, &projection);
            }
            _ => {}
        }
    }

    fn write(&mut self, device: &DeviceId, projection: &DeviceProjection) {
        let recorded = self.devices.entry(device.clone()).or_default();
        recorded.order = projection.order;
        recorded.groups = projection.groups.clone();
        for package in &projection.withdrawn {
            recorded.open.remove(package);
        }
        for entry in &projection.opened {
            recorded.open.insert(entry.package, entry.seq);
        }
        let member =
            |(group, created): (&GroupName, &u64)| (group.clone(), *created, device.clone());
        for left in projection.left.iter().map(member) {
            // The count of members is right only if each member is removed once.
            assert!(self.members.remove(&left), "{left:?}");
        }
        for joined in projection.joined.iter().map(member) {
            assert!(self.members.insert(joined.clone()), "{joined:?}");
        }
    }

    /// A device reports on its first open task.
    fn finish(&mut self, device: &DeviceId) {
        if let Some(recorded) = self.devices.get_mut(device)
            && let Some(task) = recorded.open.pop_first()
        {
            recorded.used.insert(task);
        }
    }
}

/// A publisher that completes the records of a head, one request at a time.
struct Writer<'a> {
    head: &'a StatePart,
    order: u64,
    /// All documents that there have been.
    history: &'a [&'a StatePart],
    open: Vec<(LeafName, EarlierDocuments)>,
    next: NextRequest,
}

/// The next request of a writer, if it has begun with a leaf.
enum NextRequest {
    ReadLeaf,
    Packages {
        group: GroupName,
        /// The packages to write, each with its presence in the group.
        packages: Vec<(PackageId, bool)>,
    },
    Decided {
        device: DeviceId,
        read: RecordedLeaf,
        projection: Box<DeviceProjection>,
    },
}

impl<'a> Writer<'a> {
    fn new(history: &'a [&'a StatePart], order: u64) -> Self {
        let commits = history.windows(2);
        let changes: Vec<LeafChange> = commits
            .flat_map(|pair| changed_leaves(pair[0], pair[1]))
            .collect();
        Self {
            head: history[history.len() - 1],
            order,
            history,
            open: names_to_project(&changes).into_iter().collect(),
            next: NextRequest::ReadLeaf,
        }
    }

    /// Makes one request. Returns false if there is nothing to do.
    fn work(&mut self, records: &mut ModelRecords) -> bool {
        match std::mem::replace(&mut self.next, NextRequest::ReadLeaf) {
            NextRequest::ReadLeaf => {
                let Some((name, earlier)) = self.open.pop() else {
                    return false;
                };
                match name {
                    LeafName::Group(group) => self.write_revision(records, group, &earlier),
                    LeafName::Device(device) => self.read_device(records, device),
                    _ => panic!("{name} has no records"),
                }
            }
            NextRequest::Packages {
                group,
                mut packages,
            } => {
                let revision = records.revisions.get(&group);
                let is_current = revision.is_some_and(|it| it.order == self.order);
                if let Some((package, is_present)) = packages.pop()
                    && is_current
                {
                    if is_present {
                        records.packages.insert((group.clone(), package));
                    } else {
                        records.packages.remove(&(group.clone(), package));
                    }
                    self.next = NextRequest::Packages { group, packages };
                }
            }
            NextRequest::Decided {
                device,
                read,
                projection,
            } => {
                if records.devices.get(&device) == Some(&read) {
                    records.write(&device, &projection);
                } else {
                    self.read_device(records, device);
                }
            }
        }
        true
    }

    fn write_revision(
        &mut self,
        records: &mut ModelRecords,
        group: GroupName,
        earlier: &EarlierDocuments,
    ) {
        let states = self
            .history
            .iter()
            .map(|state| state.document_of_group(&group));
        let earlier = states.filter(|document| {
            let digest = document.map(Document::digest);
            digest.map_or(earlier.was_absent(), |digest| {
                earlier.digests().any(|of| of == digest)
            })
        });
        let earlier = earlier.map(|document| document.map(|document| &**document));
        let document = self.head.document_of_group(&group);
        let projection = project_group(document, earlier, self.order);
        let recorded = records.revisions.get(&group).map_or(0, |it| it.order);
        if recorded < self.order {
            records.revisions.insert(group.clone(), projection.revision);
        }
        if recorded <= self.order {
            let added = projection.added.into_iter().map(|package| (package, true));
            let removed = projection
                .removed
                .into_iter()
                .map(|package| (package, false));
            let packages = added.chain(removed).collect();
            self.next = NextRequest::Packages { group, packages };
        }
    }

    fn read_device(&mut self, records: &ModelRecords, device: DeviceId) {
        let read = records.devices.get(&device).cloned().unwrap_or_default();
        let document = self.head.document_of_device(&device);
        if let Some(projection) = project_device(document, &read, self.order) {
            self.next = NextRequest::Decided {
                device,
                read,
                projection: Box::new(projection),
            };
        }
    }
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
    assert_eq!(records.members, BTreeSet::new());
    assert_eq!(records.devices[&device("web01")].order, 11);
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
    let (earlier, document) = (before.group(&lab).unwrap(), after.document_of_group(&lab));
    let projection = project_group(document, [earlier], 4);
    let id = crate::record::tests::id;
    assert_eq!(projection.added, BTreeSet::from([id(3)]));
    assert_eq!(projection.removed, BTreeSet::from([id(1)]));
    let RevisionRecord { order, document } = projection.revision;
    let document = document.unwrap();
    assert_eq!((order, document.created, document.number), (4, 9, 10));
    assert_eq!(
        document.bytes,
        after.text(&LeafName::Group(lab)).unwrap().as_str().len()
    );

    let deleted = project_group(None, [earlier], 5);
    assert_eq!(deleted.revision.document, None);
    assert_eq!(deleted.removed, BTreeSet::from([id(1), id(2)]));
}

#[test]
fn a_direct_entry_opens_a_task_once() {
    let first = applied(&empty(), &[assign(of_device("web01"), 1)], 9);
    let again = applied(&first, &[assign(of_device("web01"), 1)], 10);
    let none = applied(&again, &[unassign(of_device("web01"), 1)], 11);
    let id = crate::record::tests::id(1);
    let projected = |state: &StatePart, recorded: &RecordedLeaf| {
        let document = state.document_of_device(&device("web01"));
        let projection = project_device(document, recorded, 5).unwrap();
        let opened = projection.opened.iter().map(|entry| entry.seq);
        (opened.collect::<Vec<_>>(), projection.withdrawn.len())
    };
    let nothing = RecordedLeaf::default();
    let open = RecordedLeaf {
        open: BTreeMap::from([(id, 9)]),
        ..RecordedLeaf::default()
    };
    let used = RecordedLeaf {
        used: BTreeSet::from([(id, 9)]),
        ..RecordedLeaf::default()
    };
    assert_eq!(projected(&first, &nothing), (vec![9], 0));
    assert_eq!(projected(&first, &open), (vec![], 0));
    assert_eq!(projected(&first, &used), (vec![], 0));
    assert_eq!(projected(&again, &open), (vec![10], 0));
    assert_eq!(projected(&again, &used), (vec![10], 0));
    assert_eq!(projected(&none, &open), (vec![], 1));
    assert_eq!(projected(&none, &used), (vec![], 0));
    let later = RecordedLeaf { order: 5, ..open };
    assert_eq!(
        project_device(first.document_of_device(&device("web01")), &later, 5),
        None
    );
}

proptest! {
    /// Two publishers complete the records at the same time; the first may be killed.
    #[test]
    fn writers_in_any_order_end_in_the_records_of_the_head(
        setup in any_changes(10),
        tenth in any_changes(6),
        eleventh in any_changes(6),
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
                if expected.open.get(package).is_some_and(|open| open <= seq) {
                    expected.open.remove(package);
                }
            }
        }
        for name in names_to_project(&changes).keys() {
            expected.follow(&second, name, 11);
        }
        prop_assert_eq!(records, expected);
    }
}
