//! The scheduler of an OCS agent (protocol reference §2.5).
//!
//! The scheduler works in periods of numbered cycles. In a cycle whose number is a multiple of a
//! package's priority, the package gets one turn, and the scheduler pauses. A package needs one
//! turn for each fragment, and one turn for its deployment. As long as there is a package of
//! priority 0, only packages of priority 0 get turns, each of them one in every cycle, and there is
//! no pause between cycles.

use packcast_protocol::Priority;
use packcast_protocol::ocs::reply::PeriodLength;

/// Number of cycles by which a period may exceed its minimum.
///
/// The slack is greater than any priority, so that the range contains a multiple of each
/// priority. A period must be short, because only at its end does a device begin newly announced
/// packages, and obey new pacing or a device command.
const SLACK: u32 = 20;

/// The longest minimum that leaves room for [`SLACK`]: agents store the length in 31 bits.
const LONGEST: u32 = i32::MAX.unsigned_abs() - SLACK;

/// An announced package: its priority and its number of fragments.
pub type Announced = (Priority, u32);

/// Cost of a schedule: the maximum number of pauses of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses {
    pub(super) fragments: u64,
    pub(super) cycles: u64,
    pub(super) periods: u64,
}

/// Returns the number of cycles in a period.
///
/// A period has at least 10 cycles, because 10 is the lowest priority, and a package whose
/// priority number exceeds the length never gets a turn. A period also has at least twice as many cycles
/// as the packages of priority 0 need turns: such a package starves all others for ever if it is
/// not deployed within its period (protocol reference §0 rule 14), and the factor of two allows
/// some of its fragments to fail. Of the lengths up to [`SLACK`] above this minimum, the result is
/// the length that wastes the smallest share of cycles: in ten cycles a package of priority 7 gets one turn,
/// in fourteen cycles it gets two.
pub(super) fn period_length(announced: &[Announced]) -> PeriodLength {
    let urgent = announced
        .iter()
        .filter(|(priority, _)| *priority == Priority::HIGHEST)
        .map(|(_, fragments)| turns(*fragments))
        .fold(0, u64::saturating_add);
    let least = u32::try_from(urgent.saturating_mul(2)).unwrap_or(LONGEST);
    let least = least.clamp(PeriodLength::MIN.get(), LONGEST);
    let best = (least..=least + SLACK).min_by_key(|cycles| waste(*cycles, announced));
    best.and_then(|cycles| PeriodLength::try_from(cycles).ok())
        .unwrap_or(PeriodLength::MIN)
}

/// Returns the share of cycles, in millionths, that remain after the last turn of a package, for
/// the package that loses most.
fn waste(cycles: u32, announced: &[Announced]) -> u64 {
    let cycles = u64::from(cycles);
    announced
        .iter()
        .filter_map(|(priority, _)| cycles.checked_rem(u64::from(priority.get())))
        .map(|idle| idle * 1_000_000 / cycles)
        .max()
        .unwrap_or_default()
}

/// Counts the pauses until all packages are deployed, if no fragment fails.
pub(super) fn pauses(announced: &[Announced]) -> Pauses {
    let length = u64::from(period_length(announced).get());
    let of_rank = |is_urgent: bool| {
        announced
            .iter()
            .filter(move |(priority, _)| (*priority == Priority::HIGHEST) == is_urgent)
            .map(|(priority, fragments)| (u64::from(priority.get()), turns(*fragments)))
    };
    // A deployed package of priority 0 keeps its turn, and does nothing in it, until all packages
    // of priority 0 are deployed.
    let urgent_cycles = of_rank(true).map(|(_, turns)| turns).max().unwrap_or(0);
    let urgent_turns = urgent_cycles.saturating_mul(of_rank(true).count() as u64);
    let mut pauses = Pauses {
        fragments: urgent_turns,
        ..Pauses::default()
    };
    for (priority, turns) in of_rank(false) {
        let (periods, cycles) = last_turn(priority, turns, urgent_cycles, length);
        pauses.fragments = pauses.fragments.saturating_add(turns);
        pauses.cycles = pauses.cycles.max(cycles - urgent_cycles);
        pauses.periods = pauses.periods.max(periods);
    }
    pauses
}

/// Returns the period of a package's last turn, counted from 0, and its cycle, counted from 1
/// over all periods.
///
/// The first `urgent` cycles belong to packages of priority 0.
const fn last_turn(priority: u64, turns: u64, urgent: u64, length: u64) -> (u64, u64) {
    let missed = urgent / priority;
    let in_a_period = length / priority;
    let turn = missed + turns - 1;
    let period = turn / in_a_period;
    (
        period,
        period * length + (turn % in_a_period + 1) * priority,
    )
}

fn turns(fragments: u32) -> u64 {
    u64::from(fragments) + 1
}
