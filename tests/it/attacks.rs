//! Every attack on a system of its own, and what remains to an attacker who owns all of it.

use packcast_tests::attacks::owned::POWERS;
use packcast_tests::attacks::attacked_system::AttackedSystem;
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
fn what_remains_to_who_owns_everything_but_a_key() {
    for power in POWERS {
        let done = (power.act)(&AttackedSystem::new(PROGRAM));
        assert_eq!(done, power.remains, "{}", power.name);
    }
}
