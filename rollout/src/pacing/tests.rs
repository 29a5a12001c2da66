mod agent;

use proptest::prelude::*;

use super::*;
use crate::announce::{Rules, announce};
use crate::record::tests::{package, task};
use crate::{OpenTask, PackageRecord, PackageState, TaskState};
use packcast_protocol::{PackageId, UnixTime};

use agent::{Run, run};

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§0.14, §8.5: urgent packages that do not fit into a period starve all others",
        a_period_has_twice_the_turns_of_the_urgent_packages,
    ),
    (
        "§2.5: a package whose priority exceeds the period never gets a turn",
        every_package_is_deployed_in_time,
    ),
];

const NOW: UnixTime = UnixTime(1_795_000_000);

fn announced(packages: &[(u8, u32)]) -> Vec<Announced> {
    let packages = packages.iter();
    packages
        .map(|(priority, fragments)| (Priority::try_from(*priority).unwrap(), *fragments))
        .collect()
}

fn length(packages: &[(u8, u32)]) -> u32 {
    let conf = Pacing::default().conf(&announced(packages));
    conf.period_length.get()
}

/// Runs the model with the default pacing on packages in the given order.
fn run_packages(packages: &[(u8, u32)]) -> Run {
    let announced = announced(packages);
    run(&Pacing::default().conf(&announced), &announced)
}

#[test]
fn a_reply_has_the_configured_pauses_and_a_period_that_fits_its_packages() {
    let pacing = Pacing {
        fragment_pause_s: number(7),
        cycle_pause_s: number(8),
        period_pause_s: number(9),
        timeout_days: number(10),
        ..Pacing::default()
    };
    let conf = pacing.conf(&announced(&[(0, 12)]));
    assert_eq!(conf.frag_latency_s.get(), 7);
    assert_eq!(conf.cycle_latency_s.get(), 8);
    assert_eq!(conf.period_latency_s, 9);
    assert_eq!(conf.period_length.get(), 26);
    assert_eq!(conf.timeout_days.get(), 10);
}

#[test]
fn a_period_is_no_shorter_than_ten_cycles() {
    assert_eq!(length(&[]), 10);
    assert_eq!(length(&[(1, 500)]), 10);
    assert_eq!(length(&[(10, 500), (5, 20)]), 10);
}

#[test]
fn a_period_has_twice_the_turns_of_the_urgent_packages() {
    assert_eq!(length(&[(0, 4)]), 10);
    assert_eq!(length(&[(0, 5)]), 12);
    assert_eq!(length(&[(0, 30), (0, 9)]), 82);
    assert_eq!(length(&[(0, 30), (0, 9), (10, 1)]), 90);
}

#[test]
fn a_period_has_the_length_that_wastes_the_fewest_turns() {
    let alone = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|priority| length(&[(priority, 1)]));
    assert_eq!(alone, [10, 10, 12, 12, 10, 12, 14, 16, 18, 10]);
    assert_eq!(length(&[(3, 1), (5, 1)]), 15);
    assert_eq!(length(&[(9, 1), (10, 1)]), 10);
}

#[test]
fn period_lengths_do_not_overflow() {
    let most = length(&[(0, u32::MAX), (0, u32::MAX), (7, 1)]);
    assert!(most > 2_000_000_000, "{most}");
    let all = announced(&[(0, u32::MAX), (10, u32::MAX)]);
    assert!(Pacing::default().longest_s(&all) > u64::from(u32::MAX));
}

/// With the defaults of an OCS server the first package would take 550 s.
#[test]
fn a_typical_package_takes_seconds() {
    let check = |(priority, fragments), expected| {
        let priority = Priority::try_from(priority).unwrap();
        assert_eq!(Pacing::default().alone_s(priority, fragments), expected);
    };
    check((5, 1), 2 * (5 + 1));
    check((0, 0), 1);
    check((10, 0), 11);
    check((7, 3), 4 * (7 + 1) + 1);
    // The formula, plus the pauses between periods of two turns each.
    check((5, 20), 21 * (5 + 1) + 10);
    assert!(Pacing::default().alone_s(Priority::DEFAULT, 1) <= 15);
    assert!(Pacing::default().alone_s(Priority::DEFAULT, 20) <= 150);
}

/// The times were measured with the scheduler of the Unix agent 2.10.0 on a simulated clock.
#[test]
fn the_model_matches_the_real_agent() {
    let check = |packages: &[(u8, u32)], expected: &[u64]| {
        let run = run_packages(packages);
        let deployed: Vec<u64> = run.deployed.into_iter().flatten().collect();
        assert_eq!(deployed, expected, "{packages:?}");
    };
    check(&[(5, 20)], &[134]);
    check(&[(5, 10), (10, 1)], &[71, 25]);
    check(&[(7, 3)], &[31]);
    check(&[(0, 12), (5, 1)], &[12, 20]);
    check(&[(0, 2), (0, 2), (5, 1)], &[4, 5, 13]);
    check(&[(0, 4), (0, 1), (5, 1)], &[6, 3, 17]);
}

#[test]
fn urgent_packages_of_different_sizes_can_end_the_process() {
    let run = run_packages(&[(0, 1), (0, 4), (5, 1)]);
    assert!(run.died);
    assert_eq!(run.deployed, [Some(2), Some(9), None]);
    assert!(!run_packages(&[(0, 4), (0, 1), (5, 1)]).died);
}

fn packages(sizes: &[u32]) -> Vec<PackageRecord> {
    let of_size = |(number, size): (usize, &u32)| {
        let mut package = package(u32::try_from(number).unwrap());
        if let PackageState::Published(published) = &mut package.state {
            published.fragments = *size;
        }
        package
    };
    sizes.iter().enumerate().map(of_size).collect()
}

