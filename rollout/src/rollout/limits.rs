//! The limits of a gate, and their arithmetic.

use packcast_protocol::state::WaveNumber;
use serde::{Deserialize, Serialize};

/// Limits of a rollout's gate. They stay the same as long as the rollout lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LimitValues", into = "LimitValues")]
pub struct GateLimits(LimitValues);

/// The numbers of [`GateLimits`], which may be out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitValues {
    /// Failures that halt a round in which no device is healthy, from 1.
    pub halt_at: u32,
    /// Further failures that a round tolerates, in percent of its healthy devices, up to 100.
    pub tolerate: u8,
    /// Maximum number of devices that have begun and are not healthy, from `halt_at` to
    /// [`LimitValues::MAX_AT_ONCE`].
    pub at_once: u32,
    /// Time from a success to the check-in that shows a healthy device, in seconds.
    pub settle_s: u32,
    /// The same time in the first wave.
    pub first_settle_s: u32,
    /// Minimum time from the opening of a wave to the next opening, in seconds.
    pub wait_s: u32,
}

/// Errors of limits that are out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateLimitsError {
    #[error("expected a limit of failures from 1 to {most}, found {given}")]
    HaltAt { given: u32, most: u32 },
    #[error("expected tolerated failures from 0 to 100 percent, found {given}")]
    Tolerate { given: u8 },
    #[error("expected {halt_at} to {most} devices at once, found {given}")]
    AtOnce { given: u32, halt_at: u32, most: u32 },
    #[error("expected a settling time of at most 7 days, found {given} seconds")]
    Settle { given: u32 },
    #[error("expected a waiting time of at most 30 days, found {given} seconds")]
    Wait { given: u32 },
}

const DAY_S: u32 = 24 * 3600;

impl LimitValues {
    /// Upper bound of [`LimitValues::halt_at`].
    pub const MAX_HALT_AT: u32 = 1_000;

    /// Upper bound of [`LimitValues::at_once`].
    pub const MAX_AT_ONCE: u32 = 20_000;
}

impl TryFrom<LimitValues> for GateLimits {
    type Error = GateLimitsError;

    fn try_from(values: LimitValues) -> Result<Self, GateLimitsError> {
        let LimitValues {
            halt_at, at_once, ..
        } = values;
        if !(1..=LimitValues::MAX_HALT_AT).contains(&halt_at) {
            let most = LimitValues::MAX_HALT_AT;
            return Err(GateLimitsError::HaltAt {
                given: halt_at,
                most,
            });
        }
        if values.tolerate > 100 {
            let given = values.tolerate;
            return Err(GateLimitsError::Tolerate { given });
        }
        if !(halt_at..=LimitValues::MAX_AT_ONCE).contains(&at_once) {
            return Err(GateLimitsError::AtOnce {
                given: at_once,
                halt_at,
                most: LimitValues::MAX_AT_ONCE,
            });
        }
        for given in [values.settle_s, values.first_settle_s] {
            if given > 7 * DAY_S {
                return Err(GateLimitsError::Settle { given });
            }
        }
        if values.wait_s > 30 * DAY_S {
            let given = values.wait_s;
            return Err(GateLimitsError::Wait { given });
        }
        Ok(Self(values))
    }
}

impl From<GateLimits> for LimitValues {
    fn from(limits: GateLimits) -> Self {
        limits.0
    }
}

impl GateLimits {
    pub const fn values(&self) -> &LimitValues {
        &self.0
    }

    /// Returns the maximum number of devices of a round that have begun and are not healthy.
    pub fn places(&self, healthy: u32) -> u32 {
        self.0.halt_at + healthy.min(self.growing_until())
    }

    /// Returns the number of healthy devices up to which each of them adds a place.
    pub const fn growing_until(&self) -> u32 {
        self.0.at_once - self.0.halt_at
    }

    /// Returns true if this number of failures halts a round with this number of healthy devices.
    pub fn halts(&self, failed: u32, healthy: u32) -> bool {
        self.enough_healthy(failed)
            .is_none_or(|enough| healthy < enough)
    }

