//! A clock of the device that differs from the function's clock.

use std::fmt;

use packcast_protocol::UnixTime;

/// The times of both clocks at one moment.
///
/// The function's clock can only make the device wait. The device begins nothing because of that
/// clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockSkew {
    pub(crate) function: UnixTime,
    /// Time of the device's clock.
    pub(crate) clock: UnixTime,
}

impl ClockSkew {
    /// Returns the function's time for a time of the device's clock.
    pub(crate) fn correct(self, clock: UnixTime) -> UnixTime {
        let ahead = self.clock.since(self.function);
        UnixTime(clock.0.saturating_sub(ahead)).plus(self.function.since(self.clock))
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [clock, function] = [self.clock, self.function].map(UnixTime::day);
        if clock == function {
            let seconds = self.clock.0.abs_diff(self.function.0);
            write!(
                f,
                "this device's clock differs by {seconds} s from the server's"
            )
        } else {
            write!(
                f,
                "this device's clock shows {clock}, the server's {function}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_clock_is_corrected_in_both_directions() {
        let check = |clock, function, of: u64, expected: u64| {
            let (clock, function) = (UnixTime(clock), UnixTime(function));
            let skew = ClockSkew { function, clock };
            assert_eq!(skew.correct(UnixTime(of)), UnixTime(expected));
        };
        check(1_000, 400, 1_010, 410);
        check(400, 1_000, 410, 1_010);
        check(1_000, 400, 100, 0);
        check(0, u64::MAX, 1, u64::MAX);
    }

    #[test]
    fn both_times_are_named() {
        let skew = |clock| ClockSkew {
            function: NOW,
            clock,
        };
        let lines = [skew(NOW.plus(300 * 86_400)), skew(NOW.plus(600))];
        insta::assert_snapshot!(lines.map(|skew| skew.to_string()).join("\n"), @"
        this device's clock shows 2027-09-14, the server's 2026-11-18
        this device's clock differs by 600 s from the server's
        ");
    }
}
