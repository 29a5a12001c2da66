//! The rhythm of each device: hourly, daily, or when a lid is open.

use packcast_protocol::UnixTime;

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// Rhythms of all devices. Each follows from the seed and the number of the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythms {
    seed: u64,
    lids: bool,
}

/// Rhythm of a device.
#[derive(Clone, Copy, Debug)]
enum Rhythm {
    /// The device checks in so many seconds after each hour or day.
    Every { period_s: u64, phase_s: u64 },
    /// The device is open on most working days, so many seconds of the day from this second on. It
    /// checks in hourly.
    Lid { opens_s: u64, open_s: u64 },
}

impl Rhythms {
    pub(crate) const fn new(seed: u64, lids: bool) -> Self {
        Self { seed, lids }
    }

    /// Returns the next check-in of a device after a time.
    pub(crate) fn next_check_in(self, device: u32, now: UnixTime) -> UnixTime {
        match self.of(device) {
            Rhythm::Every { period_s, phase_s } => {
                let passed = (now.0 + period_s - phase_s) % period_s;
                now.plus(period_s - passed)
            }
            Rhythm::Lid { .. } => {
                let next = self.open_from(device, now.plus(HOUR_S));
                // A device that opens checks in within a few minutes.
                let is_later = next > now.plus(HOUR_S);
                next.plus(if is_later {
                    mix(self.seed, device, 7) % 300
                } else {
                    0
                })
            }
        }
    }

    /// Returns the time, or the next time at which the lid of the device is open.
    pub(crate) fn open_from(self, device: u32, time: UnixTime) -> UnixTime {
        let Rhythm::Lid { opens_s, open_s } = self.of(device) else {
            return time;
        };
        let mut day = time.0 / DAY_S;
        loop {
            let opens = day * DAY_S + opens_s;
            if time.0 < opens + open_s && self.is_present(device, day) {
                return UnixTime(opens.max(time.0));
            }
            day += 1;
        }
    }

    /// Returns true if a device is open on a day: on 9 of 10 working days, except a free week now and
    /// then.
    fn is_present(self, device: u32, day: u64) -> bool {
        // 1970 began on a Thursday.
        let is_weekend = (day + 3) % 7 >= 5;
        let in_free_week = mix(self.seed, device, 1_000 + day / 7).is_multiple_of(20);
        let is_absent = mix(self.seed, device, 2_000 + day).is_multiple_of(10);
        !is_weekend && !in_free_week && !is_absent
    }

    fn of(self, device: u32) -> Rhythm {
        let kind = mix(self.seed, device, 1) % 100;
        let phase = mix(self.seed, device, 2);
        if self.lids && kind < 40 {
            Rhythm::Lid {
                opens_s: 6 * HOUR_S + phase % (5 * HOUR_S),
                open_s: 4 * HOUR_S + mix(self.seed, device, 3) % (5 * HOUR_S),
            }
        } else {
            let period_s = if kind < 90 { HOUR_S } else { DAY_S };
            let phase_s = phase % period_s;
            Rhythm::Every { period_s, phase_s }
        }
    }
}

/// Returns a number that looks random, by the generator `splitmix64`.
fn mix(seed: u64, device: u32, salt: u64) -> u64 {
    let mut z = seed
        .wrapping_add(u64::from(device).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
