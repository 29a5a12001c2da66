//! The devices of a rollout, with the groups that decide on their waves.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::document::WaveDevices;
use packcast_protocol::state::{RolloutDocument, WaveNumber};
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::rollout::PlannedDevice;

use crate::failure::Failure;
use crate::target::Target;

/// The members of some groups, each with those of the groups that it is in.
#[derive(Debug, Default)]
pub(super) struct RolloutMembers(BTreeMap<DeviceId, BTreeSet<GroupName>>);

impl RolloutMembers {
    /// Reads the members of these groups. The cost grows with their number.
    pub(super) async fn read<'a>(
        target: &Target,
        groups: impl IntoIterator<Item = &'a GroupName>,
    ) -> Result<Self, Failure> {
        let groups: BTreeSet<&GroupName> = groups.into_iter().collect();
        let mut members = Self::default();
        for group in groups {
            for device in target.records.members(group).await? {
                members.0.entry(device).or_default().insert(group.clone());
            }
        }
        Ok(members)
    }

    /// Reads the members of the groups of a rollout and of its waves.
    pub(super) async fn of(target: &Target, document: &RolloutDocument) -> Result<Self, Failure> {
        let rings = document.waves.as_slice().iter().flat_map(|wave| {
            let groups = match &wave.devices {
                WaveDevices::Groups(groups) => Some(groups.as_set()),
                WaveDevices::UpTo(_) => None,
            };
            groups.into_iter().flatten()
        });
        Self::read(target, document.groups.as_set().iter().chain(rings)).await
    }

    /// Returns the devices in one of the groups of a rollout, each with the first of the rings that it
    /// is in.
    pub(super) fn planned(
        &self,
        groups: &BTreeSet<GroupName>,
        rings: &[GroupName],
    ) -> Vec<PlannedDevice> {
        let members = self.0.iter().filter(|(_, of)| !of.is_disjoint(groups));
        let planned = members.map(|(device, of)| PlannedDevice {
            device: device.clone(),
            ring: rings.iter().position(|ring| of.contains(ring)),
        });
        planned.collect()
    }

    /// Returns the number of devices in a group.
    pub(super) fn size(&self, group: &GroupName) -> usize {
        let members = self.0.values();
        members.filter(|of| of.contains(group)).count()
    }

    /// Returns the number of devices in a group that are in none of the groups of a rollout.
    pub(super) fn outside(&self, group: &GroupName, groups: &BTreeSet<GroupName>) -> usize {
        let members = self.0.values();
        let outside = members.filter(|of| of.contains(group) && of.is_disjoint(groups));
        outside.count()
    }

    /// Returns the number of devices in each wave.
    pub(super) fn by_wave(&self, document: &RolloutDocument) -> BTreeMap<WaveNumber, u32> {
        let mut counts = BTreeMap::new();
        for wave in self.waves(document).into_values() {
            *counts.entry(wave).or_default() += 1;
        }
        counts
    }

    /// Returns the wave of each device.
    pub(super) fn waves(&self, document: &RolloutDocument) -> BTreeMap<DeviceId, WaveNumber> {
        let waves = self.0.iter().filter_map(|(device, groups)| {
            let wave = document.wave_of(device, groups)?;
            Some((device.clone(), wave))
        });
        waves.collect()
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::document::{RolloutGroups, Waves};
    use packcast_protocol::state::{RolloutSeed, Wave};
    use packcast_protocol::{Sha256Digest, UnixTime};

    use super::*;
    use crate::test_target::devices;

    fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    /// Returns three devices in `lab`, of which the first is in `pilot`, and one only in `pilot`.
    fn members() -> RolloutMembers {
        let mut devices = devices(4);
        let mut members = BTreeMap::new();
        for groups in [&["lab", "pilot"][..], &["lab"], &["lab"], &["pilot"]] {
            let groups = groups.iter().map(|name| group(name));
            members.insert(devices.next().unwrap(), groups.collect());
        }
        RolloutMembers(members)
    }

    #[test]
    fn only_devices_in_a_group_of_the_rollout_are_planned() {
        let (members, lab) = (members(), BTreeSet::from([group("lab")]));
        let planned = members.planned(&lab, &[group("pilot")]);
        let rings: Vec<Option<usize>> = planned.iter().map(|it| it.ring).collect();
        assert_eq!(rings, [Some(0), None, None]);
        assert_eq!(members.outside(&group("pilot"), &lab), 1);
        let sizes = ["lab", "pilot", "desk"].map(|name| members.size(&group(name)));
        assert_eq!(sizes, [3, 2, 0]);
    }

    #[test]
    fn each_device_counts_in_its_wave() {
        let groups = |name| RolloutGroups::new([group(name)].into()).unwrap();
        let wave = |devices| Wave {
            devices,
            from: Some(UnixTime(0)),
        };
        let waves = Waves::new(vec![
            wave(WaveDevices::Groups(groups("pilot"))),
            wave(WaveDevices::UpTo(10_000)),
        ]);
        let document = RolloutDocument::new(
            "1795000000".parse().unwrap(),
            Sha256Digest::of(b"manifest"),
            groups("lab"),
            RolloutSeed::from_bytes([7; 16]),
            waves.unwrap(),
        );
        let counts: Vec<u32> = members().by_wave(&document).into_values().collect();
        assert_eq!(counts, [1, 2]);
    }
}
