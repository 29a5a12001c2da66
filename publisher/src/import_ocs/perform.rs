//! The import of a plan.
//!
//! The order keeps devices from running a package twice: packages are published inactive, then the
//! devices get their records, then the results of packages that were here before are recorded. Then
//! commits create the groups, their members and the assignments; before the function follows such a
//! commit, the results use up its mandates. Then the results of the new packages are recorded, and at
//! last the packages are activated. Each step may be repeated after an interruption: the rows are
//! remembered at the end.

mod batches;
mod device_record;
mod remember;
mod results;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::Terms;
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::records::{CheckInWritten, HeadChange};
use serde::Serialize;
use tokio::sync::oneshot;

use self::batches::{batches, joining, packages_of_groups};
use self::device_record::record_of;
use super::downloads::Downloads;
use super::memory::{COMMAND, ImportedRow};
use super::plan::{
    DeviceImport, ImportPlan, ImportedOwner, LeftOut, LeftOutKind, PackageImport, ResultImport,
};
use crate::activate::activate_package;
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::published;
use crate::progress::{Progress, Step, Work};
use crate::publish::plan::Plan;
use crate::publish::publication::{Earlier, Publication};
use crate::publish::publish;
use crate::signing::verify_record::AlsoAccept;
use crate::signing::{Signer, SigningKey};
use crate::state::OnHead;
use crate::target::Target;

/// The number of packages that are published at a time. Each has several fragments in memory.
const PACKAGES_AT_ONCE: usize = 4;

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
    /// The number of results that are new here, or have changed on the OCS server.
    pub results: usize,
    /// The packages that were activated, as `name@version`.
    pub activated: Vec<String>,
    /// Number of the last commit; `None` if the signed state has not changed.
    pub commit: Option<u64>,
    pub left_out: Vec<LeftOut>,
    /// Rows that needed no import.
    pub skipped: Vec<LeftOut>,
}

/// Performs a plan, without the rows that exist here already.
pub async fn perform(
    target: &Target,
    plan: ImportPlan,
    downloads: &Downloads,
    key: Arc<SigningKey>,
    progress: &Progress,
) -> Result<Imported, Failure> {
    let mut signer = Signer::with(target, Arc::clone(&key));
    let mut import = Import {
        target,
        plan: &plan,
        key,
        progress,
        packages: BTreeMap::new(),
        fresh: BTreeSet::new(),
        excluded: BTreeSet::new(),
        not_done: BTreeSet::new(),
        imported: Imported::default(),
    };
    import.publish_all(downloads).await?;
    import.refuse_other_imports().await?;
    import.add_devices(&plan.devices).await?;
    let (new, earlier) = import.results();
    import.add_results(&earlier).await?;
    let unremembered: Vec<&ResultImport> = plan.unremembered.iter().collect();
    import.use_mandates(&unremembered).await?;
    import.commit(&mut signer, &earlier).await?;
    import.add_results(&new).await?;
    import.activate().await?;
    import.remember().await?;
    let mut imported = import.imported;
    let ImportPlan {
        mut left_out,
        skipped,
        ..
    } = plan;
    left_out.append(&mut imported.left_out);
    Ok(Imported {
        left_out,
        skipped,
        ..imported
    })
}

struct Import<'a> {
    target: &'a Target,
    plan: &'a ImportPlan,
    key: Arc<SigningKey>,
    progress: &'a Progress,
    /// The published packages of the import.
    packages: BTreeMap<PackageId, PackageRecord>,
    /// The packages whose manifest this import has signed.
    fresh: BTreeSet<PackageId>,
    /// Devices that are blocked or removed here.
    excluded: BTreeSet<DeviceId>,
    /// Rows of the plan that were left out.
    not_done: BTreeSet<ImportedRow>,
    imported: Imported,
}

