//! Reverts a target to the state of an earlier commit.
//!
//! A revert is a change as any other: one new commit on the head, or several if it assigns many
//! packages. A restored assignment is a new one, so devices that have the package already do not
//! deploy it again, unless the revert forces them to.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{CommitId, GroupDocument, RolloutId};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{
    EntryOwner, NewAssignment, Reverted, StateChange, StateDifference, difference,
    revert as reverting_changes,
};
use packcast_store::Records;
use packcast_store::records::HeadChange;
use serde::Serialize;

pub use packcast_rollout::state::RevertOptions;

use crate::diff::{CommitRef, LinesWithIds, applied, find};
use crate::failure::Failure;
use crate::package::named;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::state::{ComparedStates, RecordedNames, StateError, TargetState, Trees};
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// A revert before its first commit. It serializes as the differences that it makes.
#[derive(Debug, Serialize)]
pub struct RevertPlan {
    /// The commit whose state is restored.
    pub to: CommitId,
    /// The head that the revert changes.
    pub head: CommitId,
    pub changes: Vec<StateDifference>,
    /// The changes in words.
    pub lines: Vec<String>,
    /// Parts of the earlier state that the revert leaves out.
    pub warnings: Vec<Warning>,
    /// The changes of each commit.
    #[serde(skip)]
    steps: Vec<Vec<StateChange>>,
    #[serde(skip)]
    options: RevertOptions,
    #[serde(skip)]
    names: RecordedNames,
}

/// The result of a revert.
#[derive(Debug, Serialize)]
pub struct RevertedTo {
    /// The commit whose state was restored.
    pub to: CommitId,
    /// Numbers of the new commits; empty if the target had the state already.
    pub commits: Vec<u64>,
    /// The changes in words.
    pub lines: Vec<String>,
}

/// Computes a revert to the commit with this number. Nothing is changed yet.
pub async fn plan(
    target: &Target,
    number: u64,
    options: RevertOptions,
) -> Result<RevertPlan, Failure> {
    let trust = target.trust()?;
    let records = &target.records;
    let earlier = find(records, &trust, CommitRef::Number(number)).await?;
    let head = find(records, &trust, CommitRef::Head).await?;
    let mut current_trees = Trees::of(Some(&head.commit));
    let mut earlier_trees = Trees::of(Some(&earlier.commit));
    let trees = (&mut current_trees, &mut earlier_trees);
    let mut states = load(records, trees, options).await?;
    let Reverted {
        changes,
        left_out,
        ended_rollouts,
    } = reverting_changes(&states.before, &states.after, options).map_err(StateError::from)?;
    let recreated = recreated(&states, &left_out);
    let (changes, mut warnings) = without_lost(records, changes).await?;
    if !options.members {
        warnings.extend(recreated.into_iter().map(|group| without_devices(&group)));
    }
    warnings.extend(ended_rollouts.into_iter().map(ended_since));
    let changes = withdrawals_first(changes);
    let documents = applied(records, &mut current_trees, &mut states.before, &changes);
    let documents = documents.await?;
    let differences = difference(&states.before, &documents).map_err(StateError::from)?;
    let names = RecordedNames::read(records, &differences).await?;
    Ok(RevertPlan {
        to: earlier.id,
        head: head.id,
        lines: differences.iter().map(|it| it.line(&names)).collect(),
        changes: differences,
        warnings,
        steps: steps(changes, HeadChange::MAX_PACKAGES),
        options,
        names,
    })
}

/// Loads the documents that differ. To restore devices of deleted groups, all devices are loaded.
async fn load(
    records: &Records,
    (current, earlier): (&mut Trees, &mut Trees),
    options: RevertOptions,
) -> Result<ComparedStates, StateError> {
    let changes = current.difference(records, earlier).await?;
    let mut names: BTreeSet<_> = changes.into_iter().map(|change| change.name).collect();
    if options.members {
        earlier.load_all(records, |it| &mut it.devices).await?;
        let leaves = earlier.devices.tree().leaves();
        names.extend(leaves.map(|(name, _)| name.clone()));
    }
    ComparedStates::of(records, current, earlier, names).await
}

