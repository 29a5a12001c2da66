//! Warnings about the devices of a rollout.

use packcast_protocol::GroupName;
use packcast_protocol::state::document::WaveDevices;

use crate::preview::named_groups;
use crate::text::count;
use crate::warning::Warning;

/// Warns of groups without devices. `devices` is the number of devices in all groups of the rollout.
pub(super) fn without_devices(groups: &[&GroupName], devices: u32) -> Option<Warning> {
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
pub(super) fn without_wave(left_out: &WaveDevices) -> Option<Warning> {
    let WaveDevices::Groups(groups) = left_out else {
        return None;
    };
    let groups: Vec<GroupName> = groups.as_set().iter().cloned().collect();
    Some(Warning::new(format!(
        "pilot {} gets no wave: no device of the rollout's groups is in it, or each is in an earlier pilot group",
        named_groups(&groups)
    )))
}

pub(super) fn outside(ring: &GroupName, devices: usize) -> Option<Warning> {
    (devices > 0).then(|| {
        Warning::new(format!(
            "pilot group {ring} has {} outside the rollout's groups, which the rollout leaves out",
            count(devices as u64, "device")
        ))
    })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::document::RolloutGroups;

    use super::*;

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
