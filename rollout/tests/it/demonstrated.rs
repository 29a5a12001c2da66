//! A share of the demonstration that `just demo-halt` prints.

use std::ops::Range;

use packcast_rollout::rollout::GateStatus;

use crate::demo::{DEFAULT_SEED, Demo, PACKAGES, demo};
use crate::simulation::PackageKind;

/// A few seeds. With one seed of about fifty, bad luck halts the package that fails on 1 %.
const SEEDS: Range<u64> = 2..6;

fn demos(kind: PackageKind) -> impl Iterator<Item = Demo> {
    let mut packages = PACKAGES.iter();
    let (title, _) = packages
        .find(|(_, it)| *it == kind)
        .expect("the package is demonstrated");
    SEEDS.map(move |seed| demo(title, kind, seed))
}

#[test]
fn a_package_that_kills_every_machine_is_shown_to_stop_at_the_third() {
    for demo in demos(PackageKind::KillsEverywhere) {
        assert_eq!(demo.outcome.reached, 3, "{}", demo.text);
    }
    let (title, kind) = PACKAGES[0];
    insta::assert_snapshot!(demo(title, kind, DEFAULT_SEED).text, @"
    === a package that kills every machine: 1000 devices, seed 4 ===

    WAVE  DEVICES  OPENS         REACHED  AT ONCE  BEHIND
    1     10       0d 00:00      10       10       1
    2     94       1d 00:00      104      53       5
    3     386      4d 00:00      490      53       20
    4     510      5d 00:00      1000     53       26

    A package that fails everywhere, or after which no machine is heard from again,
    begins on at most 3 machines, and on 3 more for each resume or promotion.
    The rollout halts after 3 failures plus 5 % of the healthy devices.
    REACHED is the limit of the signed calendar: before the next wave opens, not
    even the owner of the cloud account can reach more.
    AT ONCE is the maximum number of devices that have begun and are not healthy;
    BEHIND is this number when the next wave opens.
    A device is healthy if it checks in 30 minutes after its success (2 hours in the
    first wave). The next wave opens 24 hours after a wave at the earliest.
    After 'pause', 'end' or 'unassign' has returned, or failures have halted the
    rollout, no Packcast agent is permitted to begin. After a halt, a permission of
    the last 60 s still holds. An OCS agent begins with each package that it was
    told of before.
    Not promised: harm that shows after the device is healthy, machines that share
    an identity, a thief of the cloud account within the signed calendar, and
    devices that get the package without the rollout.

    AFTER      EVENT                                           BEGUN HEALTHY FAILED
    0d 00:00   wave 1 opens: 10 devices                            0       0      0
    0d 00:18   program 1 begins on web624                          1       0      0
    0d 00:23   program 2 begins on web210                          2       0      0
    0d 00:23   web210 is never heard from again                    2       0      0
    0d 00:24   full: 3 places are taken, other devices wait        2       0      0
    0d 00:24   program 3 begins on web850                          3       0      0
    0d 00:25   web624 is never heard from again                    3       0      0
    0d 00:31   web850 is never heard from again                    3       0      0
    7d 22:59   still FULL: 0 failed, 3 not heard from              3       0      0

    RESULT                                            FOUND  BOUND
    machines on which the program has begun               3      3  ok
    at once in wave 1: begun and not healthy              3     10  ok
    at once in wave 2: begun and not healthy              0     53  ok
    at once in wave 3: begun and not healthy              0     53  ok
    at once in wave 4: begun and not healthy              0     53  ok
    programs that began without a valid permission        0      0  ok
    programs begun by permissions from before a halt      0     53  ok
    rollouts that neither halted nor became full          0      0  ok
    ");
}

#[test]
fn a_package_that_fails_on_few_machines_is_shown_to_reach_all() {
    for kind in [PackageKind::FailsOn(1), PackageKind::Good] {
        for demo in demos(kind) {
            assert_eq!(demo.outcome.status, GateStatus::Complete, "{}", demo.text);
            assert!(demo.outcome.reaches_all, "{}", demo.text);
        }
    }
}

#[test]
fn a_package_that_fails_on_many_machines_is_halted_in_a_demonstration() {
    let halts = demos(PackageKind::FailsOn(5)).map(|demo| demo.outcome.halts);
    assert!(halts.sum::<u32>() > 0);
}

#[test]
fn demonstrations_keep_each_bound_and_fit_a_terminal() {
    for (title, kind) in PACKAGES {
        for seed in SEEDS {
            let demo = demo(title, kind, seed);
            assert!(demo.is_kept, "{}", demo.text);
            let fits = |line: &str| line.chars().count() <= 80;
            assert!(demo.text.lines().all(fits), "{}", demo.text);
        }
    }
}
