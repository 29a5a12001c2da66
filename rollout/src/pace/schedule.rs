//! How a stock agent's scheduler goes through what it is told (protocol reference §2.5).
//!
//! It works in periods of numbered cycles. In a cycle whose number is a multiple of a package's
//! priority it gives that package one turn, and pauses; a package needs a turn for each
//! fragment, and one to be deployed. As long as one of priority 0 is there, only those have
//! turns, one in each cycle, and nothing is paused for between cycles.

use packcast_protocol::Priority;
use packcast_protocol::ocs::reply::PeriodLength;

/// By how many cycles a period may be longer than it must.
///
/// Enough for a multiple of any priority. A device begins what it is told of meanwhile, and
/// heeds another pace or an order, when a period is over: so it is kept short.
const SLACK: u32 = 20;

/// The longest period that has room for it: agents read its length into 31 bits.
const LONGEST: u32 = i32::MAX.unsigned_abs() - SLACK;

/// What an agent is told: each package's priority, and its number of fragments.
pub type Announced = (Priority, u32);

/// What a schedule costs: how often the agent makes each of its pauses at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses {
    pub(super) fragments: u64,
    pub(super) cycles: u64,
    pub(super) periods: u64,
}

/// Returns how many cycles a period has.
///
/// At least 10, which is the last priority: one beyond the period is never served. At least
/// twice the turns of the packages of priority 0, as one that is not deployed within its period
/// starves all others for ever (protocol reference §0 rule 14); twice, so that some of its
/// fragments can fail. Of the lengths that are not much longer, the one that wastes the fewest
/// turns: in ten cycles a package of priority 7 has one turn, in fourteen it has two.
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

/// Returns the share of the cycles, in millionths, after the last turn of the package that
/// loses most.
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
    // A package of priority 0 keeps its turn, doing nothing, until all of them are deployed.
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

/// Returns in which period, from 0, and in which cycle of them all, from 1, a package has its
/// last turn.
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
