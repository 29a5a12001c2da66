//! Times in the time zone of the publisher's machine, with UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use packcast_protocol::UnixTime;

use crate::text::time;

/// The time zone of the publisher's machine.
#[derive(Clone, Debug)]
pub struct LocalClock(TimeZone);

/// Error for a text that is not a time by the clock of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date and time of this machine's time zone, such as 2026-12-01 22:00")]
pub struct LocalClockError;

impl LocalClock {
    /// Returns the time zone of this machine; UTC if it is unknown.
    pub fn of_machine() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// Returns the clock of a time zone that is so many hours east of UTC, such as 2.
    pub fn east_of_utc(hours: i8) -> Self {
        Self(jiff::tz::offset(hours).to_time_zone())
    }

    /// Returns the offset of the local time from UTC at a time, in seconds.
    pub fn offset_s(&self, at: UnixTime) -> i32 {
        timestamp(at).map_or(0, |at| self.0.to_offset(at).seconds())
    }

    /// Reads a time of the time zone, such as `2026-12-01 22:00`. A time that a change of the clock
    /// skips is the one after the change.
    pub fn read(&self, text: &str) -> Result<UnixTime, LocalClockError> {
        let civil: DateTime = text.trim().parse().map_err(|_| LocalClockError)?;
        let zoned = civil.to_zoned_datetime(self.0.clone());
        let seconds = zoned.map_err(|_| LocalClockError)?.timestamp().as_second();
        let seconds = u64::try_from(seconds).map_err(|_| LocalClockError)?;
        Ok(UnixTime(seconds))
    }

    /// Writes a time without UTC, such as `Mon 2026-11-30 09:00 +02`.
    pub fn short(&self, at: UnixTime) -> String {
        let text = self.text(at);
        match text.split_once(" (") {
            Some((local, _)) => local.to_owned(),
            None => text,
        }
    }

    /// Writes a time, such as `Mon 2026-11-30 09:00 +02 (2026-11-30 07:00 UTC)`; without the second
    /// part if the zone is UTC.
    pub fn text(&self, at: UnixTime) -> String {
        let Some(timestamp) = timestamp(at) else {
            return time(at);
        };
        let utc = timestamp.to_zoned_datetime(TimeZone::UTC);
        if self.offset_s(at) == 0 {
            return utc.strftime("%a %Y-%m-%d %H:%M UTC").to_string();
        }
        let local = timestamp.to_zoned_datetime(self.0.clone());
        format!(
            "{} ({})",
            local.strftime("%a %Y-%m-%d %H:%M %Z"),
            utc.strftime("%Y-%m-%d %H:%M UTC")
        )
    }
}

fn timestamp(at: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(at.0).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_000_000;

    fn east() -> LocalClock {
        LocalClock::east_of_utc(2)
    }

    #[test]
    fn local_times_are_read() {
        for text in ["2026-11-18 13:06", " 2026-11-18T13:06:00 "] {
            assert_eq!(east().read(text), Ok(UnixTime(NOON - 40)), "{text}");
        }
        let day = east().read("2026-11-18");
        assert_eq!(day, Ok(UnixTime(NOON - NOON % 86_400 - 7_200)));
        for bad in ["", "soon", "2026-11-18T13:06Z", "1812-01-01 10:00"] {
            assert_eq!(east().read(bad), Err(LocalClockError), "{bad:?}");
        }
        insta::assert_snapshot!(LocalClockError, @"expected a date and time of this machine's time zone, such as 2026-12-01 22:00");
    }

    #[test]
    fn times_are_local_and_in_utc() {
        let zones = [east(), LocalClock(TimeZone::UTC)];
        assert_eq!(
            zones.each_ref().map(|it| it.offset_s(UnixTime(NOON))),
            [7_200, 0]
        );
        let texts = zones.map(|clock| clock.text(UnixTime(NOON)));
        insta::assert_snapshot!(texts.join("\n"), @"
        Wed 2026-11-18 13:06 +02 (2026-11-18 11:06 UTC)
        Wed 2026-11-18 11:06 UTC
        ");
        let short = [east(), LocalClock(TimeZone::UTC)].map(|clock| clock.short(UnixTime(NOON)));
        insta::assert_snapshot!(short.join("\n"), @"
        Wed 2026-11-18 13:06 +02
        Wed 2026-11-18 11:06 UTC
        ");
        insta::assert_snapshot!(east().text(UnixTime(u64::MAX)), @"
        18446744073709551615
        ");
    }
}
