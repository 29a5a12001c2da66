//! Comparison of the records with the documents of the head.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{GroupDocument, LeafName, LocationDocument, StateEntry};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, UnixTime};
use packcast_rollout::assign::{AssignmentRequest, PackageOnDevice, assign};
use packcast_rollout::state::StatePart;
use packcast_rollout::{GroupState, LocationRecord, OpenTask, PackageRecord, TaskState};
use packcast_store::records::DeviceState;
use packcast_store::{Records, RecordsError};

use super::finding::Finding;
use crate::concurrency::AT_ONCE;
use crate::progress::Progress;

/// The inputs of a comparison.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub(super) records: &'a Records,
    /// All documents of the head.
    pub(super) state: &'a StatePart,
    /// Records of the assigned packages.
    pub(super) packages: &'a BTreeMap<PackageId, PackageRecord>,
    /// Leaves whose records a running command may not have written yet.
    pub(super) unwritten: &'a BTreeSet<LeafName>,
    pub(super) now: UnixTime,
}

impl Comparison<'_> {
    /// Compares groups, memberships, direct tasks and locations on record with the signed state.
    pub(super) async fn compare(
        self,
        devices: Vec<DeviceId>,
        progress: &Progress,
    ) -> Result<Vec<Finding>, RecordsError> {
        let Self { records, state, .. } = self;
        let locations = records.locations().await?;
        let mut found = compare_locations(state, &locations);
        let groups = records.groups().await?;
        found.extend(compare_groups(state, &groups));
        found.extend(self.compare_lists(&groups).await?);
        // Devices without a record have never checked in, or were removed.
        let known: BTreeSet<DeviceId> = devices.iter().cloned().collect();
        let members = members(state, &known);
        for (group, document) in state.groups() {
            if document.is_some() && !group.is_all() {
                let none = BTreeSet::new();
                let expected = members.get(group).unwrap_or(&none);
                let recorded = records.members(group).await?;
                found.extend(self.compare_members(group, expected, recorded));
            }
        }
        let mut compared = stream::iter(devices)
            .map(|device| async move {
                let recorded = records.device_state(&device).await?;
                RecordedDevice::read(records, state, device, recorded).await
            })
            .buffered(AT_ONCE);
        while let Some(device) = compared.try_next().await? {
            found.extend(device.compare(self));
            progress.advance(1);
        }
        Ok(found)
    }

    /// Compares the lists of the groups that have a package.
    async fn compare_lists(self, groups: &[GroupState]) -> Result<Vec<Finding>, RecordsError> {
        let mut expected: BTreeMap<PackageId, BTreeSet<GroupName>> = BTreeMap::new();
        for (group, document) in self.state.groups() {
            let entries = document.map(|document| document.packages.as_slice());
            for entry in entries.unwrap_or_default() {
                let listed = expected.entry(entry.package).or_default();
                listed.insert(group.clone());
            }
        }
        let recorded = groups.iter().flat_map(|group| &group.assignments);
        for assignment in recorded {
            expected.entry(assignment.package).or_default();
        }
        let mut found = Vec::new();
        for (package, expected) in expected {
            let listed = self.records.groups_with(package).await?;
            let listed: BTreeSet<GroupName> = listed.into_iter().collect();
            found.extend(expected.difference(&listed).map(|group| {
                let group = group.clone();
                Finding::GroupNotListed { group, package }
            }));
            found.extend(listed.difference(&expected).map(|group| {
                let group = group.clone();
                Finding::GroupOnlyListed { group, package }
            }));
        }
        Ok(found)
    }

    fn compare_members(
        self,
        group: &GroupName,
        expected: &BTreeSet<DeviceId>,
        recorded: Vec<DeviceId>,
    ) -> Vec<Finding> {
        let recorded: BTreeSet<DeviceId> = recorded.into_iter().collect();
        let is_unwritten =
            |device: &DeviceId| self.unwritten.contains(&LeafName::Device(device.clone()));
        let mut found = Vec::new();
        // A finding has one example, so it never mixes devices of a running command with others.
        for unwritten in [false, true] {
            let mut missing = expected
                .difference(&recorded)
                .filter(|device| is_unwritten(device) == unwritten);
            if let Some(example) = missing.next() {
                found.push(Finding::MembersNotRecorded {
                    group: group.clone(),
                    number: 1 + missing.count() as u64,
                    example: example.clone(),
                });
            }
            let mut unknown = recorded
                .difference(expected)
                .filter(|device| is_unwritten(device) == unwritten);
            if let Some(example) = unknown.next() {
                found.push(Finding::MembersOnlyRecorded {
                    group: group.clone(),
                    number: 1 + unknown.count() as u64,
                    example: example.clone(),
                });
            }
        }
        found
    }
}

