//! One live rollout with its waves and failures.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::document::WaveDevices;
use packcast_protocol::state::{LeafName, WaveNumber};
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef, ResultCode, UnixTime};
use packcast_rollout::rollout::{Gate, GateStatus, LimitValues, Place};
use packcast_store::records::{DeploymentState, DeviceState};
use serde::Serialize;

use super::live::{LiveRollout, RolloutSummary, find_live};
use super::members::RolloutMembers;
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::device_name::host_names;
use crate::failure::Failure;
use crate::package::named;
use crate::state::current_part;
use crate::status::{ExampleDevice, last_line};
use crate::target::Target;

/// Maximum number of devices that are named because the rollout waits for them.
const MOST_NAMED: usize = 5;

/// Most devices whose records are read to name those that the rollout waits for. The read ends as
/// soon as enough of them are found.
const MOST_READ: usize = 5_000;

/// Time for which a reader names the same devices if the gate does not change, in seconds.
const NAMED_FOR_S: u64 = 60;

/// A live rollout with its waves and failures.
#[derive(Debug, Serialize)]
pub struct RolloutDetails {
    #[serde(flatten)]
    pub summary: RolloutSummary,
    /// The waves in their order.
    pub calendar: Vec<RolloutWave>,
    /// The counters of the round; `None` if the table has no gate of the rollout.
    pub round: Option<RolloutRound>,
    /// The first failures of the round.
    pub first_failures: Vec<RolloutFailure>,
    /// Some devices that have begun, and are neither healthy nor have failed, if the rollout waits for
    /// them.
    pub silent: Vec<SilentDevice>,
}

/// A device that a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilentDevice {
    #[serde(flatten)]
    pub device: ExampleDevice,
    pub waits_for: Awaited,
}

/// The news that a rollout needs of a device with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    /// The device has begun, and has not reported.
    Report,
    /// The device has succeeded, and settles: it has to check in.
    CheckIn,
    /// The device has succeeded, and has to check in after a restart that the result asked for.
    Restart,
}

/// The counters of a rollout's round.
#[derive(Debug, Serialize)]
pub struct RolloutRound {
    /// Number of the round, from 1. Each wave and each resume after a halt begins a round.
    pub round: u32,
    /// Time of the latest opening or resume.
    pub opened: UnixTime,
    /// Places that devices can take now.
    pub free: u32,
    pub begun: u32,
    pub healthy: u32,
    pub failed: u32,
    pub limits: LimitValues,
}

/// A wave of a live rollout.
#[derive(Debug, Serialize)]
pub struct RolloutWave {
    pub wave: WaveNumber,
    /// The groups whose devices are in the wave; empty if the slots of devices decide.
    pub groups: Vec<GroupName>,
    /// The wave has the remaining devices with a slot below this number, of 10,000. `None` if groups
    /// decide.
    pub up_to: Option<u16>,
    /// The number of devices.
    pub devices: u32,
    /// Time from which the wave is open, by the calendar; `None` if it stays closed until a promotion.
    pub opens: Option<UnixTime>,
    /// The gate has opened the wave.
    pub is_open: bool,
    /// The devices by the state of the package on them; `None` if the states were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<WaveStates>,
}

/// The devices of a wave by the state of the package on them. Changes of the last seconds may be
/// missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WaveStates {
    /// Devices that were told of the package, and have not reported.
    pub announced: u32,
    pub succeeded: u32,
    pub failed: u32,
    /// All other devices of the wave.
    pub waiting: u32,
}

/// A failure of a rollout.
#[derive(Debug, Serialize)]
pub struct RolloutFailure {
    pub device: DeviceId,
    /// Empty if the device has no record, or reports none.
    pub host_name: String,
    pub code: ResultCode,
    /// The last line of the output, or else the reason that the agent gives.
    pub line: Option<String>,
    /// The end of the output.
    pub output_tail: Option<String>,
}

/// Reads a live rollout again and again. The members of its groups are read once.
#[derive(Debug)]
pub struct RolloutReader<'a> {
    target: &'a Target,
    live: LiveRollout,
    members: BTreeMap<WaveNumber, u32>,
    /// The wave of each device; empty if the states of devices are not read.
    waves: BTreeMap<DeviceId, WaveNumber>,
    named: Option<Named>,
    /// Neither members nor silent devices are read.
    is_brief: bool,
    /// The last read has found the rollout.
    is_live: bool,
}

/// The silent devices that were named, so that watching does not read many devices again and again.
#[derive(Debug)]
struct Named {
    gate: Gate,
    at: UnixTime,
    silent: Vec<SilentDevice>,
}

