//! Starting a rollout: its plan, and the commit with its calendar.

mod request;
mod warnings;

use std::collections::BTreeSet;

use packcast_protocol::state::document::{RolloutGroups, WaveDevices};
use packcast_protocol::state::{RolloutId, Terms, WaveNumber};
use packcast_protocol::{GroupName, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    CheckInRhythm, Gate, GateLimits, LimitValues, OpeningTimes, PlanRequest, PlannedWave,
    RolloutPlan, default_shares, plan, wave_duration_s,
};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use serde::Serialize;

pub use self::request::{LimitChoices, RolloutDraw, StartRequest};
use self::request::{first_opening, seeds};
use self::warnings::{outside, without_devices, without_wave};
use super::live::{is_live, live_of};
use super::members::RolloutMembers;
use crate::assignees::{AssigneeNames, Assignees};
use crate::audience::warn_of_groups;
use crate::clock::now;
use crate::downgrade::LaterPackages;
use crate::failure::Failure;
use crate::package::{
    deleted_package, find_kept, named, published, refuse, refuse_expired, warn_of_expiry,
};
use crate::preview::{Preview, named_groups};
use crate::progress::Progress;
use crate::signing::Signer;
use crate::status::GroupSize;
use crate::target::Target;
use crate::warning::Warning;

const HOUR_S: u32 = 3_600;

/// The hint of a warning of a downgrade. The command has too many options to be written again.
const DOWNGRADE_HINT: &str = "add --allow-downgrade to the same command to allow the downgrade";

/// A rollout before it starts.
#[derive(Debug, Serialize)]
pub struct PlannedRollout {
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub groups: Vec<GroupName>,
    /// The number of devices in the groups.
    pub devices: u32,
    pub waves: Vec<WaveBounds>,
    pub limits: LimitValues,
    /// Most machines on which a package begins that fails on every machine.
    pub reaches: u32,
    pub without_rollout: WithoutRollout,
}

/// A wave of a planned rollout, with the bounds of both brakes.
#[derive(Debug, Serialize)]
pub struct WaveBounds {
    pub wave: WaveNumber,
    /// The groups whose devices are in the wave; empty if the slots of devices decide.
    pub groups: Vec<GroupName>,
    /// The wave has the remaining devices with a slot below this number, of 10,000. `None` if groups
    /// decide.
    pub up_to: Option<u16>,
    /// The number of devices that are members now.
    pub devices: u32,
    /// The number of devices of this wave and of those before it.
    pub reached: u32,
    /// Time from which the wave is open, by the calendar; `None` if the wave stays closed until a
    /// promotion.
    pub opens: Option<UnixTime>,
    /// Maximum number of devices that have begun and are not healthy, at any time.
    pub at_once: u32,
    /// Maximum number of devices that are not healthy when the next wave opens by itself.
    pub left_behind: u32,
    /// Estimated time from the opening until the last device is healthy, in seconds, if each is an OCS
    /// agent. `None` if the target has no OCS agents.
    pub ocs_duration_s: Option<u64>,
}

/// Devices that have the package without the rollout, which does not count them.
#[derive(Debug, Default, Serialize)]
pub struct WithoutRollout {
    /// The other groups that the package is assigned to.
    pub groups: Vec<GroupSize>,
    /// The number of devices that were assigned the package before.
    pub devices: u64,
}

/// The result of the start of a rollout.
#[derive(Debug, Serialize)]
pub struct RolloutStarted {
    pub rollout: RolloutId,
    /// Number of the commit with the calendar.
    pub commit: Option<u64>,
    #[serde(flatten)]
    pub planned: PlannedRollout,
    /// The check-in function announces the package only while it is active.
    #[serde(skip)]
    pub is_active: bool,
}

/// A start that is decided. Nothing is changed yet.
#[derive(Debug)]
pub struct StartPlan<'a> {
    target: &'a Target,
    request: &'a StartRequest,
    package: PackageRecord,
    manifest: Sha256Digest,
    groups: Vec<GroupName>,
    rollout: RolloutId,
    terms: Terms,
    plan: RolloutPlan,
    planned: PlannedRollout,
    preview: Preview,
    warnings: Vec<Warning>,
}

