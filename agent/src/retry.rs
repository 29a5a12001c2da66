//! Pauses between retries and between check-ins.

use std::time::Duration;

/// The longest pause between two retries, in milliseconds.
const MAX_WAIT_MS: u64 = 30_000;

/// Returns the pause after the `failed`-th failure in a row, counted from 0.
///
/// The pause is half a second, doubled with each failure up to [`MAX_WAIT_MS`], minus a random part
/// of up to one half.
pub(crate) fn wait(failed: u32, random: u32) -> Duration {
    let full = 500_u64.saturating_mul(1 << failed.min(16)).min(MAX_WAIT_MS);
    let less = full / 2 * u64::from(random) / u64::from(u32::MAX);
    Duration::from_millis(full - less)
}

/// Returns the pause in seconds until the next round, after `failed` rounds in a row in which the
/// function did not answer the agent's question.
///
/// The pause is a minute, doubled with each such round up to an hour.
pub(crate) fn round_pause_s(failed: u32) -> u32 {
    let doubled = 1_u32 << failed.saturating_sub(1).min(6);
    (60 * doubled).min(3_600)
}

/// Returns a period that is up to a tenth longer or shorter, so that the check-ins of many devices
/// spread out.
pub(crate) fn spread(seconds: u32, random: u32) -> Duration {
    let tenth = u64::from(seconds) * 100;
    let added = tenth * 2 * u64::from(random) / u64::from(u32::MAX);
    Duration::from_millis(u64::from(seconds) * 1000 - tenth + added)
}

/// Returns random bits, or 0 if the system has no random source.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let check = |failed, random, ms| assert_eq!(wait(failed, random).as_millis(), ms);
        check(0, 0, 500);
        check(0, u32::MAX, 250);
        check(3, 0, 4000);
        check(40, 0, 30_000);
        check(40, u32::MAX, 15_000);
    }

    #[test]
    fn rounds_without_an_answer_pause_for_up_to_an_hour() {
        let pauses = [1, 2, 3, 6, 7, u32::MAX].map(round_pause_s);
        assert_eq!(pauses, [60, 120, 240, 1_920, 3_600, 3_600]);
    }

    #[test]
    fn check_ins_spread_by_a_tenth() {
        assert_eq!(spread(100, 0), Duration::from_secs(90));
        assert_eq!(spread(100, u32::MAX), Duration::from_secs(110));
        assert_eq!(spread(0, u32::MAX), Duration::ZERO);
    }
}
