//! The wait of a package for its rollout, decided as the function decides.

use std::collections::BTreeSet;

use packcast_protocol::state::{LeafName, RolloutDocument, RolloutId};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::reconcile::announcing_group;
use packcast_rollout::rollout::{Closed, Gate, closed};
use packcast_rollout::{GroupState, RolloutWait};
use packcast_store::records::DeviceState;

use crate::clock::now;
use crate::failure::Failure;
use crate::state::current_part;
use crate::target::Target;

/// Returns the wait of a package for its rollout. `None` if the device gets the package without a
/// rollout, or if its rollout lets the device begin.
pub(super) async fn wait(
    target: &Target,
    device: &DeviceId,
    device_state: &DeviceState,
    groups: &[GroupState],
    package: PackageId,
) -> Result<Option<RolloutWait>, Failure> {
    let mut tasks = device_state.tasks.iter();
    let is_direct = tasks.any(|task| task.package == package && task.direct);
    let group = announcing_group(&device_state.memberships, groups, package);
    let Some((_, Some(rollout))) = group.filter(|_| !is_direct) else {
        return Ok(None);
    };
    let gate = target.records.gate(rollout).await?;
    let table = target.records.table();
    if target.trust().is_err() {
        // Without the root keys, the waves are unknown on this machine.
        return Ok(gate.and_then(|gate| by_gate(rollout, &gate, table)));
    }
    let names = BTreeSet::from([LeafName::Rollout(rollout)]);
    let part = current_part(target, names).await?;
    let document = part.rollout(rollout).ok().flatten();
    let member: BTreeSet<GroupName> = device_state.memberships.groups().collect();
    Ok(decide(
        rollout,
        device,
        &member,
        (gate.as_ref(), table),
        document,
        now(),
    ))
}

fn by_gate(rollout: RolloutId, gate: &Gate, table: &str) -> Option<RolloutWait> {
    let is_full = (gate.free == 0).then_some(Closed::Full);
    let closed = gate.closed(table).or(is_full)?;
    Some(RolloutWait {
        rollout,
        closed,
        wave: None,
        opens: None,
        is_calendar_open: false,
    })
}

fn decide(
    rollout: RolloutId,
    device: &DeviceId,
    groups: &BTreeSet<GroupName>,
    (gate, table): (Option<&Gate>, &str),
    document: Option<&RolloutDocument>,
    now: UnixTime,
) -> Option<RolloutWait> {
    let wave = document.and_then(|document| document.wave_of(device, groups));
    let opens = document.zip(wave);
    let opens = opens.and_then(|(document, wave)| document.opens(wave));
    let closed = match (gate, document, wave) {
        (Some(gate), Some(document), Some(wave)) => {
            closed(gate, table, &document.waves, wave, now)?
        }
        (Some(_), Some(_), None) => Closed::Wave,
        (None, ..) | (_, None, _) => Closed::Ended,
    };
    Some(RolloutWait {
        rollout,
        closed,
        wave,
        opens,
        is_calendar_open: opens.is_some_and(|opens| opens <= now),
    })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::document::{
        RolloutGroups, RolloutSeed, SLOTS, Wave, WaveDevices, Waves,
    };
    use packcast_rollout::rollout::GateLimits;
    use packcast_rollout::rollout::default_limits;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const ROLLOUT: RolloutId = RolloutId::from_bytes([7; 16]);

    /// Returns a rollout of the group `all`, with a ring that opens now.
    fn document() -> RolloutDocument {
        let groups = |name: &str| RolloutGroups::new([name.parse().unwrap()].into()).unwrap();
        let wave = |devices, after| Wave {
            devices,
            from: Some(NOW.plus(after)),
        };
        let waves = vec![
            wave(WaveDevices::Groups(groups("ring")), 0),
            wave(WaveDevices::UpTo(SLOTS), 100),
        ];
        let package = "1795000000".parse().unwrap();
        RolloutDocument::new(
            package,
            Sha256Digest::of(b""),
            groups("all"),
            RolloutSeed::from_bytes([1; 16]),
            Waves::new(waves).unwrap(),
        )
    }

    #[test]
    fn a_device_waits_for_its_wave_and_for_a_place() {
        let device = "ocs:pc1-2026-03-04-05-06-07".parse().unwrap();
        let limits: GateLimits = default_limits(5).try_into().unwrap();
        let gate = Gate::new(ROLLOUT, "packcast".to_owned(), limits, NOW);
        let (document, full) = (
            document(),
            Gate {
                free: 0,
                ..gate.clone()
            },
        );
        let decide = |groups: &[&str], gate: Option<&Gate>, document, after| {
            let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
            let gate = (gate, "packcast");
            decide(ROLLOUT, &device, &groups, gate, document, NOW.plus(after))
        };
        let (ring, all) = (&["all", "ring"][..], &["all"][..]);
        let document = Some(&document);
        assert_eq!(decide(ring, Some(&gate), document, 0), None);
        assert_eq!(by_gate(ROLLOUT, &gate, "packcast"), None);
        let wait = by_gate(ROLLOUT, &full, "packcast").unwrap();
        assert_eq!((wait.closed, wait.wave), (Closed::Full, None));
        for (groups, gate, document, after, expected) in [
            (
                ring,
                Some(&full),
                document,
                0,
                (Closed::Full, Some(1), true),
            ),
            (
                all,
                Some(&gate),
                document,
                99,
                (Closed::Wave, Some(2), false),
            ),
            (
                all,
                Some(&gate),
                document,
                100,
                (Closed::Wave, Some(2), true),
            ),
            (
                &["ring"],
                Some(&gate),
                document,
                0,
                (Closed::Wave, None, false),
            ),
            (ring, None, document, 0, (Closed::Ended, Some(1), true)),
            (ring, Some(&gate), None, 0, (Closed::Ended, None, false)),
        ] {
            let wait = decide(groups, gate, document, after).unwrap();
            let wave = wait.wave.map(packcast_protocol::state::WaveNumber::get);
            assert_eq!((wait.closed, wave, wait.is_calendar_open), expected);
        }
    }
}
