//! Every attack on a system of its own, and the powers that an attacker without a key keeps.

use packcast_tests::attacks::attacked_system::AttackedSystem;
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

#[test]
fn an_attacker_without_a_key_has_only_the_known_powers() {
    for power in POWERS {
        let done = (power.act)(&AttackedSystem::new(PROGRAM));
        assert_eq!(done, power.remains, "{}", power.name);
    }
}