    /// Returns the minimum number of healthy devices with which this number of failures does not
    /// halt a round. `None` if these failures halt each round.
    ///
    /// The limit of failures is `halt_at + healthy × tolerate / 100`, rounded down.
    pub fn enough_healthy(&self, failed: u32) -> Option<u32> {
        let (failed, halt_at) = (u64::from(failed), u64::from(self.0.halt_at));
        if failed < halt_at {
            return Some(0);
        }
        let tolerate = u64::from(self.0.tolerate);
        let beyond = (failed - halt_at + 1) * 100;
        let enough = beyond.checked_next_multiple_of(tolerate)? / tolerate;
        u32::try_from(enough).ok()
    }

    /// Returns the number of devices that may be unhealthy when the next wave opens. `begun` is the
    /// number of devices that have begun in the round. The result is the tolerated share, and one.
    pub fn left_behind(&self, begun: u32) -> u32 {
        let share = u64::from(begun) * u64::from(self.0.tolerate) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Returns the time from a success in a wave to the check-in that shows a healthy device, in
    /// seconds.
    pub fn settle_s(&self, wave: WaveNumber) -> u64 {
        let is_first = wave == WaveNumber::FIRST;
        let settle_s = if is_first {
            self.0.first_settle_s
        } else {
            self.0.settle_s
        };
        settle_s.into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns limits with times of minutes.
    pub(crate) fn limits(halt_at: u32, tolerate: u8, at_once: u32) -> GateLimits {
        let values = LimitValues {
            halt_at,
            tolerate,
            at_once,
            settle_s: 1_800,
            first_settle_s: 7_200,
            wait_s: DAY_S,
        };
        values.try_into().unwrap()
    }

    #[test]
    fn failures_halt_at_a_number_that_grows_with_healthy_devices() {
        let limits = limits(3, 5, 100);
        for (failed, healthy, halts) in [
            (2, 0, false),
            (3, 0, true),
            (3, 19, true),
            (3, 20, false),
            (4, 39, true),
            (4, 40, false),
        ] {
            assert_eq!(limits.halts(failed, healthy), halts, "{failed} {healthy}");
        }
        assert_eq!(limits.enough_healthy(2), Some(0));
        assert_eq!(limits.enough_healthy(3), Some(20));
        assert_eq!(limits.enough_healthy(4), Some(40));
    }

    #[test]
    fn without_tolerance_healthy_devices_allow_no_failure() {
        let limits = limits(2, 0, 10);
        assert_eq!(limits.enough_healthy(1), Some(0));
        assert_eq!(limits.enough_healthy(2), None);
        assert!(limits.halts(2, 1_000_000) && !limits.halts(1, 0));
    }

    #[test]
    fn thresholds_follow_the_formula() {
        for tolerate in 0..=100 {
            let limits = limits(3, tolerate, 50);
            for (failed, healthy) in (0..40).flat_map(|f| (0..60).map(move |h| (f, h))) {
                let limit = 3 + healthy * u32::from(tolerate) / 100;
                assert_eq!(limits.halts(failed, healthy), failed >= limit);
            }
        }
    }

    #[test]
    fn places_grow_with_healthy_devices_up_to_a_limit() {
        let limits = limits(3, 5, 10);
        let places = [0, 1, 7, 8, u32::MAX].map(|healthy| limits.places(healthy));
        assert_eq!(places, [3, 4, 10, 10, 10]);
    }

    #[test]
    fn a_share_and_one_device_are_left_behind() {
        let limits = limits(3, 5, 10);
        let left = [0, 1, 19, 20, 100, u32::MAX].map(|begun| limits.left_behind(begun));
        assert_eq!(left, [1, 1, 1, 2, 6, 214_748_365]);
    }

    #[test]
    fn error_messages() {
        let values = LimitValues::from(limits(3, 5, 10));
        let error = |values: LimitValues| GateLimits::try_from(values).unwrap_err();
        let errors = [
            LimitValues {
                halt_at: 0,
                ..values
            },
            LimitValues {
                tolerate: 101,
                ..values
            },
            LimitValues {
                at_once: 2,
                ..values
            },
            LimitValues {
                settle_s: 700_000,
                ..values
            },
            LimitValues {
                wait_s: 3_000_000,
                ..values
            },
        ]
        .map(|values| error(values).to_string());
        insta::assert_snapshot!(errors.join("\n"), @r"
        expected a limit of failures from 1 to 1000, found 0
        expected tolerated failures from 0 to 100 percent, found 101
        expected 3 to 20000 devices at once, found 2
        expected a settling time of at most 7 days, found 700000 seconds
        expected a waiting time of at most 30 days, found 3000000 seconds
        ");
    }
}
