//! Waves: the steps of a rollout.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RolloutGroups;
use super::slot::{SLOTS, Slot};
use crate::group::GroupName;
use crate::time::UnixTime;

/// Largest number of waves of a rollout.
pub const MAX_WAVES: usize = 16;

/// A step of a rollout: some devices, and the time from which they may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "WaveForm", into = "WaveForm")]
pub struct Wave {
    /// Devices of the wave, apart from those of the waves before it.
    pub devices: WaveDevices,
    /// Time from which the wave is open; `None` if the wave stays closed until an administrator
    /// sets a time.
    pub from: Option<UnixTime>,
}

/// Devices of a wave, apart from those of the waves before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaveDevices {
    /// Devices in one of these groups.
    Groups(RolloutGroups),
    /// Devices with a slot below this number, 1 to 10,000.
    UpTo(u16),
}

/// Wire form of a wave, with either `groups` or `up_to`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Wave", deny_unknown_fields)]
struct WaveForm {
    /// Groups whose devices are in the wave, sorted. A wave has either this field or `up_to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<RolloutGroups>,
    /// The wave has the devices with a slot below this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = SLOTS))]
    up_to: Option<u16>,
    /// Time from which the wave is open; `null` if the wave stays closed.
    from: Option<UnixTime>,
}

/// 1 to 16 waves of a rollout, in their order.
///
/// Bounds increase from wave to wave, and the last wave has the bound 10,000. So each device has a
/// wave, and each wave can have a device. Times never decrease, and a wave without a time has only
/// waves without a time after it. So no wave opens before the waves in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Wave>", into = "Vec<Wave>")]
#[schemars(extend("minItems" = 1, "maxItems" = MAX_WAVES))]
pub struct Waves(Vec<Wave>);

/// The place of a wave in its rollout, from 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(extend("minimum" = 1, "maximum" = MAX_WAVES))]
pub struct WaveNumber(u8);

/// Errors in the waves of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WavesError {
    #[error("a rollout has 1 to {MAX_WAVES} waves, not {count}")]
    Count { count: usize },
    #[error("a wave has either 'groups' or 'up_to'")]
    Devices,
    #[error(
        "wave {wave} has the bound {up_to}: a bound is above the bounds before it, and at most {SLOTS}"
    )]
    Bound { wave: WaveNumber, up_to: u16 },
    #[error("the last wave must have the bound {SLOTS}, so that each device has a wave")]
    Last,
    #[error("wave {wave} must not open before the wave in front of it")]
    Order { wave: WaveNumber },
    #[error("the rollout has {count} waves, and no wave {wave}")]
    NoWave { wave: WaveNumber, count: usize },
}

/// A number that is not the number of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of a wave, 1 to {MAX_WAVES}, found {given}")]
pub struct WaveNumberError {
    given: u8,
}

impl Wave {
    /// Returns true if the wave is open at this time.
    pub fn is_open(&self, now: UnixTime) -> bool {
        self.from.is_some_and(|from| from <= now)
    }

    /// Returns true if the wave, or a wave before it, can have a device with this slot and these
    /// groups.
    pub(super) fn includes(&self, slot: Slot, groups: &BTreeSet<GroupName>) -> bool {
        match &self.devices {
            WaveDevices::Groups(named) => !named.as_set().is_disjoint(groups),
            WaveDevices::UpTo(bound) => slot.get() < *bound,
        }
    }
}

impl Waves {
    /// Checks the order of waves.
    pub fn new(waves: Vec<Wave>) -> Result<Self, WavesError> {
        let count = waves.len();
        if !(1..=MAX_WAVES).contains(&count) {
            return Err(WavesError::Count { count });
        }
        let waves = Self(waves);
        let (mut bound, mut opened) = (0, Some(UnixTime(0)));
        for (number, wave) in waves.numbered() {
            if let WaveDevices::UpTo(up_to) = wave.devices {
                if up_to <= bound || up_to > SLOTS {
                    let wave = number;
                    return Err(WavesError::Bound { wave, up_to });
                }
                bound = up_to;
            }
            let is_in_order = match (opened, wave.from) {
                (Some(before), Some(from)) => before <= from,
                (None, Some(_)) => false,
                (_, None) => true,
            };
            if !is_in_order {
                return Err(WavesError::Order { wave: number });
            }
            opened = wave.from;
        }
        let last = waves.0.last().map(|wave| &wave.devices);
        if last == Some(&WaveDevices::UpTo(SLOTS)) {
            Ok(waves)
        } else {
            Err(WavesError::Last)
        }
    }

    /// Returns the waves in their order.
    pub fn as_slice(&self) -> &[Wave] {
        &self.0
    }

    /// Returns the waves with their numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (WaveNumber, &Wave)> {
        let numbers = (1..=u8::MAX).map(WaveNumber);
        let waves: Vec<_> = numbers.zip(&self.0).collect();
        waves.into_iter()
    }

    /// Returns the wave with this number.
    pub fn get(&self, wave: WaveNumber) -> Option<&Wave> {
        self.0.get(wave.index())
    }

    /// Returns the number of the last wave.
    pub fn last(&self) -> WaveNumber {
        let last = self.numbered().next_back();
        last.expect("a rollout has a wave").0
    }

    /// Returns the waves with another time for one of them.
    pub fn opening(&self, wave: WaveNumber, from: UnixTime) -> Result<Self, WavesError> {
        let mut waves = self.0.clone();
        let count = waves.len();
        let opened = waves.get_mut(wave.index());
        opened.ok_or(WavesError::NoWave { wave, count })?.from = Some(from);
        Self::new(waves)
    }
}

impl WaveNumber {
    /// The first wave.
    pub const FIRST: Self = Self(1);

    pub const fn get(self) -> u8 {
        self.0
    }

    /// Returns the number of the next wave, if a rollout can have so many.
    pub fn next(self) -> Option<Self> {
        Self::try_from(self.0 + 1).ok()
    }

    fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

impl TryFrom<u8> for WaveNumber {
    type Error = WaveNumberError;

    fn try_from(given: u8) -> Result<Self, Self::Error> {
        if (1..=MAX_WAVES).contains(&usize::from(given)) {
            Ok(Self(given))
        } else {
            Err(WaveNumberError { given })
        }
    }
}

impl From<WaveNumber> for u8 {
    fn from(wave: WaveNumber) -> Self {
        wave.0
    }
}

impl fmt::Display for WaveNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<WaveForm> for Wave {
    type Error = WavesError;

    fn try_from(form: WaveForm) -> Result<Self, Self::Error> {
        let devices = match (form.groups, form.up_to) {
            (Some(groups), None) => WaveDevices::Groups(groups),
            (None, Some(up_to)) => WaveDevices::UpTo(up_to),
            (None, None) | (Some(_), Some(_)) => return Err(WavesError::Devices),
        };
        let from = form.from;
        Ok(Self { devices, from })
    }
}

impl From<Wave> for WaveForm {
    fn from(wave: Wave) -> Self {
        let (groups, up_to) = match wave.devices {
            WaveDevices::Groups(groups) => (Some(groups), None),
            WaveDevices::UpTo(up_to) => (None, Some(up_to)),
        };
        let from = wave.from;
        Self {
            groups,
            up_to,
            from,
        }
    }
}

impl TryFrom<Vec<Wave>> for Waves {
    type Error = WavesError;

    fn try_from(waves: Vec<Wave>) -> Result<Self, Self::Error> {
        Self::new(waves)
    }
}

impl From<Waves> for Vec<Wave> {
    fn from(waves: Waves) -> Self {
        waves.0
    }
}
