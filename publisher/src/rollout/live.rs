//! The live rollouts of a target: those that its signed state has.

use std::collections::BTreeMap;

use packcast_protocol::state::{RolloutDocument, RolloutId, WaveNumber};
use packcast_protocol::{GroupName, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{Gate, GateStatus, status};
use serde::Serialize;

use super::members::RolloutMembers;
use crate::clock::now;
use crate::failure::Failure;
use crate::package::{find, named, refuse};
use crate::state::{current_rollouts, current_rollouts_within};
use crate::target::Target;
use crate::warning::Warning;

/// A live rollout in a list.
#[derive(Debug, Serialize)]
pub struct RolloutSummary {
    pub rollout: RolloutId,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub groups: Vec<GroupName>,
    /// The number of devices that are in the groups now, each once.
    pub devices: u64,
    /// The status in a word, for scripts.
    pub status: &'static str,
    /// The latest open wave; `None` if the table has no gate of the rollout.
    pub wave: Option<WaveNumber>,
    /// The number of waves.
    pub waves: usize,
    /// Devices that have begun, in all rounds.
    pub begun: u32,
    /// Devices that have settled after a success, in all rounds.
    pub healthy: u32,
    /// Failures in all rounds.
    pub failed: u32,
    /// `None` if the table has no gate of the rollout.
    #[serde(skip)]
    pub gate_status: Option<GateStatus>,
    /// The number of devices was not read: the rollout may be complete.
    #[serde(skip)]
    pub may_be_complete: bool,
}

/// A live rollout with its package.
#[derive(Debug)]
pub(super) struct LiveRollout {
    pub(super) id: RolloutId,
    pub(super) package: PackageRecord,
    pub(super) document: RolloutDocument,
}

/// Returns the live rollouts, the newest package last.
pub async fn list(target: &Target) -> Result<Vec<RolloutSummary>, Failure> {
    summaries(target, true).await
}

/// Returns the live rollouts like [`list`], without the numbers of their devices, which are 0.
///
/// The sizes of groups are most of the cost of [`list`]. Without them, no rollout is known to be
/// complete: see [`RolloutSummary::may_be_complete`].
pub async fn list_without_sizes(target: &Target) -> Result<Vec<RolloutSummary>, Failure> {
    summaries(target, false).await
}

async fn summaries(target: &Target, with_sizes: bool) -> Result<Vec<RolloutSummary>, Failure> {
    let state = current_rollouts(target).await?;
    let live = state.rollouts();
    let live: BTreeMap<RolloutId, &RolloutDocument> = live
        .filter_map(|(id, document)| Some((id, document?)))
        .collect();
    let ids: Vec<RolloutId> = live.keys().copied().collect();
    let gates = target.records.gates(&ids).await?;
    let packages: Vec<PackageId> = live.values().map(|document| document.package).collect();
    let packages = target.records.packages_of(&packages).await?;
    let mut summaries = Vec::with_capacity(live.len());
    for (id, document) in live {
        let package = packages.iter().find(|it| it.id == document.package);
        let name = package.map_or_else(|| document.package.to_string(), named);
        let devices = if with_sizes {
            Some(devices_of(target, document).await?)
        } else {
            None
        };
        summaries.push(RolloutSummary::new(
            target,
            (id, document),
            name,
            devices,
            gates.get(&id),
        ));
    }
    summaries.sort_by_key(|summary| summary.package);
    Ok(summaries)
}

/// Returns the number of devices of a rollout, each once. The members are read only if a device may
/// be in several of the groups.
async fn devices_of(target: &Target, document: &RolloutDocument) -> Result<u64, Failure> {
    let groups = document.groups.as_set();
    let all = groups.iter().find(|group| group.is_all());
    let only = groups.first().filter(|_| groups.len() == 1);
    if let Some(group) = all.or(only) {
        return Ok(target.records.size(group).await?);
    }
    let members = RolloutMembers::of(target, document).await?;
    Ok(members.by_wave(document).into_values().map(u64::from).sum())
}

impl RolloutSummary {
    /// `devices` is `None` if their number was not read.
    pub(super) fn new(
        target: &Target,
        (rollout, document): (RolloutId, &RolloutDocument),
        name: String,
        devices: Option<u64>,
        gate: Option<&Gate>,
    ) -> Self {
        let table = target.records.table();
        let status_for = |gate, members| status(gate, table, &document.waves, members, now());
        let members = |devices| u32::try_from(devices).unwrap_or(u32::MAX);
        let mut gate_status = gate.map(|gate| status_for(gate, devices.map_or(0, members)));
        let may_be_complete = devices.is_none()
            && gate.is_some_and(|gate| status_for(gate, gate.all_healthy) == GateStatus::Complete);
        // For no device at all, a rollout is complete when its last wave has gone well, although most
        // devices may not have begun.
        if devices.is_none() && gate_status == Some(GateStatus::Complete) {
            gate_status = Some(GateStatus::Running);
        }
        Self {
            rollout,
            package: document.package,
            name,
            groups: document.groups.as_set().iter().cloned().collect(),
            devices: devices.unwrap_or(0),
            status: gate_status.as_ref().map_or("no-gate", word),
            wave: gate.map(|gate| gate.wave),
            waves: document.waves.as_slice().len(),
            begun: gate.map_or(0, |gate| gate.all_begun),
            healthy: gate.map_or(0, |gate| gate.all_healthy),
            failed: gate.map_or(0, |gate| gate.all_failed),
            gate_status,
            may_be_complete,
        }
    }
}

/// Returns the word for a status.
const fn word(status: &GateStatus) -> &'static str {
    match status {
        GateStatus::Running | GateStatus::Working { .. } => "running",
        GateStatus::Opens { .. } => "opens",
        GateStatus::NoTime { .. } => "closed",
        GateStatus::NothingBegun { .. } => "nothing-begun",
        GateStatus::Unhealthy { .. } => "unhealthy",
        GateStatus::Full { .. } => "full",
        GateStatus::NotBegun { .. } => "not-begun",
        GateStatus::Halted { .. } => "halted",
        GateStatus::Paused => "paused",
        GateStatus::Restored => "restored",
        GateStatus::Ended => "ended",
        GateStatus::Complete => "complete",
    }
}