/// Returns the groups of the earlier state that were deleted since.
fn recreated(
    states: &ComparedStates,
    left_out: &BTreeMap<GroupName, BTreeSet<DeviceId>>,
) -> BTreeSet<GroupName> {
    let deleted = states.after.groups().filter_map(|(group, document)| {
        let earlier = document?;
        let is_present =
            |name: &GroupName, now: &GroupDocument| now.origin(name) == earlier.origin(group);
        let mut present = states.before.groups();
        let is_same = present.any(|(name, now)| now.is_some_and(|now| is_present(name, now)));
        (!is_same && !group.is_all()).then(|| group.clone())
    });
    deleted.chain(left_out.keys().cloned()).collect()
}

/// Leaves out packages that were deleted since, and devices without a record.
async fn without_lost(
    records: &Records,
    changes: Vec<StateChange>,
) -> Result<(Vec<StateChange>, Vec<Warning>), Failure> {
    let (mut packages, mut devices) = (BTreeSet::new(), BTreeSet::new());
    for change in &changes {
        match change {
            StateChange::Assign { to, assignment } => {
                packages.insert(assignment.package);
                if let EntryOwner::Device(device) = to {
                    devices.insert(device.clone());
                }
            }
            StateChange::Join { devices: some, .. } => devices.extend(some.iter().cloned()),
            _ => {}
        }
    }
    let ids: Vec<PackageId> = packages.iter().copied().collect();
    let kept = records.packages_of(&ids).await?;
    let deleted = kept.iter().filter(|package| package.is_deleted());
    let names: BTreeMap<PackageId, String> = deleted.map(|it| (it.id, named(it))).collect();
    let kept: BTreeSet<PackageId> = kept
        .iter()
        .filter(|package| !package.is_deleted())
        .map(|package| package.id)
        .collect();
    let asked: Vec<DeviceId> = devices.iter().cloned().collect();
    let known = records.memberships(&asked).await?;
    let known: BTreeSet<DeviceId> = known.into_iter().map(|(device, _)| device).collect();
    let mut warnings: Vec<Warning> = packages
        .difference(&kept)
        .map(|package| deleted_since(*package, names.get(package)))
        .collect();
    let unknown = devices.difference(&known).count();
    if unknown > 0 {
        warnings.push(without_record(unknown as u64));
    }
    let remaining = changes.into_iter().filter_map(|change| match change {
        StateChange::Assign { to, assignment } => {
            let is_known = !matches!(&to, EntryOwner::Device(device) if !known.contains(device));
            (is_known && kept.contains(&assignment.package))
                .then_some(StateChange::Assign { to, assignment })
        }
        StateChange::Join { group, mut devices } => {
            devices.retain(|device| known.contains(device));
            (!devices.is_empty()).then_some(StateChange::Join { group, devices })
        }
        other => Some(other),
    });
    Ok((remaining.collect(), warnings))
}

fn deleted_since(package: PackageId, name: Option<&String>) -> Warning {
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    Warning::new(format!(
        "package {package}{name} was deleted: the revert does not assign it again"
    ))
}

fn without_record(devices: u64) -> Warning {
    Warning::new(format!(
        "the revert leaves out {} without a record, for example because somebody removed them",
        count(devices, "device")
    ))
}

fn without_devices(group: &GroupName) -> Warning {
    Warning::new(format!(
        "group {group} was deleted since: the revert does not add its earlier devices"
    ))
    .hint("pass --members to add the earlier devices again")
}

fn ended_since(rollout: RolloutId) -> Warning {
    Warning::new(format!(
        "rollout {rollout} was ended or finished since: the revert does not begin it again, and leaves its package as it is"
    ))
    .hint("to deploy the package in waves, start a new rollout")
}

/// Sorts the changes so that withdrawals come first: they are in the first commit.
///
/// Before them, rollouts that have begun since end, and groups get their earlier names: the
/// withdrawals use these names.
fn withdrawals_first(mut changes: Vec<StateChange>) -> Vec<StateChange> {
    let is_rename = |change: &StateChange| matches!(change, StateChange::RenameGroup { .. });
    let named = changes
        .iter()
        .rposition(is_rename)
        .map_or(0, |last| last + 1);
    let then = changes.split_off(named);
    let is_withdrawal = |change: &StateChange| {
        matches!(
            change,
            StateChange::Unassign { .. }
                | StateChange::EndRollout { .. }
                | StateChange::Leave { .. }
                | StateChange::DeleteGroup { .. }
        )
    };
    let (first, then): (Vec<_>, Vec<_>) = then.into_iter().partition(is_withdrawal);
    changes.into_iter().chain(first).chain(then).collect()
}

