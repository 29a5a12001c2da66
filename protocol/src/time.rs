//! Points in time, as arguments: this crate never reads a clock.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Returns the time `seconds` later, or the last representable time.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Returns the seconds from `earlier` to this time, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the day in UTC as `2026-11-23`, or the number of seconds if no calendar reaches
    /// the time.
    pub fn day(self) -> String {
        self.in_form("%Y-%m-%d")
    }

    /// Returns the time in UTC as `2026-11-23 09:00:00 UTC`, or the number of seconds if no calendar
    /// reaches the time.
    pub fn utc(self) -> String {
        self.in_form("%Y-%m-%d %H:%M:%S UTC")
    }

    fn in_form(self, form: &str) -> String {
        let seconds = i64::try_from(self.0).ok();
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        time.map_or_else(|| self.to_string(), |time| time.strftime(form).to_string())
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "the caller has read the clock and passes its time"
)]
impl From<std::time::SystemTime> for UnixTime {
    /// Converts a time; a time before 1970 becomes 1970.
    fn from(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |since| since.as_secs()))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_become_1970() {
        use std::time::{Duration, UNIX_EPOCH};
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(
            UnixTime::from(UNIX_EPOCH + at(1_795_000_000)),
            UnixTime(1_795_000_000)
        );
        assert_eq!(UnixTime::from(UNIX_EPOCH - at(1)), UnixTime(0));
    }

    #[test]
    fn days_are_days_in_utc() {
        assert_eq!(UnixTime(0).day(), "1970-01-01");
        assert_eq!(UnixTime(1_795_391_999).day(), "2026-11-22");
        assert_eq!(UnixTime(1_795_392_000).day(), "2026-11-23");
        assert_eq!(UnixTime(u64::MAX).day(), "18446744073709551615");
        assert_eq!(UnixTime(1_795_391_999).utc(), "2026-11-22 23:59:59 UTC");
        assert_eq!(UnixTime(u64::MAX).utc(), "18446744073709551615");
    }
}
