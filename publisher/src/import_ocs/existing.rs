//! The rows of an import that exist here already: a repeated import carries over only new rows.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::LeafName;
use packcast_protocol::{DeviceId, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{NotLoaded, StatePart};

use super::names::{ChosenNames, NamedVersion};
use super::plan::{GroupImport, ImportPlan, ImportedOwner, named_packages};
use super::rows::OcsDatabase;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
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

/// The records and documents of a target that an import would add.
#[derive(Debug)]
pub struct Existing {
    state: StatePart,
    devices: BTreeSet<DeviceId>,
    results: BTreeSet<(DeviceId, PackageId)>,
}

impl Existing {
    /// Reads the documents, devices and results that a plan names.
    pub async fn read(target: &Target, plan: &ImportPlan) -> Result<Self, Failure> {
        let groups = plan.groups.iter();
        let groups = groups.map(|it| LeafName::Group(it.group.clone()));
        let devices = plan.devices.iter();
        let devices = devices.map(|it| LeafName::Device(it.device.clone()));
        let state = current_part(target, groups.chain(devices).collect()).await?;
        let ids: Vec<DeviceId> = plan.devices.iter().map(|it| it.device.clone()).collect();
        Ok(Self {
            state,
            devices: known_devices(target, &ids).await?,
            results: known_results(target, plan).await?,
        })
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

async fn known_results(
    target: &Target,
    plan: &ImportPlan,
) -> Result<BTreeSet<(DeviceId, PackageId)>, Failure> {
    let mut packages: BTreeMap<&DeviceId, BTreeSet<PackageId>> = BTreeMap::new();
    let existing = plan.packages.iter().filter(|it| it.exists);
    let existing: BTreeSet<PackageId> = existing.map(|it| it.id).collect();
    // A package that is not published here has no results.
    let results = plan.results.iter();
    for result in results.filter(|it| existing.contains(&it.package)) {
        let of_device = packages.entry(&result.device).or_default();
        of_device.insert(result.package);
    }
    let mut found = stream::iter(packages)
        .map(|(device, packages)| async move {
            let finished = target.records.finished_of(device, &packages).await?;
            Ok::<_, Failure>((device.clone(), finished))
        })
        .buffer_unordered(AT_ONCE);
    let mut results = BTreeSet::new();
    while let Some((device, finished)) = found.try_next().await? {
        results.extend(
            finished
                .into_keys()
                .map(|package| (device.clone(), package)),
        );
    }
    drop(found);
    Ok(results)
}

impl ImportPlan {
    /// Removes the rows that exist here already. Packages stay, because assignments refer to them.
    pub fn keep_new(&mut self, existing: &Existing) -> Result<(), NotLoaded> {
        let Existing {
            state,
            devices,
            results,
        } = existing;
        for group in &mut self.groups {
            group.keep_new(state)?;
        }
        self.groups
            .retain(|group| !group.exists || !group.members.is_empty());
        self.devices.retain(|it| !devices.contains(&it.device));
        self.results
            .retain(|it| !results.contains(&(it.device.clone(), it.package)));
        let mut kept = Vec::new();
        for assignment in std::mem::take(&mut self.assignments) {
            let entries = match &assignment.to {
                ImportedOwner::Group(group) => state.group(group)?.map(|it| &it.packages),
                ImportedOwner::Device(device) => state.device(device)?.map(|it| &it.packages),
            };
            if entries.is_none_or(|entries| entries.of(assignment.package).is_none()) {
                kept.push(assignment);
            }
        }
        self.assignments = kept;
        Ok(())
    }

    /// Returns true if there is nothing to import.
    pub fn is_empty(&self) -> bool {
        self.packages.iter().all(|package| package.exists)
            && self.groups.is_empty()
            && self.devices.is_empty()
            && self.assignments.is_empty()
            && self.results.is_empty()
    }
}

impl GroupImport {
    fn keep_new(&mut self, state: &StatePart) -> Result<(), NotLoaded> {
        let Some(created) = state.group(&self.group)?.map(|document| document.created) else {
            return Ok(());
        };
        self.exists = true;
        let mut new = BTreeSet::new();
        for device in std::mem::take(&mut self.members) {
            let document = state.device(&device)?;
            let groups = document.map(|document| document.groups.as_map());
            let number = groups.and_then(|groups| groups.get(&self.group));
            if number != Some(&created) {
                new.insert(device);
            }
        }
        self.members = new;
        Ok(())
    }
}
