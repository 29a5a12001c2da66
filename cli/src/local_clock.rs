//! Times in the time zone of the publisher's machine, with UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use packcast_protocol::UnixTime;

use crate::output::time;

/// The time zone of the publisher's machine.
#[derive(Clone, Debug)]
pub(crate) struct LocalClock(TimeZone);

impl LocalClock {
    /// Returns the time zone of this machine; UTC if it is unknown.
    pub(crate) fn of_machine() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// Returns the offset of the local time from UTC at a time, in seconds.
    pub(crate) fn offset_s(&self, at: UnixTime) -> i32 {
        timestamp(at).map_or(0, |at| self.0.to_offset(at).seconds())
    }

    /// Writes a time without UTC, such as `Mon 2026-11-30 09:00 +02`.
    pub(crate) fn short(&self, at: UnixTime) -> String {
        let text = self.text(at);
        match text.split_once(" (") {
            Some((local, _)) => local.to_owned(),
            None => text,
        }
    }

    /// Writes a time, such as `Mon 2026-11-30 09:00 +02 (2026-11-30 07:00 UTC)`; without the second
    /// part if the zone is UTC.
    pub(crate) fn text(&self, at: UnixTime) -> String {
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
pub(crate) mod tests {
    use jiff::tz::offset;

    use super::*;
    use crate::fixtures::NOON;

    /// Returns the clock of a machine two hours east of UTC.
    pub(crate) fn east() -> LocalClock {
        LocalClock(offset(2).to_time_zone())
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
