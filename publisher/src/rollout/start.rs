//! Starting a rollout: its plan, and the commit with its calendar.

use std::collections::BTreeSet;

use packcast_protocol::state::document::{RolloutGroups, WaveDevices};
use packcast_protocol::state::{RolloutId, RolloutSeed, Terms, WaveNumber};
use packcast_protocol::{GroupName, PackageId, PackageRef, Sha256Digest, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    CheckInRhythm, Gate, GateLimits, LimitValues, OpeningTimes, PlanRequest, PlannedWave,
    RolloutPlan, WaveShares, Weekdays, default_limits, default_shares, plan, wave_duration_s,
};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use serde::Serialize;

use super::live::{is_live, live_of};
use super::members::RolloutMembers;
use crate::assignees::{AssigneeNames, Assignees};
use crate::audience::warn_of_groups;
use crate::clock::now;
use crate::downgrade::LaterPackages;
use crate::failure::Failure;
use crate::package::{
    deleted_package, find_kept, named, published, refuse_expired, warn_of_expiry,
};
use crate::preview::{Preview, named_groups};
use crate::progress::Progress;
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::status::GroupSize;
use crate::target::Target;
use crate::text::{count, time};
use crate::warning::Warning;

const HOUR_S: u32 = 3_600;

/// The time for which a plan may be confirmed, in seconds. Its first opening may have passed since.
const PLAN_VALID_S: u64 = 3_600;

/// The hint of a warning of a downgrade. The command has too many options to be written again.
const DOWNGRADE_HINT: &str = "add --allow-downgrade to the same command to allow the downgrade";

/// The parameters of [`plan_start`].
#[derive(Clone, Debug)]
pub struct StartRequest {
    pub package: PackageRef,
    pub groups: Vec<GroupName>,
    /// Groups whose devices come before all others, a wave for each group.
    pub pilots: Vec<GroupName>,
    /// `None` for the default waves for the number of devices.
    pub waves: Option<WaveShares>,
    pub limits: LimitChoices,
    /// Days on which waves open.
    pub days: Weekdays,
    /// Only the first wave opens by itself.
    pub by_hand: bool,
    /// Time from which the first wave may open; `None` for the time of the plan. The other waves open
    /// at the same hour.
    pub from: Option<UnixTime>,
    /// Random bits that decide on the wave of each device; `None` to draw them. With the same bits and
    /// the same time, an interface that plans twice gets the same waves.
    pub seed: Option<[u8; 16]>,
    /// Offset of the publisher's local time from UTC, in seconds.
    pub offset_s: i32,
    /// Devices deploy the package although they have a later package of the same name.
    pub allow_downgrade: bool,
    /// Additional keys that may have signed the package.
    pub also_accept: AlsoAccept,
}

/// Limits that replace the default ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitChoices {
    pub halt_at: Option<u32>,
    /// In percent.
    pub tolerate: Option<u8>,
    pub at_once: Option<u32>,
    /// Time to settle in seconds, also in the first wave.
    pub settle_s: Option<u32>,
    pub wait_s: Option<u32>,
}

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
        return Err(is_live(&name));
    }
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
            groups: RolloutGroups::new(named_set.clone()).map_err(Failure::usage)?,
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
        seeds(request.seed.map_or_else(random, Ok)?),
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
    let mut warnings = warn_of_groups(&package, &groups);
    if !request.allow_downgrade {
        let later = LaterPackages::find(target, &package).await?;
        let warning = later.warn_of_groups(target, &package, &groups, DOWNGRADE_HINT);
        warnings.extend(warning.await?);
    }
    let is_empty = |group: &&GroupName| members.size(group) == 0;
    let empty: Vec<&GroupName> = groups.iter().filter(is_empty).collect();
    warnings.extend(without_devices(&empty, number));
    warnings.extend(plan.left_out.iter().filter_map(without_wave));
    for ring in &rings {
        warnings.extend(outside(ring, members.outside(ring, &named_set)));
    }
    let effect = format!("Starts a rollout of {name} to {}", named_groups(&groups));
    let preview = Preview::new(effect).with_packages([name]);
    let mut preview = preview.with_groups(target, &groups).await?;
    (preview.devices, preview.at_most) = (number.into(), false);
    Ok(StartPlan {
        target,
        request,
        package,
        manifest,
        groups,
        rollout: RolloutId::from_bytes(random()?),
        plan,
        planned,
        preview,
        warnings,
    })
}

/// Returns the time from which the first wave may open.
fn first_opening(from: Option<UnixTime>, now: UnixTime) -> Result<UnixTime, Failure> {
    match from {
        Some(from) if from.plus(PLAN_VALID_S) < now => Err(Failure::usage(format!(
            "cannot start the rollout at {}: the time has passed",
            time(from)
        ))
        .hint("choose a time that is still to come, or none to start at once")),
        from => Ok(from.unwrap_or(now)),
    }
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
    pub fn changes(&self) -> Result<Vec<StateChange>, Failure> {
        let terms = if self.request.allow_downgrade {
            Terms::allowing_downgrade()
        } else {
            Terms::default()
        };
        let terms = terms.with_rollout(self.rollout).map_err(Failure::failed)?;
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
                terms: terms.clone(),
            },
        }));
        Ok(changes)
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
        let (rollout, changes) = (self.rollout, self.changes()?);
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

impl LimitChoices {
    /// Returns the limits of a rollout to so many devices.
    fn of(self, devices: u32) -> LimitValues {
        let default = default_limits(devices);
        let halt_at = self.halt_at.unwrap_or(default.halt_at);
        // A higher limit of failures needs as many places.
        let at_once = default.at_once.max(halt_at).min(LimitValues::MAX_AT_ONCE);
        LimitValues {
            halt_at,
            tolerate: self.tolerate.unwrap_or(default.tolerate),
            at_once: self.at_once.unwrap_or(at_once),
            settle_s: self.settle_s.unwrap_or(default.settle_s),
            first_settle_s: self.settle_s.unwrap_or(default.first_settle_s),
            wait_s: self.wait_s.unwrap_or(default.wait_s),
        }
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

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failure::failed)?;
    Ok(bytes)
}

