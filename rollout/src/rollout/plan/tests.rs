use std::collections::BTreeSet;

use super::*;
use crate::record::tests::id;
use crate::rollout::defaults::{default_limits, default_shares};
use crate::rollout::limits::LimitValues;

/// A Thursday, 08:00 two hours east of UTC.
const THURSDAY: UnixTime = UnixTime(1_794_463_200);

fn members(count: u32, in_ring: impl Fn(u32) -> Option<usize>) -> Vec<PlannedDevice> {
    let device = |n: u32| PlannedDevice {
        device: format!("ocs:web{n}-2026-03-04-05-06-07").parse().unwrap(),
        ring: in_ring(n),
    };
    (0..count).map(device).collect()
}

fn groups() -> RolloutGroups {
    RolloutGroups::new([GroupName::all()].into()).unwrap()
}

fn request<'a>(members: &'a [PlannedDevice], rings: &'a [GroupName]) -> PlanRequest<'a> {
    let count = u32::try_from(members.len()).unwrap();
    PlanRequest {
        package: id(1),
        manifest: Sha256Digest::of(b"manifest"),
        groups: groups(),
        rings,
        members,
        shares: default_shares(count),
        limits: default_limits(count).try_into().unwrap(),
        times: OpeningTimes {
            start: THURSDAY,
            days: Weekdays::default(),
            offset_s: 7_200,
            only_first: false,
        },
    }
}

/// Returns different seeds, from the first on.
fn seeds() -> impl FnMut() -> RolloutSeed {
    let mut drawn = 0_u128;
    move || {
        drawn += 1;
        RolloutSeed::from_bytes(drawn.to_be_bytes())
    }
}

fn planned(request: &PlanRequest<'_>) -> RolloutPlan {
    plan(request, seeds()).unwrap()
}

fn lines(plan: &RolloutPlan) -> String {
    let line = |wave: &PlannedWave| {
        let after = wave.from.map(|from| from.since(THURSDAY) / 3_600);
        format!(
            "{} {:?}: {} devices, {} reached, after {after:?} hours, {} at once, {} left behind",
            wave.number, wave.devices, wave.members, wave.reached, wave.at_once, wave.left_behind
        )
    };
    let waves: Vec<String> = plan.waves.iter().map(line).collect();
    waves.join("\n")
}

