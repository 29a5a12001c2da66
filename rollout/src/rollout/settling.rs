//! The time between the success of a device and its health.

use packcast_protocol::api::BoundedText;
use packcast_protocol::{PackageId, UnixTime};
use serde::{Deserialize, Serialize};

use super::begin::Place;
use super::gate::Gate;

/// A success whose device is not healthy yet: an item in the device's own partition, so that each
/// check-in reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    pub place: Place,
    pub package: PackageId,
    /// Time from which a check-in shows that the device is healthy.
    pub until: UnixTime,
    /// The boot in which the program ran, if its result asked for a restart: only a check-in of
    /// another boot shows that the device is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_in: Option<BoundedText<64>>,
}

/// Returns the item that is recorded with a success of a device with a place. `None` if the gate is
/// gone.
///
/// `restart_after` is the boot in which the program ran, if the result asks for a restart. An OCS
/// agent reports no boots, so its restart is not observed.
pub fn settling(
    gate: Option<&Gate>,
    place: Place,
    package: PackageId,
    restart_after: Option<BoundedText<64>>,
    now: UnixTime,
) -> Option<Settling> {
    let gate = gate.filter(|gate| gate.rollout == place.rollout)?;
    Some(Settling {
        place,
        package,
        until: now.plus(gate.limits.settle_s(gate.wave)),
        ran_in: restart_after,
    })
}

impl Settling {
    /// Returns true if a check-in at this time, in this boot, shows that the device is healthy.
    ///
    /// Without a boot in the check-in, no restart is seen.
    pub fn is_over(&self, boot: Option<&BoundedText<64>>, now: UnixTime) -> bool {
        let has_restarted = |ran_in: &BoundedText<64>| boot.is_some_and(|boot| boot != ran_in);
        self.until <= now && self.ran_in.as_ref().is_none_or(has_restarted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::id;
    use crate::rollout::gate::tests::{NOW, gate};

    fn settled(boot: Option<&str>, now: UnixTime, restart_after: Option<&str>, wave: u8) -> bool {
        let wave = wave.try_into().unwrap();
        let gate = Gate { wave, ..gate() };
        let place = Place {
            rollout: gate.rollout,
            round: 1,
        };
        let restart_after = restart_after.map(BoundedText::tail);
        let settling = settling(Some(&gate), place, id(1), restart_after, NOW).unwrap();
        settling.is_over(boot.map(BoundedText::tail).as_ref(), now)
    }

    #[test]
    fn a_device_settles_for_two_hours_in_the_first_wave_and_half_an_hour_later() {
        for (wave, settle_s) in [(1, 7_200), (2, 1_800), (9, 1_800)] {
            assert!(!settled(None, NOW.plus(settle_s - 1), None, wave));
            assert!(settled(None, NOW.plus(settle_s), None, wave));
        }
    }

    #[test]
    fn success_before_a_restart_that_was_asked_for_does_not_count() {
        let late = NOW.plus(1_000_000);
        assert!(!settled(Some("boot-1"), late, Some("boot-1"), 2));
        assert!(!settled(None, late, Some("boot-1"), 2));
        assert!(settled(Some("boot-2"), late, Some("boot-1"), 2));
        assert!(!settled(Some("boot-2"), NOW, Some("boot-1"), 2));
    }

    #[test]
    fn without_its_gate_a_success_settles_nothing() {
        let place = Place {
            rollout: gate().rollout,
            round: 1,
        };
        assert_eq!(settling(None, place, id(1), None, NOW), None);
    }
}
