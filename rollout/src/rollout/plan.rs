//! The plan of a rollout: its waves with their devices and times, and the bounds of both brakes.

use packcast_protocol::state::document::{MAX_WAVES, RolloutGroups, SLOTS, Waves, WavesError};
use packcast_protocol::state::{
    RolloutDocument, RolloutSeed, Slot, Wave, WaveNumber, document::WaveDevices,
};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest, UnixTime};

use super::defaults::WaveShares;
use super::limits::GateLimits;
use super::weekdays::Weekdays;

const DAY_S: u64 = 24 * 3600;

/// Maximum number of seeds that are drawn until no wave is empty.
const MAX_DRAWS: u32 = 1_000;

/// Request for the plan of a rollout.
#[derive(Clone, Debug)]
pub struct PlanRequest<'a> {
    pub package: PackageId,
    /// SHA-256 of the package's manifest.
    pub manifest: Sha256Digest,
    pub groups: RolloutGroups,
    /// Groups whose devices come before all others, a wave for each group.
    pub rings: &'a [GroupName],
    pub members: &'a [PlannedDevice],
    pub shares: WaveShares,
    pub limits: GateLimits,
    pub times: OpeningTimes,
}

/// Member of a rollout's groups.
#[derive(Clone, Debug)]
pub struct PlannedDevice {
    pub device: DeviceId,
    /// The first of the rings that the device is in, from 0. `None` if it is in no ring.
    pub ring: Option<usize>,
}

/// Rule for the opening times of waves.
#[derive(Clone, Copy, Debug)]
pub struct OpeningTimes {
    /// Time from which the first wave is open, if it is on one of the days.
    pub start: UnixTime,
    pub days: Weekdays,
    /// Offset of the publisher's local time from UTC, in seconds.
    pub offset_s: i32,
    /// Only the first wave gets a time: a person promotes the others.
    pub only_first: bool,
}

/// Plan of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPlan {
    pub document: RolloutDocument,
    /// The waves of the document.
    pub waves: Vec<PlannedWave>,
    /// Waves that were requested, and cannot have a device.
    pub left_out: Vec<WaveDevices>,
    pub limits: GateLimits,
}

/// Wave of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWave {
    pub number: WaveNumber,
    pub devices: WaveDevices,
    /// Number of the devices that are members now.
    pub members: u32,
    /// Number of devices in this wave and in the waves before it. Before the next wave's time, the
    /// owner of the cloud account can reach at most this number of devices.
    pub reached: u32,
    /// Time from which the wave is open, by the calendar.
    pub from: Option<UnixTime>,
    /// Maximum number of devices of the wave that have begun and are not healthy, at any time.
    pub at_once: u32,
    /// Maximum number of its devices that are not healthy when the next wave opens without a
    /// person.
    pub left_behind: u32,
}

/// Plans a rollout. `draw` returns a new random seed.
///
/// Seeds are drawn until no wave is empty, at most a thousand times. Waves without a device are left
/// out, except the last, which includes devices that join later.
pub fn plan(
    request: &PlanRequest<'_>,
    mut draw: impl FnMut() -> RolloutSeed,
) -> Result<RolloutPlan, WavesError> {
    let of_rings = ring_members(request);
    let in_no_ring = request
        .members
        .iter()
        .filter(|member| member.ring.is_none());
    let slotted = u32::try_from(in_no_ring.count()).unwrap_or(u32::MAX);
    let (bounds, mut left_out) = useful_bounds(&request.shares, slotted);
    let one_first = request.shares == WaveShares::OneThenAll && bounds.len() > 1;
    let mut seed = draw();
    let mut of_bounds = slot_members(request, seed, &bounds);
    for _ in 1..MAX_DRAWS {
        let is_filled = of_bounds.iter().all(|members| *members > 0) || slotted == 0;
        if is_filled && (!one_first || of_bounds[0] == 1) {
            break;
        }
        seed = draw();
        of_bounds = slot_members(request, seed, &bounds);
    }
    let rings = request.rings.iter().zip(of_rings).map(|(ring, members)| {
        let ring = RolloutGroups::new([ring.clone()].into()).expect("one group is allowed");
        (WaveDevices::Groups(ring), members)
    });
    let bounds = bounds.iter().map(|bound| WaveDevices::UpTo(*bound));
    let mut kept = Vec::new();
    for (devices, members) in rings.chain(bounds.zip(of_bounds)) {
        if members > 0 || devices == WaveDevices::UpTo(SLOTS) {
            kept.push((devices, members));
        } else {
            left_out.push(devices);
        }
    }
    let times = request.times.openings(&request.limits);
    let scheduled: Vec<_> = kept.into_iter().zip(times).collect();
    let waves = scheduled.iter().map(|((devices, _), from)| Wave {
        devices: devices.clone(),
        from: *from,
    });
    let waves = Waves::new(waves.collect())?;
    let mut reached = 0;
    let mut planned = Vec::new();
    for ((number, wave), ((_, members), _)) in waves.numbered().zip(scheduled) {
        reached += members;
        planned.push(PlannedWave {
            number,
            devices: wave.devices.clone(),
            members,
            reached,
            from: wave.from,
            at_once: request.limits.places(members).min(members),
            left_behind: request.limits.left_behind(members).min(members),
        });
    }
    let groups = request.groups.clone();
    Ok(RolloutPlan {
        document: RolloutDocument::new(request.package, request.manifest, groups, seed, waves),
        waves: planned,
        left_out,
        limits: request.limits,
    })
}