impl Import<'_> {
    async fn publish_all(&mut self, downloads: &Downloads) -> Result<(), Failure> {
        let packages = self.plan.packages.iter();
        let existing = packages.filter(|package| package.exists);
        let existing: Vec<PackageId> = existing.map(|package| package.id).collect();
        for record in self.target.records.packages_of(&existing).await? {
            self.packages.insert(record.id, record);
        }
        let packages = self.plan.packages.iter();
        let new = packages.filter_map(|package| Some((package, package.plan.as_ref()?)));
        let new: Vec<(&PackageImport, &Plan)> = new.collect();
        let archives = new.iter().filter_map(|(_, plan)| plan.action.archive());
        let bytes = archives.map(|it| it.archive.bytes()).sum();
        self.progress.begin(Work::Publishing, bytes);
        let (this, progress) = (&*self, &advancing(self.progress));
        let mut published = stream::iter(new)
            .map(|(package, plan)| async move {
                let published = this.publish_one(plan, package.id, downloads, progress);
                (package, published.await)
            })
            .buffered(PACKAGES_AT_ONCE);
        let mut results = Vec::new();
        while let Some((package, published)) = published.next().await {
            match published {
                // The next package would fail, too.
                Err(failure) if failure.is_unreachable() => return Err(failure),
                published => results.push((package, published)),
            }
        }
        drop(published);
        self.progress.end();
        for (package, published) in results {
            match published {
                Ok(publication) => self.add_published(publication),
                Err(failure) => self.leave_out_package(package.id, &package.ocs_name, &failure),
            }
        }
        Ok(())
    }

    async fn publish_one(
        &self,
        plan: &Plan,
        id: PackageId,
        downloads: &Downloads,
        progress: &Progress,
    ) -> Result<Publication, Failure> {
        let downloads = downloads.clone();
        let assemble = move || downloads.archive(&downloads.info(id)?);
        let (done, source) = oneshot::channel();
        // The end of the program after Ctrl-C would wait for a thread of the runtime, and a server can
        // be slow.
        let work = move || {
            // Nobody waits for the result after Ctrl-C.
            let _ = done.send(assemble());
        };
        thread::Builder::new()
            .spawn(work)
            .map_err(Failure::failed)?;
        let source = source.await.map_err(Failure::failed)?;
        let source = source.map_err(Failure::failed)?;
        let publication = publish(self.target, plan, source.as_ref(), &self.key, progress);
        publication.await
    }

    fn add_published(&mut self, publication: Publication) {
        let Publication {
            package: record,
            earlier,
            ..
        } = publication;
        let name = format!("{}@{}", record.name, record.version);
        self.imported.packages.push(name);
        // Another administrator may have published the package meanwhile, and activated it.
        if earlier != Earlier::Published {
            self.fresh.insert(record.id);
        }
        self.packages.insert(record.id, record);
    }

    /// Leaves out a package, with its assignments and results.
    fn leave_out_package(&mut self, package: PackageId, name: &str, failure: &Failure) {
        self.packages.remove(&package);
        let assigned = self.plan.assignments.iter();
        let assigned = assigned.filter(|it| it.package == package);
        let results = self.plan.results.iter().filter(|it| it.package == package);
        let rows = assigned.map(|it| self.plan.row_of(it));
        let rows: Vec<ImportedRow> = rows.chain(results.map(ResultImport::row)).collect();
        let left_out = LeftOut::failed(LeftOutKind::Package, name, failure);
        self.imported.left_out.push(left_out.with_rows(rows.len()));
        self.not_done.extend(rows);
    }

    /// Refuses a plan if another import has ended since: that one may have read later results.
    async fn refuse_other_imports(&self) -> Result<(), Failure> {
        if self.target.records.imported_rows().await? == self.plan.remembered {
            return Ok(());
        }
        let message = "cannot import what was planned: another import has ended since";
        Err(Failure::conflict(message)
            .hint("run the same command again: it plans the import again"))
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
            } else {
                self.imported.devices += 1;
            }
            self.progress.advance(1);
        }
        drop(written);
        self.progress.end();
        self.leave_out_excluded();
        Ok(())
    }

    /// Leaves out the rows of devices that were blocked or removed since the plan.
    fn leave_out_excluded(&mut self) {
        for device in self.excluded.clone() {
            let groups = self.plan.groups.iter();
            let groups = groups.filter(|group| group.members.contains(&device));
            let members = groups.map(|group| ImportedRow::member(group.ocs_group(), &device));
            let owner = ImportedOwner::Device(device.clone());
            let assigned = self.plan.assignments.iter().filter(|it| it.to == owner);
            let assigned = assigned.map(|it| self.plan.row_of(it));
            let results = self.plan.results.iter().filter(|it| it.device == device);
            let rows = members
                .chain(assigned)
                .chain(results.map(ResultImport::row));
            let rows: Vec<ImportedRow> = rows.collect();
            let reason = "the device was blocked or removed here during the import";
            let left_out = LeftOut::new(LeftOutKind::Device, device.to_string(), reason);
            self.imported.left_out.push(left_out.with_rows(rows.len()));
            self.not_done.extend(rows);
        }
    }

    /// Creates groups, members and assignments: with one commit, unless too many packages are
    /// assigned.
    ///
    /// A commit is refused if somebody has changed one of its groups or devices since the plan: the
    /// import would assign again what was assigned meanwhile, or would join another group.
    ///
    /// The function follows a commit when its records are complete. Before that, the results of
    /// packages that were here use up the mandates of the commit.
    async fn commit(
        &mut self,
        signer: &mut Signer,
        earlier: &[&ResultImport],
    ) -> Result<(), Failure> {
        let mut leaves = self.plan.leaves.clone();
        for changes in batches(self.changes(signer).await?, HeadChange::MAX_PACKAGES) {
            let state = signer.changer(self.target).await?;
            let mut state = state.on(OnHead::With(&leaves));
            let mut changed = Box::pin(state.change(&changes, COMMAND)).await?;
            let changed_leaves = std::mem::take(&mut changed.leaves);
            if let Some(number) = changed.committed.number() {
                self.imported.commit = Some(number);
                let (packages, devices) = (packages_of_groups(&changes), joining(&changes));
                let known = self.plan.known_results.iter();
                let results = earlier.iter().copied().chain(known).filter(|result| {
                    packages.contains(&result.package) || devices.contains(&result.device)
                });
                let results: Vec<&ResultImport> = results.collect();
                self.use_mandates(&results).await?;
            }
            Box::pin(changed.complete(self.progress)).await?;
            leaves.extend(changed_leaves);
            self.remember_again(&changes).await?;
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

    async fn changes(&mut self, signer: &Signer) -> Result<Vec<StateChange>, Failure> {
        self.leave_out_unverified(signer).await?;
        let mut changes = Vec::new();
        for group in &self.plan.groups {
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
        for assignment in &self.plan.assignments {
            // A package without a record is left out, with its assignments.
            let Some(package) = self.packages.get(&assignment.package) else {
                continue;
            };
            let to = match &assignment.to {
                ImportedOwner::Group(group) => EntryOwner::Group(group.clone()),
                ImportedOwner::Device(device) if self.excluded.contains(device) => continue,
                ImportedOwner::Device(device) => EntryOwner::Device(device.clone()),
            };
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

    /// Leaves out the packages here whose manifest nobody has signed: a record alone is no reason to
    /// sign an assignment.
    async fn leave_out_unverified(&mut self, signer: &Signer) -> Result<(), Failure> {
        let assigned = self.plan.assignments.iter().map(|it| it.package);
        let assigned: BTreeSet<PackageId> = assigned.collect();
        for id in assigned.difference(&self.fresh.clone()) {
            let Some(package) = self.packages.get(id) else {
                continue;
            };
            let name = format!("{}@{}", package.name, package.version);
            let accept = AlsoAccept::default();
            match accept.verify(self.target, package, signer).await {
                Ok(()) => {}
                Err(failure) if failure.is_unreachable() => return Err(failure),
                Err(failure) => self.leave_out_package(*id, &name, &failure),
            }
        }
        Ok(())
    }

    /// Activates the packages that are active on the OCS server.
    async fn activate(&mut self) -> Result<(), Failure> {
        let activated = self.plan.packages.iter().filter(|it| it.activates);
        let inactive = activated.filter_map(|package| self.packages.get(&package.id));
        let inactive = inactive.filter(|record| !record.active);
        let target = self.target;
        let activated: Vec<(String, Result<_, Failure>)> = stream::iter(inactive)
            .map(|record| async move {
                let name = format!("{}@{}", record.name, record.version);
                (name, activate_package(target, record, &[]).await)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        for (name, activated) in activated {
            match activated {
                Ok(_) => self.imported.activated.push(name),
                Err(failure) => {
                    let left_out = LeftOut::failed(LeftOutKind::Activation, &name, &failure);
                    self.imported.left_out.push(left_out);
                }
            }
        }
        Ok(())
    }
}

/// Returns the progress of one of several packages, whose work has begun already.
fn advancing(whole: &Progress) -> Progress {
    let whole = whole.clone();
    Progress::new(move |step| {
        if let Step::Advance(units) = step {
            whole.advance(units);
        }
    })
}
