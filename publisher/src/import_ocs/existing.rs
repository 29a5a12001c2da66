//! The rows of an import that exist here already: a repeated import carries over only new rows.

mod limits;
mod new_rows;
mod origins;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::LeafName;
use packcast_protocol::state::document::MAX_DEVICE_GROUPS;
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef};
use packcast_rollout::state::StatePart;
use packcast_rollout::{FinishedTask, PackageRecord, TaskState};
use packcast_store::records::ImportedRows;

use super::memory::ImportedRow;
use super::names::{ChosenNames, NamedVersion};
use super::plan::{ImportPlan, LeftOut, LeftOutKind, named_packages};
use super::rows::OcsDatabase;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::state::current_part;
use crate::target::Target;

/// The number of devices whose records are read at once.
const BATCH: usize = 100;

/// Returns the packages of a target that have an id or a name of an import.
pub async fn existing_packages(
    target: &Target,
    database: &OcsDatabase,
    chosen: &ChosenNames,
) -> Result<Vec<PackageRecord>, Failure> {
    let named = named_packages(database, chosen);
    let ids: Vec<PackageId> = named.keys().copied().collect();
    let mut existing: BTreeMap<PackageId, PackageRecord> = BTreeMap::new();
    for record in target.records.packages_of(&ids).await? {
        existing.insert(record.id, record);
    }
    let new = named.iter().filter(|(id, _)| !existing.contains_key(id));
    let new: Vec<&NamedVersion> = new.map(|(_, version)| version).collect();
    let mut found = stream::iter(new)
        .map(|(name, version)| async move {
            let reference = PackageRef::Named(name.clone(), version.clone());
            target.records.find(&reference).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some(record) = found.try_next().await? {
        existing.extend(record.map(|record| (record.id, record)));
    }
    drop(found);
    Ok(existing.into_values().collect())
}

/// The rows that a repeated import carries over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Only rows that are new on the OCS server.
    New,
    /// Also rows of an earlier import that somebody has changed here since.
    All,
}

/// Leaves out of a plan the rows that exist here, that an earlier import has carried over, or that
/// cannot be imported.
pub async fn keep_new(
    target: &Target,
    plan: &mut ImportPlan,
    repeat: Repeat,
) -> Result<(), Failure> {
    let existing = Existing::read(target, plan, repeat).await?;
    plan.keep_new(&existing).map_err(Failure::failed)?;
    leave_out_unverified(target, plan).await?;
    plan.conclude(existing);
    Ok(())
}

/// The records and documents of a target that an import would add.
#[derive(Debug, Default)]
struct Existing {
    state: StatePart,
    devices: BTreeSet<DeviceId>,
    /// Devices that are blocked or removed here.
    excluded: BTreeSet<DeviceId>,
    results: BTreeMap<(DeviceId, PackageId), FinishedTask>,
    /// Packages that were announced here, and have no result yet.
    begun: BTreeSet<(DeviceId, PackageId)>,
    /// Groups here that belong to no group of the OCS server, each with the reason.
    foreign: BTreeMap<GroupName, String>,
    /// The rows that earlier imports have carried over.
    remembered: ImportedRows,
    /// Those of them that this import does not repeat.
    memory: ImportedRows,
    has_location: bool,
}

impl Existing {
    /// Reads the documents, devices and results that a plan names.
    async fn read(target: &Target, plan: &ImportPlan, repeat: Repeat) -> Result<Self, Failure> {
        // Before the state: an import that ends in between has the rows here, but not in the memory.
        let remembered = target.records.imported_rows().await?;
        let memory = match repeat {
            Repeat::New => remembered.clone(),
            Repeat::All => ImportedRows::new(),
        };
        let groups = plan.groups.iter();
        let groups = groups.map(|it| LeafName::Group(it.group.clone()));
        let devices = plan.devices.iter();
        let devices = devices.map(|it| LeafName::Device(it.device.clone()));
        let state = current_part(target, groups.chain(devices).collect()).await?;
        let ids: Vec<DeviceId> = plan.devices.iter().map(|it| it.device.clone()).collect();
        let excluded = target.records.excluded_devices().await?;
        let mut existing = Self {
            devices: known_devices(target, &ids).await?,
            excluded: excluded.into_keys().collect(),
            foreign: origins::foreign(target, plan, &state).await?,
            has_location: !target.records.locations().await?.is_empty(),
            state,
            remembered,
            memory,
            ..Self::default()
        };
        existing.read_results(target, plan).await?;
        existing.read_full_devices(target, plan).await?;
        Ok(existing)
    }

    /// Reads the results of packages that are published here, and the open tasks of devices with
    /// another result here than on the OCS server.
    async fn read_results(&mut self, target: &Target, plan: &ImportPlan) -> Result<(), Failure> {
        let published = plan.packages.iter().filter(|it| it.exists);
        let published: BTreeSet<PackageId> = published.map(|it| it.id).collect();
        let mut packages: BTreeMap<&DeviceId, BTreeMap<PackageId, String>> = BTreeMap::new();
        for result in &plan.results {
            let (device, code) = (&result.device, result.code.to_string());
            let is_known = ImportedRow::result(device, result.package, &code).is_in(&self.memory);
            if !is_known && published.contains(&result.package) {
                let of_device = packages.entry(device).or_default();
                of_device.insert(result.package, code);
            }
        }
        let mut found = stream::iter(packages)
            .map(|(device, packages)| async move {
                let ids = packages.keys().copied().collect();
                let finished = target.records.finished_of(device, &ids).await?;
                let is_same = |(package, code): (&PackageId, &String)| {
                    let finished = finished.get(package);
                    finished.is_some_and(|it| it.code.to_string() == *code)
                };
                let tasks = if packages.iter().all(is_same) {
                    Vec::new()
                } else {
                    target.records.device_state(device).await?.tasks
                };
                Ok::<_, Failure>((device, finished, tasks))
            })
            .buffer_unordered(AT_ONCE);
        let (mut results, mut begun) = (BTreeMap::new(), BTreeSet::new());
        while let Some((device, finished, tasks)) = found.try_next().await? {
            let finished = finished.into_iter();
            results.extend(finished.map(|(package, it)| ((device.clone(), package), it)));
            let tasks = tasks.iter().filter(|it| it.state != TaskState::Pending);
            begun.extend(tasks.map(|it| (device.clone(), it.package)));
        }
        drop(found);
        (self.results, self.begun) = (results, begun);
        Ok(())
    }

    /// Reads the groups of devices that may come to the limit of their groups: deleted groups do not
    /// count.
    async fn read_full_devices(
        &mut self,
        target: &Target,
        plan: &ImportPlan,
    ) -> Result<(), Failure> {
        let mut joins: BTreeMap<&DeviceId, usize> = BTreeMap::new();
        for device in plan.groups.iter().flat_map(|group| &group.members) {
            *joins.entry(device).or_default() += 1;
        }
        let mut names = BTreeSet::new();
        for (device, document) in self.state.devices() {
            let groups = document.map(|document| document.groups.as_map());
            let joins = joins.get(device).copied().unwrap_or(0);
            if let Some(groups) = groups.filter(|it| it.len() + joins > MAX_DEVICE_GROUPS) {
                names.extend(groups.keys().cloned().map(LeafName::Group));
            }
        }
        names.retain(|name| !self.state.is_loaded(name));
        if !names.is_empty() {
            self.state.extend(current_part(target, names).await?);
        }
        Ok(())
    }
}

async fn known_devices(target: &Target, ids: &[DeviceId]) -> Result<BTreeSet<DeviceId>, Failure> {
    let mut found = stream::iter(ids.chunks(BATCH))
        .map(|batch| target.records.device_records(batch))
        .buffer_unordered(AT_ONCE);
    let mut devices = BTreeSet::new();
    while let Some(records) = found.try_next().await? {
        devices.extend(records.into_iter().map(|(record, _)| record.device));
    }
    drop(found);
    Ok(devices)
}

/// Leaves out the assignments of packages here whose manifest nobody has signed.
async fn leave_out_unverified(target: &Target, plan: &mut ImportPlan) -> Result<(), Failure> {
    let published = plan.packages.iter().filter(|it| it.exists);
    let published: BTreeSet<PackageId> = published.map(|it| it.id).collect();
    let assigned = plan.assignments.iter().map(|it| it.package);
    let assigned: BTreeSet<PackageId> = assigned.filter(|it| published.contains(it)).collect();
    let ids: Vec<PackageId> = assigned.into_iter().collect();
    let signer = Signer::new(target, None);
    for record in target.records.packages_of(&ids).await? {
        let verified = AlsoAccept::default().verify(target, &record, &signer).await;
        match verified {
            Ok(()) => {}
            Err(failure) if failure.is_unreachable() => return Err(failure),
            Err(failure) => {
                let before = plan.assignments.len();
                plan.assignments.retain(|it| it.package != record.id);
                let rows = before - plan.assignments.len();
                let name = format!("{}@{}", record.name, record.version);
                let left_out = LeftOut::failed(LeftOutKind::Package, &name, &failure);
                plan.left_out.push(left_out.with_rows(rows));
            }
        }
    }
    Ok(())
}

impl ImportPlan {
    /// Returns true if there is nothing to import.
    pub fn is_empty(&self) -> bool {
        self.packages.iter().all(|package| package.exists)
            && self.groups.is_empty()
            && self.devices.is_empty()
            && self.assignments.is_empty()
            && self.results.is_empty()
    }
}