/// Plans a rollout: reads the members of the groups once. Nothing is changed yet, and no key is read.
pub async fn plan_start<'a>(
    target: &'a Target,
    request: &'a StartRequest,
) -> Result<StartPlan<'a>, Failure> {
    let start = first_opening(request.from, now())?;
    let package = find_kept(target, &request.package).await?;
    refuse_expired(&package, now())?;
    warn_of_expiry(target, std::slice::from_ref(&package));
    let name = named(&package);
    let manifest = published(&package)?.manifest;
    let groups = found_groups(target, &request.groups).await?;
    let rings = found_groups(target, &request.pilots).await?;
    if live_of(target, package.id).await?.is_some() {
        return Err(refuse(&package, is_live(&name)));
    }
    let draw = request.drawn(target).await?;
    let members = RolloutMembers::read(target, groups.iter().chain(&rings)).await?;
    let named_set: BTreeSet<GroupName> = groups.iter().cloned().collect();
    let devices = members.planned(&named_set, &rings);
    let number = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let limits = request.limits.of(number);
    let limits = GateLimits::try_from(limits).map_err(Failure::usage)?;
    let shares = request.waves.clone();
    let plan = plan(
        &PlanRequest {
            package: package.id,
            manifest,
            groups: RolloutGroups::new(named_set).map_err(Failure::usage)?,
            rings: &rings,
            members: &devices,
            shares: shares.unwrap_or_else(|| default_shares(number)),
            limits,
            times: OpeningTimes {
                start,
                days: request.days,
                offset_s: request.offset_s,
                only_first: request.by_hand,
            },
        },
        seeds(draw.seed),
    );
    let plan = plan.map_err(Failure::usage)?;
    let rhythm = ocs_rhythm(target).await?;
    let planned = PlannedRollout {
        package: package.id,
        name: name.clone(),
        groups: groups.clone(),
        devices: number,
        waves: plan
            .waves
            .iter()
            .map(|wave| WaveBounds::of(wave, &limits, rhythm))
            .collect(),
        limits: *limits.values(),
        reaches: plan.reaches(0),
        without_rollout: WithoutRollout::read(target, package.id, &groups).await?,
    };
    let effect = format!("Starts a rollout of {name} to {}", named_groups(&groups));
    let preview = Preview::new(effect).with_packages([name]);
    let mut preview = preview.with_groups(target, &groups).await?;
    (preview.devices, preview.at_most) = (number.into(), false);
    let mut start = StartPlan {
        terms: request.terms(draw.rollout)?,
        target,
        request,
        package,
        manifest,
        groups,
        rollout: draw.rollout,
        plan,
        planned,
        preview,
        warnings: Vec::new(),
    };
    start.warnings = start.find_warnings(&members, &rings).await?;
    Ok(start)
}

