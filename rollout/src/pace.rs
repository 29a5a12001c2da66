//! How fast a stock agent works through what it is told.
//!
//! Stock agents run periods of cycles; in each they serve a package once per `priority`
//! cycles, one fragment at a time (protocol reference §2.5). The numbers here keep them fast
//! and away from their traps.

use packcast_protocol::Priority;

/// The least number of cycles in a period, OCS's own default.
const LEAST_PERIOD: u32 = 10;

/// Returns how many cycles a period needs for the announced packages, given as priority and
/// number of fragments.
///
/// At least 10; at least the highest priority, or that package is never served; and twice
/// what the packages of priority 0 need, as one that does not finish within its period
/// starves all others for ever (protocol reference §0 rule 14).
pub fn period_length(announced: impl IntoIterator<Item = (Priority, u32)>) -> u32 {
    let mut highest = 0;
    let mut urgent = 0_u32;
    for (priority, fragments) in announced {
        highest = highest.max(u32::from(priority.get()));
        if priority == Priority::HIGHEST {
            urgent = urgent.saturating_add(fragments).saturating_add(1);
        }
    }
    LEAST_PERIOD.max(highest).max(urgent.saturating_mul(2))
}

/// The pauses that stock agents are told to make, in seconds: after each fragment, and after
/// each cycle. The least that is safe: with none, one missing fragment makes an agent ask
/// hundreds of times a second (protocol reference §0 rule 16).
pub const FRAGMENT_PAUSE_S: u16 = 1;
pub const CYCLE_PAUSE_S: u16 = 1;

/// Estimates how long a stock agent alone with a package pauses until it is deployed, in seconds.
pub fn estimated_s(priority: Priority, fragments: u32) -> u64 {
    let turn = u64::from(priority.get()) * u64::from(CYCLE_PAUSE_S) + u64::from(FRAGMENT_PAUSE_S);
    (u64::from(fragments) + 1) * turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_package_takes_seconds() {
        let check = |priority, fragments, seconds| {
            assert_eq!(
                estimated_s(Priority::try_from(priority).unwrap(), fragments),
                seconds
            );
        };
        check(5, 1, 12);
        check(5, 20, 126);
        check(0, 0, 1);
    }

    #[test]
    fn a_period_has_room_for_all_that_is_urgent() {
        let check = |announced: &[(u8, u32)], expected| {
            let announced = announced
                .iter()
                .map(|(p, n)| (Priority::try_from(*p).unwrap(), *n));
            assert_eq!(period_length(announced), expected);
        };
        check(&[], 10);
        check(&[(10, 500), (5, 20)], 10);
        check(&[(0, 4)], 10);
        check(&[(0, 5)], 12);
        check(&[(0, 30), (0, 9), (10, 1)], 82);
    }
}