/// Lets a device check in whenever it has no package left to deploy. Returns the time at which each
/// package was deployed, in the order of the package numbers.
fn check_ins(strict: bool, mut tasks: Vec<OpenTask>, packages: &[PackageRecord]) -> Vec<u64> {
    let rules = Rules {
        strict,
        is_ocs_agent: true,
        ..Rules::default()
    };
    let mut clock = 0;
    let mut deployed = Vec::new();
    while !tasks.is_empty() {
        let find = |id| packages.iter().find(|package| package.id == id);
        let announced: Vec<(PackageId, Announced)> = announce(&tasks, find, rules, NOW)
            .announced
            .iter()
            .map(|pick| {
                let size = (pick.task.priority, pick.published.fragments);
                (pick.task.package, size)
            })
            .collect();
        let sizes: Vec<Announced> = announced.iter().map(|(_, size)| *size).collect();
        let run = run(&Pacing::default().conf(&sizes), &sizes);
        for ((id, _), at) in announced.iter().zip(run.deployed) {
            deployed.push((*id, clock + at.expect("no package starves")));
            tasks.retain(|task| task.package != *id);
        }
        clock += run.ended;
    }
    deployed.sort_unstable();
    deployed.into_iter().map(|(_, at)| at).collect()
}

#[test]
fn a_small_package_of_a_low_priority_overtakes_a_large_one_unless_strict() {
    let packages = packages(&[10, 1]);
    let tasks = vec![task(0, 5), task(1, 10)];
    assert!(tasks.iter().all(|task| task.state == TaskState::Pending));
    let together = check_ins(false, tasks.clone(), &packages);
    assert_eq!(together, [71, 25]);
    let strict = check_ins(true, tasks, &packages);
    assert!(strict[0] < strict[1], "{strict:?}");
    assert_eq!(strict[0], 69);
}

fn over(pauses: (u16, u16), strict: Option<bool>) -> PacingOverride {
    PacingOverride {
        fragment_pause_s: UpTo::new(pauses.0),
        cycle_pause_s: UpTo::new(pauses.1),
        strict,
        ..PacingOverride::default()
    }
}

#[test]
fn the_device_overrides_its_slowest_group_which_overrides_the_target() {
    let check = |groups: &[PacingOverride], device: &PacingOverride, expected| {
        let target = Pacing {
            fragment_pause_s: number(2),
            cycle_pause_s: number(3),
            ..Pacing::default()
        };
        let pacing = target.in_force(groups, device);
        let found = (
            pacing.fragment_pause_s.get(),
            pacing.cycle_pause_s.get(),
            pacing.strict,
        );
        assert_eq!(found, expected);
    };
    let none = PacingOverride::default();
    let (thin, fast) = (over((10, 0), Some(true)), over((1, 5), Some(false)));
    check(&[], &none, (2, 3, false));
    check(&[none], &none, (2, 3, false));
    check(&[fast], &none, (1, 5, false));
    check(&[fast, thin], &none, (10, 5, true));
    check(&[thin, none, fast], &over((4, 0), None), (4, 5, true));
    check(&[thin], &over((0, 1), Some(false)), (10, 1, false));
}

#[test]
fn set_keeps_other_settings_and_replace_discards_them() {
    let once = PacingOverride::default().changed(&PacingChange::Set(over((10, 5), None)));
    let second = over((0, 6), Some(true));
    let both = over((10, 6), Some(true));
    assert_eq!(once.changed(&PacingChange::Set(second)), both);
    assert_eq!(once.changed(&PacingChange::Replace(second)), second);
    assert!(PacingOverride::default().is_empty() && !once.is_empty());
}

/// Returns packages in the order in which an agent begins them. Packages of priority 0 have the
/// same size, because otherwise the process of the agent may end before the others get a turn.
fn queue() -> impl Strategy<Value = Vec<Announced>> {
    let packages = prop::collection::vec((0_u8..=10, 0_u32..40), 1..12);
    (packages, 0_u32..40).prop_map(|(packages, urgent)| {
        let sized = packages.into_iter().map(|(priority, fragments)| {
            (priority, if priority == 0 { urgent } else { fragments })
        });
        announced(&sized.collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn every_package_is_deployed_in_time(
        packages in queue(),
        pauses in (1_u16..100, 1_u16..100, 1_u16..100),
    ) {
        let pacing = Pacing {
            fragment_pause_s: number(pauses.0),
            cycle_pause_s: number(pauses.1),
            period_pause_s: number(pauses.2),
            ..Pacing::default()
        };
        let run = run(&pacing.conf(&packages), &packages);
        prop_assert!(!run.died);
        let last = run.deployed.iter().map(|at| at.expect("no package starves")).max();
        prop_assert!(last <= Some(pacing.longest_s(&packages)));
    }

    #[test]
    fn urgent_packages_are_deployed_first(packages in queue()) {
        let run = run(&Pacing::default().conf(&packages), &packages);
        let of = |is_urgent: bool| {
            let all = packages.iter().zip(&run.deployed);
            all.filter(move |((priority, _), _)| (priority.get() == 0) == is_urgent)
                .map(|(_, at)| *at)
        };
        if let (Some(urgent), Some(other)) = (of(true).max(), of(false).min()) {
            prop_assert!(urgent < other);
        }
    }

    #[test]
    fn the_formula_holds_for_a_single_package(priority in 1_u8..=10, fragments in 0_u32..500) {
        let (level, turns) = (u64::from(priority), u64::from(fragments) + 1);
        let between_periods = (turns - 1) / (u64::from(length(&[(priority, fragments)])) / level);
        let expected = turns * (level + 1) + between_periods;
        let alone = announced(&[(priority, fragments)]);
        prop_assert_eq!(Pacing::default().longest_s(&alone), expected);
    }
}