#[test]
fn waves_have_devices_times_and_bounds() {
    let members = members(2_000, |_| None);
    let plan = planned(&request(&members, &[]));
    insta::assert_snapshot!(lines(&plan), @"
    1 UpTo(100): 26 devices, 26 reached, after Some(0) hours, 26 at once, 2 left behind
    2 UpTo(1000): 173 devices, 199 reached, after Some(24) hours, 103 at once, 9 left behind
    3 UpTo(5000): 794 devices, 993 reached, after Some(96) hours, 103 at once, 40 left behind
    4 UpTo(10000): 1007 devices, 2000 reached, after Some(120) hours, 103 at once, 51 left behind
    ");
    assert_eq!(plan.left_out, []);
    assert_eq!([plan.reaches(0), plan.reaches(2)], [3, 9]);
    let everywhere = BTreeSet::from([GroupName::all()]);
    for wave in &plan.waves {
        let of_wave = |member: &&PlannedDevice| {
            plan.document.wave_of(&member.device, &everywhere) == Some(wave.number)
        };
        let count = members.iter().filter(of_wave).count();
        assert_eq!(u32::try_from(count).unwrap(), wave.members);
    }
}

#[test]
fn a_small_group_begins_with_one_device() {
    for count in 2..30 {
        let members = members(count, |_| None);
        let plan = planned(&request(&members, &[]));
        let sizes: Vec<u32> = plan.waves.iter().map(|wave| wave.members).collect();
        assert_eq!(sizes, [1, count - 1]);
    }
    let one = members(1, |_| None);
    assert_eq!(planned(&request(&one, &[])).waves.len(), 1);
}

#[test]
fn no_wave_is_empty_except_the_last_one_of_an_empty_group() {
    for count in (1..200).step_by(7) {
        let members = members(count, |_| None);
        let shares = WaveShares::UpTo(vec![10, 100, 500, 2_500, 10_000]);
        let request = PlanRequest {
            shares,
            ..request(&members, &[])
        };
        let plan = planned(&request);
        assert!(
            plan.waves.iter().all(|wave| wave.members > 0),
            "{}",
            lines(&plan)
        );
        assert_eq!(plan.waves.len() + plan.left_out.len(), 5);
    }
    let plan = planned(&request(&[], &[]));
    assert_eq!(plan.waves.len(), 1);
    assert_eq!(plan.waves[0].members, 0);
}

#[test]
fn rings_come_first_and_empty_ones_are_left_out() {
    let rings: Vec<GroupName> = ["pilot", "nobody", "ring"]
        .map(|name| name.parse().unwrap())
        .into();
    let members = members(100, |n| match n {
        0..4 => Some(0),
        4..10 => Some(2),
        _ => None,
    });
    let plan = planned(&request(&members, &rings));
    let sizes: Vec<u32> = plan.waves.iter().map(|wave| wave.members).collect();
    assert_eq!(sizes[..2], [4, 6]);
    assert_eq!(sizes.iter().sum::<u32>(), 100);
    let nobody = RolloutGroups::new([rings[1].clone()].into()).unwrap();
    assert_eq!(plan.left_out, [WaveDevices::Groups(nobody)]);
    let only_rings = members_of_one_ring();
    let plan = planned(&request(&only_rings, &rings[..1]));
    let sizes: Vec<u32> = plan.waves.iter().map(|wave| wave.members).collect();
    assert_eq!(sizes, [5, 0]);
}

fn members_of_one_ring() -> Vec<PlannedDevice> {
    members(5, |_| Some(0))
}

#[test]
fn waves_open_on_working_days_at_the_hour_of_the_start() {
    let members = members(2_000, |_| None);
    let opened = |change: &dyn Fn(&mut PlanRequest<'_>)| -> Vec<Option<u64>> {
        let mut request = request(&members, &[]);
        change(&mut request);
        let plan = planned(&request);
        let from = plan.waves.iter().map(|wave| wave.from);
        from.map(|from| Some(from?.since(THURSDAY) / 3_600))
            .collect()
    };
    let some = |hours: [u64; 4]| hours.map(Some).to_vec();
    assert_eq!(opened(&|_| ()), some([0, 24, 96, 120]));
    let every_day = opened(&|request| request.times.days = "mon-sun".parse().unwrap());
    assert_eq!(every_day, some([0, 24, 48, 72]));
    let from_saturday = opened(&|request| request.times.start = THURSDAY.plus(48 * 3_600));
    assert_eq!(from_saturday, some([96, 120, 144, 168]));
    let with_wait = |hours: u32| {
        opened(&move |request| {
            let values = LimitValues {
                wait_s: hours * 3_600,
                ..*request.limits.values()
            };
            request.limits = values.try_into().unwrap();
        })
    };
    assert_eq!(with_wait(2), some([0, 2, 4, 6]));
    assert_eq!(with_wait(30), some([0, 96, 144, 192]));
    let first = opened(&|request| request.times.only_first = true);
    assert_eq!(first, [Some(0), None, None, None]);
}

#[test]
fn bounds_end_with_all_devices() {
    let members = members(2_000, |_| None);
    let with = |bounds: &[u16]| {
        let shares = WaveShares::UpTo(bounds.to_vec());
        let request = PlanRequest {
            shares,
            ..request(&members, &[])
        };
        plan(&request, seeds())
    };
    for bounds in [&[][..], &[100, 9_999], &[100, 10_001]] {
        assert!(with(bounds).is_err(), "{bounds:?}");
    }
    for (bounds, out_of_order) in [([5_000, 100, 10_000], 100), ([100, 10_000, 20_000], 20_000)] {
        let plan = with(&bounds).unwrap();
        assert_eq!(plan.left_out, [WaveDevices::UpTo(out_of_order)]);
    }
}
