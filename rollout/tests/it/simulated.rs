//! A small share of the simulation that `just simulate-rollout` runs.

use crate::simulation::{Outcome, PackageKind, Scenario, simulate};

fn outcome(devices: u32, kind: PackageKind, lids: bool, seed: u64) -> Outcome {
    let scenario = Scenario {
        devices,
        kind,
        lids,
        has_person: true,
        seed,
    };
    let outcome = simulate(scenario);
    assert_eq!(outcome.broken, None, "{scenario:?}");
    assert_eq!(outcome.without_go, 0, "{scenario:?}");
    assert!(outcome.after_stop <= outcome.reached && outcome.events > 0);
    assert!(
        outcome.questions < 6.0 && outcome.transactions < 6.0,
        "{outcome:?}"
    );
    outcome
}

#[test]
fn a_package_that_fails_everywhere_reaches_as_many_machines_as_the_plan_says() {
    for seed in 0..20 {
        for (devices, lids) in [(20, false), (60, true), (300, seed % 2 == 0)] {
            for kind in [PackageKind::FailsEverywhere, PackageKind::KillsEverywhere] {
                let outcome = outcome(devices, kind, lids, seed);
                assert!(
                    outcome.reached > 0 && Some(outcome.reached) <= outcome.bound,
                    "{outcome:?}"
                );
                let is_halted = kind == PackageKind::FailsEverywhere;
                assert_eq!(outcome.halts > 0, is_halted, "{outcome:?}");
            }
        }
    }
}

#[test]
fn a_good_package_reaches_each_device_in_a_simulation() {
    let mut questions = 0.0;
    for seed in 0..6 {
        let outcome = outcome(100, PackageKind::Good, seed % 2 == 0, seed);
        questions += outcome.questions;
        assert!(outcome.reaches_all && outcome.halts == 0);
        assert!(
            outcome.wave_hours.iter().all(Option::is_some),
            "{outcome:?}"
        );
        // The last wave opens after the first one, and its last device comes after most of it.
        let last_wave = outcome.wave_hours.last().copied().flatten();
        assert!(outcome.last_hours > last_wave, "{outcome:?}");
    }
    // Few devices are told of the package while others are on the way to the last place.
    assert!(questions < 6.0 * 1.9, "{questions}");
    let large = outcome(1_200, PackageKind::Good, true, 1);
    assert!(large.reaches_all && large.questions < 1.4, "{large:?}");
}

#[test]
fn a_package_that_fails_on_some_keeps_the_promises() {
    for seed in 0..20 {
        outcome(100, PackageKind::FailsOnSome, seed % 2 == 0, seed);
    }
}