/// Returns the seeds that follow from random bytes, each a digest of the one before it.
fn seeds(first: [u8; 16]) -> impl FnMut() -> RolloutSeed {
    let mut seed = first;
    move || {
        let digest = Sha256Digest::of(&seed);
        seed.copy_from_slice(&digest.as_bytes()[..16]);
        RolloutSeed::from_bytes(seed)
    }
}

/// Warns of groups without devices. `devices` is the number of devices in all groups of the rollout.
fn without_devices(groups: &[&GroupName], devices: u32) -> Option<Warning> {
    let (text, see) = match groups {
        [] => return None,
        [group] if group.is_all() => (
            "the target has no devices: only devices that check in later get the package"
                .to_owned(),
            "run 'packcast device list' to see the devices",
        ),
        groups => {
            let groups: Vec<GroupName> = groups.iter().map(|group| (*group).clone()).collect();
            let have = if groups.len() == 1 { "has" } else { "have" };
            let only = if devices == 0 {
                ": only devices that join later get the package"
            } else {
                ""
            };
            let named = named_groups(&groups);
            (
                format!("{named} {have} no devices{only}"),
                "run 'packcast group list' to see the groups with their devices",
            )
        }
    };
    Some(Warning::new(text).hint(see))
}

/// Warns of a pilot group that gets no wave.
fn without_wave(left_out: &WaveDevices) -> Option<Warning> {
    let WaveDevices::Groups(groups) = left_out else {
        return None;
    };
    let groups: Vec<GroupName> = groups.as_set().iter().cloned().collect();
    Some(Warning::new(format!(
        "pilot {} gets no wave: no device of the rollout's groups is in it, or each is in an earlier pilot group",
        named_groups(&groups)
    )))
}

fn outside(ring: &GroupName, devices: usize) -> Option<Warning> {
    (devices > 0).then(|| {
        Warning::new(format!(
            "pilot group {ring} has {} outside the rollout's groups, which the rollout leaves out",
            count(devices as u64, "device")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_limits_replace_the_default_ones() {
        let choices = LimitChoices {
            halt_at: Some(50),
            settle_s: Some(60),
            ..LimitChoices::default()
        };
        let limits = choices.of(200);
        assert_eq!([limits.halt_at, limits.at_once], [50, 50]);
        assert_eq!([limits.settle_s, limits.first_settle_s], [60, 60]);
        assert_eq!([limits.wait_s, limits.tolerate.into()], [24 * HOUR_S, 5]);
        assert_eq!(LimitChoices::default().of(200), default_limits(200));
    }

    #[test]
    fn a_rollout_starts_now_or_later() {
        let now = UnixTime(1_795_000_000);
        let tomorrow = now.plus(86_400);
        let opens = |from| first_opening(from, now).unwrap();
        assert_eq!(opens(None), now);
        assert_eq!(opens(Some(tomorrow)), tomorrow);
        let planned = UnixTime(now.0 - 60);
        assert_eq!(opens(Some(planned)), planned);
        let passed = first_opening(Some(UnixTime(now.0 - 86_400)), now).unwrap_err();
        insta::assert_snapshot!(crate::rendered::failures([passed]), @"
        Usage: cannot start the rollout at 2026-11-17 11:06:40 UTC: the time has passed
        hint: choose a time that is still to come, or none to start at once
        ");
    }

    #[test]
    fn each_seed_is_another_one() {
        let mut draw = seeds([7; 16]);
        let drawn: BTreeSet<RolloutSeed> = (0..100).map(|_| draw()).collect();
        assert_eq!(drawn.len(), 100);
        let mut again = seeds([7; 16]);
        assert!(drawn.contains(&again()));
    }

    #[test]
    fn groups_without_devices_are_named() {
        let [lab, desk] = ["lab", "desk"].map(|name| name.parse().unwrap());
        let ring = RolloutGroups::new([desk].into()).unwrap();
        let [all, desk] = [GroupName::all(), "desk".parse().unwrap()];
        assert_eq!(without_devices(&[], 3), None);
        assert_eq!(without_wave(&WaveDevices::UpTo(100)), None);
        let warnings = [
            without_devices(&[&all], 0),
            without_devices(&[&lab], 0),
            without_devices(&[&lab, &desk], 3),
            without_wave(&WaveDevices::Groups(ring)),
        ];
        let warnings = warnings.map(|warning| warning.unwrap().to_string());
        insta::assert_snapshot!(warnings.join("\n"), @"
        warning: the target has no devices: only devices that check in later get the package
        hint: run 'packcast device list' to see the devices
        warning: group lab has no devices: only devices that join later get the package
        hint: run 'packcast group list' to see the groups with their devices
        warning: groups lab, desk have no devices
        hint: run 'packcast group list' to see the groups with their devices
        warning: pilot group desk gets no wave: no device of the rollout's groups is in it, or each is in an earlier pilot group
        ");
    }

    #[test]
    fn devices_outside_are_counted() {
        let ring = "pilot".parse().unwrap();
        assert_eq!(outside(&ring, 0), None);
        let warnings = [1, 3].map(|devices| outside(&ring, devices).unwrap().to_string());
        insta::assert_snapshot!(warnings.join("\n"), @"
        warning: pilot group pilot has 1 device outside the rollout's groups, which the rollout leaves out
        warning: pilot group pilot has 3 devices outside the rollout's groups, which the rollout leaves out
        ");
    }
}
