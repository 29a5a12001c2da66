//! The import of a plan.
//!
//! The order keeps devices from running a package twice: packages are published inactive, then the
//! devices get their records, then commits create the groups, their members and the assignments,
//! then the results are recorded, and at last the packages are activated. Each step may be repeated
//! after an interruption.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{LeafName, Mandate, Terms};
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::check_in::MAX_OS_BYTES;
use packcast_rollout::state::{EntryOwner, NewAssignment, NotLoaded, StateChange, StatePart};
use packcast_rollout::{DeviceRecord, FinishedTask, PackageRecord, TaskState, WriteBudget};
use packcast_store::records::{CheckInWritten, HeadChange, Recorded};
use serde::Serialize;

use super::downloads::Downloads;
use super::plan::{
    DeviceImport, ImportPlan, ImportedOwner, LeftOut, LeftOutKind, PackageImport, ResultImport,
};
use crate::activate::activate_package;
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::published;
use crate::progress::{Progress, Work};
use crate::publish::publish;
use crate::signing::verify_record::AlsoAccept;
use crate::signing::{Signer, SigningKey};
use crate::state::current_part;
use crate::target::Target;

/// The detail of an imported result.
pub(crate) const DETAIL: &str = "reported to the OCS server";

/// The length of the longest name of an agent on record, in bytes.
const MAX_AGENT_BYTES: usize = 64;
/// The length of the longest host name on record, in bytes.
const MAX_HOST_BYTES: usize = 255;

/// The result of an import.
#[derive(Debug, Default, Serialize)]
pub struct Imported {
    /// The packages that were published, as `name@version`.
    pub packages: Vec<String>,
    /// The number of groups that were created.
    pub groups: usize,
    /// The number of devices that got a record.
    pub devices: usize,
    /// The number of devices that joined a group, once for each group.
    pub memberships: usize,
    pub assignments: usize,
    pub results: usize,
    /// The packages that were activated, as `name@version`.
    pub activated: Vec<String>,
    /// Number of the commit; `None` if the signed state has not changed.
    pub commit: Option<u64>,
    pub left_out: Vec<LeftOut>,
}

/// Performs a plan, without the rows that exist here already.
pub async fn perform(
    target: &Target,
    plan: ImportPlan,
    downloads: &Downloads,
    key: Arc<SigningKey>,
    progress: &Progress,
) -> Result<Imported, Failure> {
    let mut import = Import {
        target,
        signer: Signer::with(target, Arc::clone(&key)),
        key,
        progress,
        packages: BTreeMap::new(),
        fresh: BTreeSet::new(),
        excluded: BTreeSet::new(),
        imported: Imported::default(),
    };
    import.publish_all(&plan.packages, downloads).await?;
    import.add_devices(&plan.devices).await?;
    import.commit(&plan).await?;
    import.add_results(&plan).await?;
    import.activate(&plan).await?;
    let mut imported = import.imported;
    let mut left_out = plan.left_out;
    left_out.append(&mut imported.left_out);
    imported.left_out = left_out;
    Ok(imported)
}

struct Import<'a> {
    target: &'a Target,
    key: Arc<SigningKey>,
    signer: Signer,
    progress: &'a Progress,
    /// The published packages of the import.
    packages: BTreeMap<PackageId, PackageRecord>,
    /// The packages whose manifest this import has signed.
    fresh: BTreeSet<PackageId>,
    /// Devices that are blocked or removed here.
    excluded: BTreeSet<DeviceId>,
    imported: Imported,
}