fn compare_locations(state: &StatePart, recorded: &[LocationRecord]) -> Vec<Finding> {
    let recorded: BTreeMap<&LocationName, &LocationRecord> =
        recorded.iter().map(|it| (&it.name, it)).collect();
    let mut found = Vec::new();
    let locations: BTreeMap<&LocationName, &LocationDocument> = state
        .locations()
        .filter_map(|(name, document)| Some((name, document?)))
        .collect();
    for (name, document) in &locations {
        let location = (*name).clone();
        match recorded.get(name) {
            None => found.push(Finding::LocationNotRecorded { location }),
            Some(record) if record.location != document.url => {
                found.push(Finding::OtherAddress {
                    location,
                    expected: document.url.to_string(),
                    found: record.location.to_string(),
                });
            }
            Some(_) => {}
        }
    }
    let unknown = recorded
        .keys()
        .filter(|name| !locations.contains_key(*name));
    found.extend(unknown.map(|name| Finding::LocationOnlyRecorded {
        location: (*name).clone(),
    }));
    found
}

fn compare_groups(state: &StatePart, recorded: &[GroupState]) -> Vec<Finding> {
    let recorded: BTreeMap<&GroupName, &GroupState> =
        recorded.iter().map(|it| (&it.group, it)).collect();
    let mut found = Vec::new();
    let nothing = GroupDocument::empty(0, 0);
    for (name, document) in state.groups() {
        let Some(document) = document else {
            continue;
        };
        match recorded.get(name) {
            Some(record) => found.extend(compare_group(document, record)),
            // The group `all` has a record once it has a package or a setting.
            None if name.is_all() && document.packages == nothing.packages => {}
            None => found.push(Finding::GroupNotRecorded {
                group: name.clone(),
            }),
        }
    }
    for (name, record) in recorded {
        if matches!(state.group(name), Ok(Some(_))) {
            continue;
        }
        if name.is_all() {
            found.extend(compare_group(&nothing, record));
        } else {
            let group = name.clone();
            found.push(Finding::GroupOnlyRecorded { group });
        }
    }
    found
}

fn compare_group(document: &GroupDocument, record: &GroupState) -> Vec<Finding> {
    let group = || record.group.clone();
    let mut found = Vec::new();
    for entry in document.packages.as_slice() {
        let package = entry.package;
        let group = group();
        match record.assignment(package) {
            None => found.push(Finding::EntryNotRecorded { group, package }),
            Some(it) if it.manifest != entry.manifest || it.force != entry.force => {
                found.push(Finding::OtherEntry { group, package });
            }
            Some(_) => {}
        }
    }
    let recorded = record.assignments.iter().map(|it| it.package);
    let unknown = recorded.filter(|package| document.packages.of(*package).is_none());
    found.extend(unknown.map(|package| Finding::EntryOnlyRecorded {
        group: group(),
        package,
    }));
    if document.prefer != record.preferred {
        found.push(Finding::OtherPreference { group: group() });
    }
    if document.pace != record.pace {
        found.push(Finding::OtherPacing { group: group() });
    }
    found
}

/// Returns those of some devices that are in each group.
fn members(
    state: &StatePart,
    known: &BTreeSet<DeviceId>,
) -> BTreeMap<GroupName, BTreeSet<DeviceId>> {
    let mut members: BTreeMap<GroupName, BTreeSet<DeviceId>> = BTreeMap::new();
    for device in known {
        for group in groups_of(state, device) {
            members.entry(group).or_default().insert(device.clone());
        }
    }
    members
}