impl<'a> RolloutReader<'a> {
    /// Finds the live rollout of a package, and reads the members of its groups.
    pub async fn open(target: &'a Target, package: &PackageRef) -> Result<Self, Failure> {
        let live = find_live(target, package).await?;
        let members = RolloutMembers::of(target, &live.document).await?;
        let members = members.by_wave(&live.document);
        Ok(Self {
            target,
            live,
            members,
            waves: BTreeMap::new(),
            named: None,
            is_brief: false,
            is_live: true,
        })
    }

    /// Finds the live rollout of a package like [`RolloutReader::open`]. Each read counts the devices of
    /// each wave by their states, which costs a read unit for about 60 of them.
    pub async fn open_with_states(
        target: &'a Target,
        package: &PackageRef,
    ) -> Result<Self, Failure> {
        let live = find_live(target, package).await?;
        let members = RolloutMembers::of(target, &live.document).await?;
        Ok(Self {
            target,
            members: members.by_wave(&live.document),
            waves: members.waves(&live.document),
            live,
            named: None,
            is_brief: false,
            is_live: true,
        })
    }

    /// Finds the live rollout of a package, without its devices: their numbers are 0, and no silent
    /// device is named. So the cost does not depend on the number of devices.
    pub async fn open_brief(target: &'a Target, package: &PackageRef) -> Result<Self, Failure> {
        Ok(Self {
            target,
            live: find_live(target, package).await?,
            members: BTreeMap::new(),
            waves: BTreeMap::new(),
            named: None,
            is_brief: true,
            is_live: true,
        })
    }

    /// Reads the rollout. After its end, its calendar is shown as it was.
    pub async fn read(&mut self) -> Result<RolloutDetails, Failure> {
        let id = self.live.id;
        let state = current_part(self.target, [LeafName::Rollout(id)].into()).await?;
        self.is_live = !matches!(state.rollout(id), Ok(None));
        if let Ok(Some(document)) = state.rollout(id) {
            self.live.document = document.clone();
        }
        let gate = self.target.records.gate(id).await?;
        let document = &self.live.document;
        let devices: u32 = self.members.values().sum();
        let summary = RolloutSummary::new(
            self.target,
            (id, document),
            named(&self.live.package),
            (!self.is_brief).then(|| devices.into()),
            gate.as_ref(),
        );
        let mut states = self.wave_states().await?;
        let waves = document.waves.numbered().map(|(number, wave)| {
            let (groups, up_to) = match &wave.devices {
                WaveDevices::Groups(groups) => (groups.as_set().iter().cloned().collect(), None),
                WaveDevices::UpTo(bound) => (Vec::new(), Some(*bound)),
            };
            RolloutWave {
                wave: number,
                groups,
                up_to,
                devices: self.members.get(&number).copied().unwrap_or(0),
                opens: wave.from,
                is_open: gate.as_ref().is_some_and(|gate| number <= gate.wave),
                states: states.remove(&number),
            }
        });
        let waves = waves.collect();
        let waits = matches!(
            summary.gate_status,
            Some(GateStatus::Full { silent: 1.., .. } | GateStatus::Unhealthy { silent: 1.., .. })
        );
        let silent = match &gate {
            Some(gate) if waits && !self.is_brief => self.named(gate).await?,
            _ => Vec::new(),
        };
        Ok(RolloutDetails {
            calendar: waves,
            first_failures: match &gate {
                Some(gate) => self.failures(gate).await?,
                None => Vec::new(),
            },
            silent,
            round: gate.as_ref().map(RolloutRound::of),
            summary,
        })
    }

    /// Returns the devices of each wave by their states; nothing if the states are not read.
    async fn wave_states(&self) -> Result<BTreeMap<WaveNumber, WaveStates>, Failure> {
        let mut states: BTreeMap<WaveNumber, WaveStates> = BTreeMap::new();
        if self.waves.is_empty() {
            return Ok(states);
        }
        for (wave, devices) in &self.members {
            states.entry(*wave).or_default().waiting = *devices;
        }
        let (records, package) = (&self.target.records, self.live.package.id);
        for state in [
            DeploymentState::Announced,
            DeploymentState::Succeeded,
            DeploymentState::Failed,
        ] {
            for device in records.devices_in(package, state).await? {
                if let Some(states) = self.waves.get(&device).and_then(|it| states.get_mut(it)) {
                    states.count(state);
                }
            }
        }
        Ok(states)
    }