/// Divides changes into commits, each of which assigns at most `most` packages.
fn steps(changes: Vec<StateChange>, most: usize) -> Vec<Vec<StateChange>> {
    let mut steps: Vec<Vec<StateChange>> = Vec::new();
    let mut packages = BTreeSet::new();
    for change in changes {
        let package = match &change {
            StateChange::Assign { assignment, .. } => Some(assignment.package),
            _ => None,
        };
        let is_full = package.is_some_and(|it| packages.len() >= most && !packages.contains(&it));
        if is_full || steps.is_empty() {
            packages.clear();
            steps.push(Vec::new());
        }
        packages.extend(package);
        if let Some(step) = steps.last_mut() {
            step.push(change);
        }
    }
    steps
}

impl RevertPlan {
    /// Returns the changes in words, with the id of each package and device that a line names.
    pub fn lines_with_ids(&self) -> LinesWithIds {
        LinesWithIds::of(&self.changes, &self.names)
    }

    /// Returns true if the target has the earlier state already.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the number of commits that the revert takes.
    pub fn commits(&self) -> usize {
        self.steps.len()
    }

    /// Verifies the manifest of each package that the revert assigns.
    ///
    /// # Errors
    /// No signed manifest confirms the record of a package, or the package has another manifest
    /// than in the earlier state.
    pub async fn verify(
        &self,
        target: &Target,
        also_accept: &AlsoAccept,
        signer: &mut Signer,
    ) -> Result<(), Failure> {
        let mut assigned: BTreeMap<PackageId, Vec<&NewAssignment>> = BTreeMap::new();
        for change in self.steps.iter().flatten() {
            if let StateChange::Assign { assignment, .. } = change {
                assigned
                    .entry(assignment.package)
                    .or_default()
                    .push(assignment);
            }
        }
        if assigned.is_empty() {
            return Ok(());
        }
        signer.unlock()?;
        let ids: Vec<PackageId> = assigned.keys().copied().collect();
        for package in target.records.packages_of(&ids).await? {
            for assignment in &assigned[&package.id] {
                same_manifest(&package, assignment)?;
            }
            also_accept.verify(target, &package, signer).await?;
        }
        Ok(())
    }

    /// Returns the command for the document about a commit.
    fn command(&self, step: usize) -> String {
        let mut command = format!("packcast revert {}", self.to.number);
        if self.options.force {
            command.push_str(" --force");
        }
        if self.options.members {
            command.push_str(" --members");
        }
        if self.steps.len() > 1 {
            command = format!("{command} ({} of {})", step + 1, self.steps.len());
        }
        command
    }
}

fn same_manifest(package: &PackageRecord, assignment: &NewAssignment) -> Result<(), Failure> {
    let published = package.published().map(|published| published.manifest);
    if published == Some(assignment.manifest) {
        return Ok(());
    }
    let (id, name) = (package.id, named(package));
    Err(Failure::conflict(format!(
        "package {id} {name} has another manifest than in the earlier state"
    ))
    .hint(format!("run 'packcast verify {id}' to see all problems")))
}

/// Makes the changes of a plan, each step in one commit with its records.
///
/// # Errors
/// The head is another one than the plan was computed from.
pub async fn revert(
    target: &Target,
    plan: RevertPlan,
    signer: &mut Signer,
    progress: &Progress,
) -> Result<RevertedTo, Failure> {
    let trust = target.trust()?;
    let state = TargetState::read(&target.records, &trust).await?;
    if state.head.map(|head| head.commit.id()) != Some(plan.head) {
        return Err(changed_since(plan.to.number));
    }
    let mut commits = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        let command = plan.command(index);
        let done = signer.change(target, step, &command, progress).await?;
        commits.extend(done.committed.number());
    }
    Ok(RevertedTo {
        to: plan.to,
        commits,
        lines: plan.lines,
    })
}

fn changed_since(number: u64) -> Failure {
    Failure::conflict("somebody has changed the target since the difference was computed").hint(
        format!("run 'packcast revert {number}' again to see the present difference"),
    )
}

#[cfg(test)]
mod tests;