impl Import<'_> {
    async fn publish_all(
        &mut self,
        packages: &[PackageImport],
        downloads: &Downloads,
    ) -> Result<(), Failure> {
        let existing: Vec<PackageId> = packages
            .iter()
            .filter(|package| package.exists)
            .map(|package| package.id)
            .collect();
        for record in self.target.records.packages_of(&existing).await? {
            self.packages.insert(record.id, record);
        }
        for package in packages {
            match self.publish_one(package, downloads).await {
                Ok(()) => {}
                // The next package would fail, too.
                Err(failure) if failure.is_unreachable() => return Err(failure),
                Err(failure) => self.leave_out(LeftOutKind::Package, &package.ocs_name, &failure),
            }
        }
        Ok(())
    }

    async fn publish_one(
        &mut self,
        package: &PackageImport,
        downloads: &Downloads,
    ) -> Result<(), Failure> {
        let Some(plan) = &package.plan else {
            return Ok(());
        };
        let (id, downloads) = (package.id, downloads.clone());
        let assemble = move || downloads.archive(&downloads.info(id)?);
        let source = tokio::task::spawn_blocking(assemble).await;
        let source = source.map_err(Failure::failed)?.map_err(Failure::failed)?;
        let publication = publish(self.target, plan, source.as_ref(), &self.key, self.progress);
        let record = publication.await?.package;
        let name = format!("{}@{}", record.name, record.version);
        self.imported.packages.push(name);
        self.fresh.insert(record.id);
        self.packages.insert(record.id, record);
        Ok(())
    }

    fn leave_out(&mut self, kind: LeftOutKind, name: &str, failure: &Failure) {
        let causes = failure.causes();
        let reason = std::iter::once(failure.message()).chain(causes);
        let reason: Vec<String> = reason.collect();
        let reason = reason.join(": ");
        let left_out = LeftOut::new(kind, name, reason);
        self.imported.left_out.push(left_out);
    }

    /// Creates the records of devices that have never checked in here.
    async fn add_devices(&mut self, devices: &[DeviceImport]) -> Result<(), Failure> {
        let (records, now) = (&self.target.records, now());
        self.progress.begin(Work::Importing, devices.len() as u64);
        let mut written = stream::iter(devices)
            .map(|device| async move {
                let record = record_of(device, now);
                let written = records.write_check_in(&record, None).await?;
                Ok::<_, Failure>((&device.device, written))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((device, written)) = written.try_next().await? {
            if written == CheckInWritten::Excluded {
                self.excluded.insert(device.clone());
                let reason = "the device is blocked or removed here";
                let left_out = LeftOut::new(LeftOutKind::Device, device.to_string(), reason);
                self.imported.left_out.push(left_out);
            } else {
                self.imported.devices += 1;
            }
            self.progress.advance(1);
        }
        drop(written);
        self.progress.end();
        Ok(())
    }

    /// Creates groups, members and assignments: with one commit, unless too many packages are assigned.
    async fn commit(&mut self, plan: &ImportPlan) -> Result<(), Failure> {
        let command = "packcast import ocs";
        for changes in batches(self.changes(plan).await?, HeadChange::MAX_PACKAGES) {
            let (target, progress) = (self.target, self.progress);
            let change = self.signer.change(target, &changes, command, progress);
            self.imported.commit = Box::pin(change).await?.committed.number();
            self.count(&changes);
        }
        Ok(())
    }

    fn count(&mut self, changes: &[StateChange]) {
        for change in changes {
            match change {
                StateChange::CreateGroup { .. } => self.imported.groups += 1,
                StateChange::Join { devices, .. } => self.imported.memberships += devices.len(),
                StateChange::Assign { .. } => self.imported.assignments += 1,
                _ => {}
            }
        }
    }

    async fn changes(&mut self, plan: &ImportPlan) -> Result<Vec<StateChange>, Failure> {
        let mut changes = Vec::new();
        for group in &plan.groups {
            let name = group.group.clone();
            if !group.exists {
                changes.push(StateChange::CreateGroup {
                    group: name.clone(),
                });
            }
            let devices: BTreeSet<DeviceId> =
                group.members.difference(&self.excluded).cloned().collect();
            if !devices.is_empty() {
                let group = name;
                changes.push(StateChange::Join { group, devices });
            }
        }
        let mut verified = self.fresh.clone();
        for assignment in &plan.assignments {
            let Some(package) = self.packages.get(&assignment.package) else {
                continue;
            };
            let to = match &assignment.to {
                ImportedOwner::Group(group) => EntryOwner::Group(group.clone()),
                ImportedOwner::Device(device) if self.excluded.contains(device) => continue,
                ImportedOwner::Device(device) => EntryOwner::Device(device.clone()),
            };
            if verified.insert(package.id) {
                let accept = AlsoAccept::default();
                accept.verify(self.target, package, &self.signer).await?;
            }
            changes.push(StateChange::Assign {
                to,
                assignment: NewAssignment {
                    package: package.id,
                    manifest: published(package)?.manifest,
                    force: assignment.force,
                    terms: Terms::default(),
                },
            });
        }
        Ok(changes)
    }

    /// Records the results, with the mandates of the groups that the results use up: no group of the
    /// device starts another attempt.
    async fn add_results(&mut self, plan: &ImportPlan) -> Result<(), Failure> {
        let is_imported = |it: &&ResultImport| {
            self.packages.contains_key(&it.package) && !self.excluded.contains(&it.device)
        };
        let results: Vec<&ResultImport> = plan.results.iter().filter(is_imported).collect();
        let state = self.groups_of(&results).await?;
        self.progress.begin(Work::Importing, results.len() as u64);
        let this = &*self;
        let mut written = stream::iter(results)
            .map(|result| this.add_result(result, &state))
            .buffer_unordered(AT_ONCE);
        let mut number = 0;
        while let Some(is_written) = written.try_next().await? {
            number += usize::from(is_written);
            this.progress.advance(1);
        }
        drop(written);
        self.progress.end();
        self.imported.results = number;
        Ok(())
    }

    /// Returns the documents of devices with results, and of their groups.
    async fn groups_of(&self, results: &[&ResultImport]) -> Result<StatePart, Failure> {
        let devices = results.iter();
        let devices = devices
            .map(|it| LeafName::Device(it.device.clone()))
            .collect();
        let mut state = current_part(self.target, devices).await?;
        let groups: BTreeSet<LeafName> = state
            .devices()
            .filter_map(|(_, document)| document)
            .flat_map(|document| document.groups.as_map().keys().cloned())
            .map(LeafName::Group)
            .collect();
        state.extend(current_part(self.target, groups).await?);
        Ok(state)
    }

    /// Returns true if the result was new here.
    async fn add_result(&self, result: &ResultImport, state: &StatePart) -> Result<bool, Failure> {
        let (records, device) = (&self.target.records, &result.device);
        let used = used_mandates(result, state).map_err(Failure::failed)?;
        let package = &self.packages[&result.package];
        let finished = FinishedTask {
            package: result.package,
            attempt: 1,
            outcome: result.code.outcome(&package.success_codes),
            code: result.code.clone(),
            detail: Some(DETAIL.to_owned()),
            output_tail: None,
            mandate: None,
            used,
            finished_at: now(),
        };
        let written = records.import_result(device, package.priority, &finished);
        if written.await? == Recorded::Written {
            return Ok(true);
        }
        // An earlier import has assigned the package, and the OCS server has deployed it meanwhile.
        let tasks = records.device_state(device).await?.tasks;
        let pending = |task: &&packcast_rollout::OpenTask| {
            task.package == result.package && task.state == TaskState::Pending
        };
        let Some(task) = tasks.iter().find(pending) else {
            return Ok(false);
        };
        let mut used = finished.used.clone();
        used.extend(task.used.clone());
        let finished = FinishedTask {
            attempt: task.attempt,
            mandate: task.mandate,
            used,
            ..finished
        };
        let written = records.record_result(device, task, &finished);
        Ok(written.await? == Recorded::Written)
    }

    /// Activates the packages that are active on the OCS server.
    async fn activate(&mut self, plan: &ImportPlan) -> Result<(), Failure> {
        for package in plan.packages.iter().filter(|package| package.active) {
            let record = self.packages.get(&package.id);
            let Some(record) = record.filter(|record| !record.active) else {
                continue;
            };
            // A package that somebody has deactivated here stays inactive.
            if package.exists && !record.locations.is_empty() {
                continue;
            }
            let name = format!("{}@{}", record.name, record.version);
            match activate_package(self.target, record, &[]).await {
                Ok(_) => self.imported.activated.push(name),
                Err(failure) => self.leave_out(LeftOutKind::Activation, &name, &failure),
            }
        }
        Ok(())
    }
}

/// Splits changes into those of single commits, each with at most this number of packages. Groups and
/// their members come first.
fn batches(changes: Vec<StateChange>, most: usize) -> Vec<Vec<StateChange>> {
    let mut first = Vec::new();
    let mut of_packages: BTreeMap<PackageId, Vec<StateChange>> = BTreeMap::new();
    for change in changes {
        match &change {
            StateChange::Assign { assignment, .. } => {
                let of_package = of_packages.entry(assignment.package).or_default();
                of_package.push(change);
            }
            _ => first.push(change),
        }
    }
    let mut of_packages: Vec<Vec<StateChange>> = of_packages.into_values().collect();
    let mut batches = Vec::new();
    while !first.is_empty() || !of_packages.is_empty() {
        let rest = of_packages.split_off(most.min(of_packages.len()));
        let assigned = std::mem::replace(&mut of_packages, rest);
        let groups = std::mem::take(&mut first).into_iter();
        batches.push(groups.chain(assigned.into_iter().flatten()).collect());
    }
    batches
}

/// Returns the mandates of groups that the result of a device uses up.
fn used_mandates(result: &ResultImport, state: &StatePart) -> Result<BTreeSet<Mandate>, NotLoaded> {
    let mut used = BTreeSet::new();
    let groups = state.groups_of(&result.device)?;
    for group in groups.into_keys() {
        let document = state.group(group)?;
        let entry = document.and_then(|document| document.packages.of(result.package));
        used.extend(entry.map(|entry| entry.group_mandate(group)));
    }
    Ok(used)
}

/// Returns the record of a device that has not checked in here.
fn record_of(device: &DeviceImport, now: UnixTime) -> DeviceRecord {
    let seen = device.last_seen.filter(|seen| *seen <= now).unwrap_or(now);
    let is_name = |name: &&str| !name.is_empty() && !name.chars().any(char::is_control);
    let host_name = Some(device.host_name.as_str()).filter(is_name);
    let host_name = host_name.unwrap_or_else(|| match &device.device {
        DeviceId::Ocs(id) => id.host_name(),
        DeviceId::Agent(_) => "",
    });
    DeviceRecord {
        device: device.device.clone(),
        host_name: cut(host_name, MAX_HOST_BYTES),
        agent: cut(&device.agent, MAX_AGENT_BYTES),
        os: cut(&device.os, MAX_OS_BYTES),
        first_seen: seen,
        last_seen: seen,
        inventory_asked: None,
        inventory_received: None,
        machine: None,
        facts: None,
        batch: None,
        budget: WriteBudget::default(),
    }
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_target::{assign_lab, create_lab};

    #[test]
    fn many_packages_need_several_commits() {
        let id = |number: u32| PackageId::try_from(1_700_000_000 + number).unwrap();
        let sizes = |packages: u32, most| {
            let assigned =
                (0..packages).flat_map(|number| [assign_lab(id(number)), assign_lab(id(number))]);
            let changes = std::iter::once(create_lab()).chain(assigned).collect();
            let batches = batches(changes, most);
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0, 90), [1]);
        assert_eq!(sizes(90, 90), [181]);
        assert_eq!(sizes(91, 90), [181, 2]);
        assert_eq!(batches(Vec::new(), 90).len(), 0);
    }
}