/// Finds the live rollout of a package.
pub(super) async fn find_live(
    target: &Target,
    reference: &PackageRef,
) -> Result<LiveRollout, Failure> {
    let package = find(target, reference).await?;
    match live_of(target, package.id).await? {
        Some((id, document)) => Ok(LiveRollout {
            id,
            package,
            document,
        }),
        None => Err(refuse(&package, no_rollout(&named(&package)))),
    }
}

/// Returns the live rollout of a package; `None` if the package has none.
pub(super) async fn live_of(
    target: &Target,
    package: PackageId,
) -> Result<Option<(RolloutId, RolloutDocument)>, Failure> {
    let state = current_rollouts(target).await?;
    let mut live = state.rollouts();
    Ok(live.find_map(|(id, document)| {
        let document = document.filter(|document| document.package == package)?;
        Some((id, document.clone()))
    }))
}

/// Returns true if a package has a live rollout. `None` if the target has so many groups and rollouts
/// that the answer needs more than `most_reads` pages and documents.
pub async fn is_rolled_out(
    target: &Target,
    package: PackageId,
    most_reads: usize,
) -> Result<Option<bool>, Failure> {
    let state = current_rollouts_within(target, most_reads).await?;
    Ok(state.map(|state| {
        let mut live = state.rollouts().filter_map(|(_, document)| document);
        live.any(|document| document.package == package)
    }))
}

/// Warns of an assignment of a package that has a live rollout, because assignees that are in no wave
/// get the package at once.
pub(crate) async fn warn_of_live(
    target: &Target,
    package: &PackageRecord,
) -> Result<Option<Warning>, Failure> {
    let is_live = has_live(target, package.id).await?;
    Ok(is_live.then(|| outside_waves(&named(package))))
}

/// Returns true if a group has a package by a rollout, by the records.
pub async fn has_live(target: &Target, package: PackageId) -> Result<bool, Failure> {
    let records = &target.records;
    let groups = records.groups_with(package).await?;
    let states = records.group_states(&groups).await?;
    let mut assignments = states.iter().filter_map(|state| state.assignment(package));
    Ok(assignments.any(|assignment| assignment.rollout.is_some()))
}

fn no_rollout(name: &str) -> Failure {
    Failure::conflict(format!("package {name} has no live rollout"))
        .hint("run 'packcast rollout list' to see the live rollouts")
}

/// Returns the error for a second rollout of a package.
pub(super) fn is_live(name: &str) -> Failure {
    Failure::conflict(format!("package {name} has a live rollout")).hint(format!(
        "run 'packcast rollout end {name}' or 'packcast rollout finish {name}' before another rollout of the package"
    ))
}

fn outside_waves(name: &str) -> Warning {
    Warning::new(format!(
        "package {name} has a live rollout: the devices of this assignment get the package at once, outside its waves, and the rollout does not count them"
    ))
    .hint(format!(
        "run 'packcast rollout show {name}' to see the rollout"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_live_rollouts_have_next_steps() {
        insta::assert_snapshot!(failures([no_rollout("tool@1"), is_live("tool@1")]), @"
        Conflict: package tool@1 has no live rollout
        hint: run 'packcast rollout list' to see the live rollouts
        Conflict: package tool@1 has a live rollout
        hint: run 'packcast rollout end tool@1' or 'packcast rollout finish tool@1' before another rollout of the package
        ");
        insta::assert_snapshot!(outside_waves("tool@1"), @"
        warning: package tool@1 has a live rollout: the devices of this assignment get the package at once, outside its waves, and the rollout does not count them
        hint: run 'packcast rollout show tool@1' to see the rollout
        ");
    }

    #[test]
    fn each_status_has_a_word() {
        let wave = WaveNumber::FIRST;
        let (failed, silent) = (1, 2);
        let words = [
            GateStatus::Running,
            GateStatus::Working { unhealthy: 3 },
            GateStatus::Opens { wave, at: now() },
            GateStatus::NoTime { wave },
            GateStatus::NothingBegun { wave },
            GateStatus::Unhealthy { failed, silent },
            GateStatus::Full { failed, silent },
            GateStatus::NotBegun { devices: 2 },
            GateStatus::Halted { failed },
            GateStatus::Paused,
            GateStatus::Restored,
            GateStatus::Ended,
            GateStatus::Complete,
        ];
        let words = words.iter().map(word).collect::<Vec<_>>().join(" ");
        insta::assert_snapshot!(words, @"running running opens closed nothing-begun unhealthy full not-begun halted paused restored ended complete");
    }
}
