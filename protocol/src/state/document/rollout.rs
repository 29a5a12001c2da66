//! The document of a rollout: the calendar by which devices begin with a package.

mod slot;
mod wave;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StateDocument;
use crate::device::DeviceId;
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::package::PackageId;
use crate::schema::Schema;
use crate::time::UnixTime;

pub use slot::{RolloutSeed, RolloutSeedError, SLOTS, Slot, SlotError};
pub use wave::{MAX_WAVES, Wave, WaveDevices, WaveNumber, WaveNumberError, Waves, WavesError};

/// Largest number of groups that a rollout or one of its waves names.
pub const MAX_ROLLOUT_GROUPS: usize = 40;

/// The package of a rollout, and the waves in which devices begin with the package.
///
/// The id of the rollout is the name of the leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Id of the package.
    pub package: PackageId,
    /// SHA-256 of the package's manifest.
    pub manifest: Sha256Digest,
    /// Groups whose entries may name the rollout, sorted.
    pub groups: RolloutGroups,
    /// Random bytes that decide on the slot of each device.
    pub seed: RolloutSeed,
    /// The waves in their order. The last one includes every device of the groups.
    pub waves: Waves,
}

/// 1 to 40 groups, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeSet<GroupName>", into = "BTreeSet<GroupName>")]
#[schemars(extend("minItems" = 1, "maxItems" = MAX_ROLLOUT_GROUPS))]
pub struct RolloutGroups(BTreeSet<GroupName>);

/// A wrong number of groups of a rollout or a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rollout or a wave names 1 to {MAX_ROLLOUT_GROUPS} groups, not {count}")]
pub struct RolloutGroupsError {
    count: usize,
}

impl RolloutDocument {
    pub const fn new(
        package: PackageId,
        manifest: Sha256Digest,
        groups: RolloutGroups,
        seed: RolloutSeed,
        waves: Waves,
    ) -> Self {
        Self {
            schema: Schema,
            package,
            manifest,
            groups,
            seed,
            waves,
        }
    }

    /// Returns the wave of a device: the first wave that names one of its groups, or whose bound is
    /// above its slot.
    ///
    /// `groups` are the groups of the device, with `all`. Returns `None` if the device is in none of
    /// the rollout's groups.
    pub fn wave_of(&self, device: &DeviceId, groups: &BTreeSet<GroupName>) -> Option<WaveNumber> {
        if self.groups.0.is_disjoint(groups) {
            return None;
        }
        let slot = Slot::of(self.seed, device);
        let mut waves = self.waves.numbered();
        waves.find_map(|(number, wave)| wave.includes(slot, groups).then_some(number))
    }

    /// Returns true if the rollout is for a group, or if one of its waves names the group.
    pub fn names(&self, group: &GroupName) -> bool {
        let of_waves = self
            .waves
            .as_slice()
            .iter()
            .filter_map(|wave| match &wave.devices {
                WaveDevices::Groups(groups) => Some(groups),
                WaveDevices::UpTo(_) => None,
            });
        let mut named = [&self.groups].into_iter().chain(of_waves);
        named.any(|groups| groups.0.contains(group))
    }

    /// Returns the time from which a wave is open; `None` if the wave stays closed, or if the
    /// rollout has no such wave.
    pub fn opens(&self, wave: WaveNumber) -> Option<UnixTime> {
        self.waves.get(wave)?.from
    }
}

impl RolloutGroups {
    pub fn new(groups: BTreeSet<GroupName>) -> Result<Self, RolloutGroupsError> {
        let count = groups.len();
        if (1..=MAX_ROLLOUT_GROUPS).contains(&count) {
            Ok(Self(groups))
        } else {
            Err(RolloutGroupsError { count })
        }
    }

    pub const fn as_set(&self) -> &BTreeSet<GroupName> {
        &self.0
    }
}

impl TryFrom<BTreeSet<GroupName>> for RolloutGroups {
    type Error = RolloutGroupsError;

    fn try_from(groups: BTreeSet<GroupName>) -> Result<Self, Self::Error> {
        Self::new(groups)
    }
}

impl From<RolloutGroups> for BTreeSet<GroupName> {
    fn from(groups: RolloutGroups) -> Self {
        groups.0
    }
}

impl StateDocument for RolloutDocument {
    const NAME: &'static str = "rollout document";
}

#[cfg(test)]
mod tests;
