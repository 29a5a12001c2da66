//! The estimated duration of a wave.

use std::collections::VecDeque;

use packcast_protocol::state::WaveNumber;

use super::limits::GateLimits;

/// Steps of the estimate between two check-ins of a device, in which the devices take turns.
const SHIFTS: u32 = 60;

/// Maximum duration that the estimate returns, in check-ins of a device.
const MAX_CHECK_INS: u64 = 10_000;

/// Rhythm of the devices of a wave. All check in, and each succeeds at once.
#[derive(Clone, Copy, Debug)]
pub struct CheckInRhythm {
    /// Time between two check-ins of a device, in seconds.
    pub every_s: u32,
    /// A device checks in when its time to settle is over, as the function asks Packcast agents. If
    /// false, it checks in at its rhythm only, as OCS agents do.
    pub returns: bool,
}

/// Estimates the time from the opening of a wave to the health of its last device, in seconds.
pub fn wave_duration_s(
    devices: u32,
    limits: &GateLimits,
    wave: WaveNumber,
    rhythm: CheckInRhythm,
) -> u64 {
    let every_s = u64::from(rhythm.every_s).max(SHIFTS.into());
    let step_s = every_s / u64::from(SHIFTS);
    // On average, half of the rhythm passes until the check-in after the time to settle.
    let turn_s = limits.settle_s(wave) + if rhythm.returns { 0 } else { every_s / 2 };
    let turn = usize::try_from(turn_s.div_ceil(step_s))
        .unwrap_or(usize::MAX)
        .max(1);
    let mut settling = VecDeque::from(vec![0_u32; turn.min(1 << 20)]);
    // The devices that check in at the same step, evenly spread over the rhythm.
    let mut waiting: Vec<u32> = (0..SHIFTS)
        .map(|shift| (devices + shift) / SHIFTS)
        .collect();
    let (mut begun, mut healthy) = (0_u32, 0_u32);
    for step in 1..=u64::from(SHIFTS) * MAX_CHECK_INS {
        healthy += settling.pop_front().unwrap_or(0);
        if healthy == devices {
            return step * step_s;
        }
        waiting.rotate_left(1);
        let free = limits.places(healthy).saturating_sub(begun - healthy);
        let begins = free.min(waiting[0]);
        waiting[0] -= begins;
        begun += begins;
        settling.push_back(begins);
    }
    u64::from(SHIFTS) * MAX_CHECK_INS * step_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::defaults::default_limits;

    const HOURLY: CheckInRhythm = CheckInRhythm {
        every_s: 3_600,
        returns: true,
    };

    fn hours(devices: u32, of: u32, wave: u8, rhythm: CheckInRhythm) -> u64 {
        let limits = default_limits(of).try_into().unwrap();
        let wave = wave.try_into().unwrap();
        wave_duration_s(devices, &limits, wave, rhythm).div_ceil(3_600)
    }

    #[test]
    fn waves_take_hours_at_an_hourly_rhythm() {
        let of_ten_thousand = [(1, 100), (2, 900), (3, 4_000), (4, 5_000)];
        let hourly = of_ten_thousand.map(|(wave, devices)| hours(devices, 10_000, wave, HOURLY));
        assert_eq!(hourly, [13, 5, 8, 9]);
        let daily = CheckInRhythm {
            every_s: 24 * 3_600,
            returns: false,
        };
        let daily = of_ten_thousand.map(|(wave, devices)| hours(devices, 10_000, wave, daily));
        assert_eq!(daily, [90, 125, 199, 236]);
    }

    #[test]
    fn an_estimate_ends() {
        assert_eq!(hours(0, 0, 1, HOURLY), 1);
        let never = CheckInRhythm {
            every_s: u32::MAX,
            returns: false,
        };
        assert!(hours(1_000_000, 1_000_000, 2, never) > 0);
        let often = CheckInRhythm {
            every_s: 0,
            returns: true,
        };
        assert_eq!(hours(1, 1, 1, often), 3);
    }
}
