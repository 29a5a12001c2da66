//! Defaults of a rollout, by the number of its devices.

use super::limits::LimitValues;

const DAY_S: u32 = 24 * 3600;

/// Devices of the waves, apart from those of named groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaveShares {
    /// One device, then all others.
    OneThenAll,
    /// Bounds for the slots of devices, in hundredths of a percent: each wave has the devices up to
    /// its bound that are in no earlier wave. The last bound is 10,000.
    UpTo(Vec<u16>),
}

/// Returns the default waves for this number of devices.
pub fn default_shares(devices: u32) -> WaveShares {
    let bounds: &[u16] = match devices {
        0..30 => return WaveShares::OneThenAll,
        30..1_000 => &[1_000, 10_000],
        1_000..50_000 => &[100, 1_000, 5_000, 10_000],
        50_000.. => &[10, 100, 1_000, 5_000, 10_000],
    };
    WaveShares::UpTo(bounds.to_vec())
}

/// Returns the default limits for this number of devices.
pub fn default_limits(devices: u32) -> LimitValues {
    let halt_at = match devices {
        0..30 => 1,
        30..100 => 2,
        100.. => 3,
    };
    let at_once = halt_at + devices / 20;
    LimitValues {
        halt_at,
        tolerate: 5,
        at_once: at_once.min(LimitValues::MAX_AT_ONCE),
        settle_s: 30 * 60,
        first_settle_s: 2 * 3600,
        wait_s: DAY_S,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::GateLimits;

    #[test]
    fn defaults_grow_with_the_number_of_devices() {
        let line = |devices: u32| {
            let values = default_limits(devices);
            GateLimits::try_from(values).unwrap();
            let shares = default_shares(devices);
            let LimitValues {
                halt_at, at_once, ..
            } = values;
            format!("{devices}: halt at {halt_at}, at once {at_once}, {shares:?}")
        };
        let lines = [0, 29, 30, 99, 100, 999, 1_000, 49_999, 50_000, 1_000_000].map(line);
        insta::assert_snapshot!(lines.join("\n"), @"
        0: halt at 1, at once 1, OneThenAll
        29: halt at 1, at once 2, OneThenAll
        30: halt at 2, at once 3, UpTo([1000, 10000])
        99: halt at 2, at once 6, UpTo([1000, 10000])
        100: halt at 3, at once 8, UpTo([1000, 10000])
        999: halt at 3, at once 52, UpTo([1000, 10000])
        1000: halt at 3, at once 53, UpTo([100, 1000, 5000, 10000])
        49999: halt at 3, at once 2502, UpTo([100, 1000, 5000, 10000])
        50000: halt at 3, at once 2503, UpTo([10, 100, 1000, 5000, 10000])
        1000000: halt at 3, at once 20000, UpTo([10, 100, 1000, 5000, 10000])
        ");
    }
}
