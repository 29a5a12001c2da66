//! The time of a signature after the function refused another one because of the clock.

use packcast_protocol::UnixTime;
use packcast_protocol::http_signature::MAX_SKEW_S;

/// Largest lead of the function's clock over the device's clock, in seconds: 90 days.
///
/// A clock that is further behind cannot verify most TLS certificates either.
const MAX_AHEAD_S: u64 = 90 * 24 * 3600;

/// Returns the function's time if the agent may sign for it.
///
/// A signature admits a request within minutes of its time. A hostile server that could name any
/// time would collect requests for later years, when it may have lost the connection. So the time
/// is bounded by the device's clock, and by `known`: a time in the past that the agent knows from
/// its build and its documents, for a device whose clock begins in 1970.
pub(super) fn signing_time(
    function: UnixTime,
    clock: UnixTime,
    known: UnixTime,
) -> Option<UnixTime> {
    // Another machine's clock has set the time of a document.
    let earliest = UnixTime(known.0.saturating_sub(MAX_SKEW_S));
    let latest = clock.max(known).plus(MAX_AHEAD_S);
    (earliest..=latest).contains(&function).then_some(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: u64 = 1_795_000_000;
    const DAY: u64 = 24 * 3600;

    /// Returns whether the agent signs for a time of the function.
    fn signs(function: u64, clock: u64) -> bool {
        let function = UnixTime(function);
        let signed = signing_time(function, UnixTime(clock), UnixTime(KNOWN));
        assert!(signed.is_none_or(|time| time == function));
        signed.is_some()
    }

    #[test]
    fn a_clock_that_is_slow_or_fast_is_corrected() {
        let clock = KNOWN + 100 * DAY;
        for function in [clock - 100 * DAY, clock - 1, clock + 1, clock + 90 * DAY] {
            assert!(signs(function, clock), "{function}");
        }
        // A clock that is years ahead.
        assert!(signs(KNOWN + DAY, KNOWN + 10_000 * DAY));
    }

    #[test]
    fn a_clock_of_1970_is_corrected_from_the_known_time() {
        for function in [KNOWN, KNOWN + 90 * DAY] {
            assert!(signs(function, 0), "{function}");
        }
        assert!(!signs(KNOWN + 91 * DAY, 0));
    }

    #[test]
    fn no_request_is_signed_for_a_distant_future_or_a_known_past() {
        let clock = KNOWN + 100 * DAY;
        for function in [clock + 91 * DAY, u64::MAX, KNOWN - 301, 0] {
            assert!(!signs(function, clock), "{function}");
        }
    }

    #[test]
    fn times_at_the_end_of_the_range_do_not_overflow() {
        let end = UnixTime(u64::MAX);
        assert_eq!(signing_time(end, end, end), Some(end));
        assert_eq!(
            signing_time(UnixTime(0), end, UnixTime(0)),
            Some(UnixTime(0))
        );
    }
}