/// Returns the groups of a device, without `all`.
fn groups_of(state: &StatePart, device: &DeviceId) -> BTreeSet<GroupName> {
    let document = state.device(device).ok().flatten();
    let named = document.into_iter().flat_map(|it| it.groups.as_map());
    // A group that the whole state does not have was deleted.
    let exists = |group: &GroupName, created: u64| matches!(state.group(group), Ok(Some(it)) if it.created == created);
    named
        .filter(|(group, created)| exists(group, **created))
        .map(|(group, _)| group.clone())
        .collect()
}

/// The records of one device, with what tells a missing task from a finished one.
struct RecordedDevice {
    device: DeviceId,
    recorded: DeviceState,
    /// Packages that the device has finished, or that its package history lists.
    done: BTreeSet<PackageId>,
}

impl RecordedDevice {
    async fn read(
        records: &Records,
        state: &StatePart,
        device: DeviceId,
        recorded: DeviceState,
    ) -> Result<Self, RecordsError> {
        let without_task: BTreeSet<PackageId> = entries(state, &device)
            .iter()
            .map(|entry| entry.package)
            .filter(|package| !has_direct_task(&recorded.tasks, *package))
            .collect();
        let mut done = BTreeSet::new();
        if !without_task.is_empty() {
            done.extend(
                records
                    .finished_of(&device, &without_task)
                    .await?
                    .into_keys(),
            );
            done.extend(records.history(&device).await?);
        }
        Ok(Self {
            device,
            recorded,
            done,
        })
    }

    fn compare(self, with: Comparison<'_>) -> Vec<Finding> {
        let Comparison {
            state,
            packages,
            now,
            ..
        } = with;
        let Self {
            device,
            recorded,
            done,
        } = self;
        let mut found = Vec::new();
        let expected = groups_of(state, &device);
        let joined: BTreeSet<GroupName> = recorded.memberships.joined().cloned().collect();
        if expected != joined {
            found.push(Finding::OtherGroups {
                device: device.clone(),
                expected: listed(&expected),
                found: listed(&joined),
            });
        }
        let entries = entries(state, &device);
        for entry in entries {
            let package = packages.get(&entry.package);
            let open = recorded.tasks.iter().find(|it| it.package == entry.package);
            let has_task = has_direct_task(&recorded.tasks, entry.package);
            let is_pending = package.is_some_and(|package| {
                let on_device = PackageOnDevice {
                    is_known: recorded.device.is_some(),
                    open: open.cloned(),
                    ..PackageOnDevice::default()
                };
                let request = AssignmentRequest {
                    direct: true,
                    force: entry.force,
                    mandate: None,
                };
                assign(&device, package, &on_device, request, now).is_ok()
            });
            // An entry stays after the device has finished the package.
            if is_pending && !has_task && !done.contains(&entry.package) {
                found.push(Finding::TaskNotRecorded {
                    device: device.clone(),
                    package: entry.package,
                });
            }
        }
        let is_assigned = |package: PackageId| entries.iter().any(|entry| entry.package == package);
        let direct = recorded.tasks.iter().filter(|task| is_direct(task));
        let unknown = direct.filter(|task| !is_assigned(task.package));
        found.extend(unknown.map(|task| Finding::TaskOnlyRecorded {
            device: device.clone(),
            package: task.package,
        }));
        found
    }
}

fn entries<'a>(state: &'a StatePart, device: &DeviceId) -> &'a [StateEntry] {
    let document = state.device(device).ok().flatten();
    document.map_or(&[], |document| document.packages.as_slice())
}

fn has_direct_task(tasks: &[OpenTask], package: PackageId) -> bool {
    tasks
        .iter()
        .any(|task| task.package == package && is_direct(task))
}

fn is_direct(task: &OpenTask) -> bool {
    task.direct && !matches!(task.state, TaskState::Withdrawn { .. })
}

fn listed(groups: &BTreeSet<GroupName>) -> String {
    if groups.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = groups.iter().map(ToString::to_string).collect();
    names.join(", ")
}
