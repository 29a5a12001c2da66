//! Every attack on a system of its own, and the powers that an attacker without a key keeps.

use packcast_tests::attacks::attacked_system::AttackedSystem;
use packcast_tests::attacks::forged::ForgedState;
use packcast_tests::attacks::owned::POWERS;
use packcast_tests::attacks::{self as attacks, Attack};
use packcast_tests::every_attack;

use crate::PROGRAM;

macro_rules! tests {
    ($($owned:ident $name:ident $answer:literal,)+) => {
        $(
            #[test]
            fn $name() {
                let attack = Attack {
                    name: stringify!($name),
                    answer: $answer,
                    act: attacks::$owned::$name,
                };
                attack.expect_refused(PROGRAM);
            }
        )+
    };
}

every_attack!(tests);

/// The attacks on the state change one point each, so without the change the package must run.
#[test]
fn a_state_that_the_publisher_has_signed_is_followed() {
    let system = AttackedSystem::new(PROGRAM);
    let package = system.package("tool", &[]);
    let state = ForgedState::assigning(&system, &package).signed_by(&system.key());
    assert_eq!(system.attempt_with(&package, &state).ran, 1);
}

#[test]
fn an_attacker_without_a_key_has_only_the_known_powers() {
    for power in POWERS {
        let done = (power.act)(&AttackedSystem::new(PROGRAM));
        assert_eq!(done, power.remains, "{}", power.name);
    }
}