impl StartPlan<'_> {
    /// Returns the effect of the start.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the waves and the bounds of the rollout.
    pub const fn planned(&self) -> &PlannedRollout {
        &self.planned
    }

    /// Returns warnings about the rollout.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns the changes of the signed state.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let mut changes = vec![StateChange::SetRollout {
            rollout: self.rollout,
            document: self.plan.document.clone(),
        }];
        changes.extend(self.groups.iter().map(|group| StateChange::Assign {
            to: EntryOwner::Group(group.clone()),
            assignment: NewAssignment {
                package: self.package.id,
                manifest: self.manifest,
                force: false,
                terms: self.terms.clone(),
            },
        }));
        changes
    }

    /// Returns the warnings about the devices of the rollout.
    async fn find_warnings(
        &self,
        members: &RolloutMembers,
        rings: &[GroupName],
    ) -> Result<Vec<Warning>, Failure> {
        let (target, groups) = (self.target, &self.groups);
        let mut warnings = warn_of_groups(&self.package, groups);
        if !self.request.allow_downgrade {
            let later = LaterPackages::find(target, &self.package).await?;
            let warning = later.warn_of_groups(target, &self.package, groups, DOWNGRADE_HINT);
            warnings.extend(warning.await?);
        }
        let is_empty = |group: &&GroupName| members.size(group) == 0;
        let empty: Vec<&GroupName> = groups.iter().filter(is_empty).collect();
        warnings.extend(without_devices(&empty, self.planned.devices));
        warnings.extend(self.plan.left_out.iter().filter_map(without_wave));
        let of_rollout: BTreeSet<GroupName> = groups.iter().cloned().collect();
        for ring in rings {
            warnings.extend(outside(ring, members.outside(ring, &of_rollout)));
        }
        Ok(warnings)
    }

    /// Starts the rollout. The gate is on record before the commit, because devices with the entry
    /// ask it.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<RolloutStarted, Failure> {
        let (target, package) = (self.target, &self.package);
        signer.unlock()?;
        let accepted = self.request.also_accept.verify(target, package, &signer);
        accepted.await?;
        let (rollout, changes) = (self.rollout, self.state_changes());
        let table = target.records.table().to_owned();
        let gate = Gate::new(rollout, table, self.plan.limits, now());
        if target
            .records
            .create_gate(package.id, &gate)
            .await?
            .is_none()
        {
            return Err(deleted_package(package.id, &self.planned.name));
        }
        let command = format!(
            "packcast rollout start {} {}",
            self.planned.name,
            AssigneeNames::Groups(self.groups)
        );
        let done = signer.change(target, &changes, &command, progress).await?;
        Ok(RolloutStarted {
            rollout,
            commit: done.committed.number(),
            planned: self.planned,
            is_active: package.active,
        })
    }
}

impl WaveBounds {
    fn of(planned: &PlannedWave, limits: &GateLimits, ocs: Option<CheckInRhythm>) -> Self {
        let (groups, up_to) = match &planned.devices {
            WaveDevices::Groups(groups) => (groups.as_set().iter().cloned().collect(), None),
            WaveDevices::UpTo(bound) => (Vec::new(), Some(*bound)),
        };
        let duration = |rhythm| wave_duration_s(planned.members, limits, planned.number, rhythm);
        Self {
            wave: planned.number,
            groups,
            up_to,
            devices: planned.members,
            reached: planned.reached,
            opens: planned.from,
            at_once: planned.at_once,
            left_behind: planned.left_behind,
            ocs_duration_s: ocs.map(duration),
        }
    }
}

impl WithoutRollout {
    /// Reads who has a package before its rollout to some groups starts.
    async fn read(
        target: &Target,
        package: PackageId,
        groups: &[GroupName],
    ) -> Result<Self, Failure> {
        let mut without = Self {
            devices: target.records.tally(package).await?.assigned,
            ..Self::default()
        };
        for group in target.records.groups_with(package).await? {
            if !groups.contains(&group) {
                let devices = target.records.size(&group).await?;
                without.groups.push(GroupSize { group, devices });
            }
        }
        Ok(without)
    }
}

/// Finds groups by their names, each once.
async fn found_groups(target: &Target, names: &[GroupName]) -> Result<Vec<GroupName>, Failure> {
    match AssigneeNames::Groups(names.to_vec()).find(target).await? {
        Assignees::Groups(groups) => Ok(groups),
        Assignees::Devices(_) => Ok(Vec::new()),
    }
}

/// Returns the rhythm of OCS agents; `None` if the target has none.
async fn ocs_rhythm(target: &Target) -> Result<Option<CheckInRhythm>, Failure> {
    let every_h = u32::from(target.pace.contact_every_h.get());
    let rhythm = CheckInRhythm {
        every_s: every_h * HOUR_S,
        returns: false,
    };
    let has_ocs = target.records.has_ocs_devices().await?;
    Ok(has_ocs.then_some(rhythm))
}