impl RolloutPlan {
    /// Returns the maximum number of machines on which a bad package begins: a package that fails
    /// on every machine, or after which no machine reports within `settle`. `rounds` is the number
    /// of resumes and promotions.
    pub fn reaches(&self, rounds: u32) -> u32 {
        let halt_at = self.limits.values().halt_at;
        halt_at.saturating_mul(rounds.saturating_add(1))
    }
}

impl OpeningTimes {
    /// Returns the opening times of waves, from the first one on.
    fn openings(self, limits: &GateLimits) -> impl Iterator<Item = Option<UnixTime>> {
        let wait_s = u64::from(limits.values().wait_s);
        // A wait of a day or more keeps the hour of the start.
        let wait_s = if wait_s < DAY_S {
            wait_s
        } else {
            wait_s.next_multiple_of(DAY_S)
        };
        let first = self.days.on_or_after(self.start, self.offset_s);
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let opening = next;
            next = opening.filter(|_| !self.only_first);
            next = next.map(|from| self.days.on_or_after(from.plus(wait_s), self.offset_s));
            Some(opening)
        })
        .take(MAX_WAVES + 1)
    }
}

/// Returns the number of members of each ring, apart from those of the rings before it.
fn ring_members(request: &PlanRequest<'_>) -> Vec<u32> {
    let mut counts = vec![0; request.rings.len()];
    for member in request.members {
        if let Some(count) = member.ring.and_then(|ring| counts.get_mut(ring)) {
            *count += 1;
        }
    }
    counts
}

/// Returns the bounds of waves that can have a device, and the waves that cannot.
fn useful_bounds(shares: &WaveShares, devices: u32) -> (Vec<u16>, Vec<WaveDevices>) {
    let bounds = match shares {
        WaveShares::OneThenAll if devices < 2 => vec![SLOTS],
        WaveShares::OneThenAll => {
            let one = u32::from(SLOTS).div_ceil(devices);
            vec![u16::try_from(one.max(1)).unwrap_or(SLOTS), SLOTS]
        }
        WaveShares::UpTo(bounds) => bounds.clone(),
    };
    let expected = |bound: u16| u64::from(devices) * u64::from(bound.min(SLOTS)) / u64::from(SLOTS);
    let (mut kept, mut left_out, mut before) = (Vec::new(), Vec::new(), 0);
    for bound in bounds {
        if expected(bound) <= before && bound != SLOTS {
            left_out.push(WaveDevices::UpTo(bound));
        } else {
            before = expected(bound);
            kept.push(bound);
        }
    }
    (kept, left_out)
}

/// Returns the number of devices in the wave of each bound, by a seed.
fn slot_members(request: &PlanRequest<'_>, seed: RolloutSeed, bounds: &[u16]) -> Vec<u32> {
    let mut counts = vec![0; bounds.len()];
    for member in request
        .members
        .iter()
        .filter(|member| member.ring.is_none())
    {
        let slot = Slot::of(seed, &member.device).get();
        let wave = bounds.iter().position(|bound| slot < *bound);
        if let Some(count) = wave.and_then(|wave| counts.get_mut(wave)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests;