    /// Returns false if the rollout had ended at the last read.
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// Returns the failures that the gate names.
    async fn failures(&self, gate: &Gate) -> Result<Vec<RolloutFailure>, Failure> {
        let (records, package) = (&self.target.records, self.live.package.id);
        let devices: Vec<DeviceId> = gate.evidence.iter().map(|it| it.device.clone()).collect();
        let mut names = host_names(self.target, &devices).await?;
        let mut failures = Vec::new();
        for failure in &gate.evidence {
            let result = records.finished(&failure.device, package).await?;
            // A later attempt of the device may have another result.
            let result = result.filter(|result| result.code == failure.code);
            failures.push(RolloutFailure {
                device: failure.device.clone(),
                host_name: names.remove(&failure.device).unwrap_or_default(),
                code: failure.code.clone(),
                line: result.as_ref().and_then(last_line).map(str::to_owned),
                output_tail: result.and_then(|result| result.output_tail),
            });
        }
        Ok(failures)
    }

    /// Returns some silent devices. They are read again if the gate has changed, or after a while.
    async fn named(&mut self, gate: &Gate) -> Result<Vec<SilentDevice>, Failure> {
        let now = now();
        if let Some(named) = &self.named
            && named.gate == *gate
            && now.since(named.at) < NAMED_FOR_S
        {
            return Ok(named.silent.clone());
        }
        let silent = self.silent(gate).await?;
        self.named = Some(Named {
            gate: gate.clone(),
            at: now,
            silent: silent.clone(),
        });
        Ok(silent)
    }

    /// Returns some devices that have taken a place in this round, and are neither healthy nor have
    /// failed.
    ///
    /// The devices that have not reported come first, because they are the likeliest ones to be dead.
    /// Devices without a place are skipped before [`MOST_NAMED`] applies, because most devices in the
    /// same state may have no place.
    async fn silent(&self, gate: &Gate) -> Result<Vec<SilentDevice>, Failure> {
        let (records, package) = (&self.target.records, self.live.package.id);
        let mut candidates = Vec::new();
        for state in [DeploymentState::Announced, DeploymentState::Succeeded] {
            candidates.extend(records.devices_in(package, state).await?);
        }
        let awaited = stream::iter(candidates.into_iter().take(MOST_READ))
            .map(|device| async move {
                let state = records.device_state(&device).await?;
                Ok::<_, Failure>((device, awaited(&state, package, gate)))
            })
            .buffered(AT_ONCE)
            .try_filter_map(|(device, awaited)| async move { Ok(awaited.map(|it| (device, it))) })
            .take(MOST_NAMED);
        let silent: Vec<(DeviceId, Awaited)> = awaited.try_collect().await?;
        let devices: Vec<DeviceId> = silent.iter().map(|(device, _)| device.clone()).collect();
        let mut names = host_names(self.target, &devices).await?;
        let silent = silent.into_iter().map(|(device, waits_for)| SilentDevice {
            device: ExampleDevice {
                host_name: names.remove(&device).unwrap_or_default(),
                device,
            },
            waits_for,
        });
        Ok(silent.collect())
    }
}

/// Returns the news that a rollout needs of a device. `None` if the device has no place in this round,
/// or if its place is not that of a silent device.
fn awaited(state: &DeviceState, package: PackageId, gate: &Gate) -> Option<Awaited> {
    let is_of_round = |place: &Place| place.rollout == gate.rollout && place.round == gate.round;
    let mut settling = state.settling.iter();
    if let Some(settling) = settling.find(|it| it.package == package && is_of_round(&it.place)) {
        return Some(match settling.ran_in {
            Some(_) => Awaited::Restart,
            None => Awaited::CheckIn,
        });
    }
    let mut tasks = state.tasks.iter().filter(|task| task.package == package);
    let has_place = tasks.any(|task| task.place.as_ref().is_some_and(is_of_round));
    has_place.then_some(Awaited::Report)
}

impl WaveStates {
    /// Counts a device that no longer waits.
    fn count(&mut self, state: DeploymentState) {
        match state {
            DeploymentState::Announced => self.announced += 1,
            DeploymentState::Succeeded => self.succeeded += 1,
            DeploymentState::Failed => self.failed += 1,
            _ => return,
        }
        self.waiting = self.waiting.saturating_sub(1);
    }
}

impl RolloutRound {
    fn of(gate: &Gate) -> Self {
        Self {
            round: gate.round,
            opened: gate.since,
            free: gate.free,
            begun: gate.begun,
            healthy: gate.healthy,
            failed: gate.failed,
            limits: *gate.limits.values(),
        }
    }
}
