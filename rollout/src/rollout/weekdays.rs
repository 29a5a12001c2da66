//! The days of the week on which waves open.

use std::fmt;
use std::str::FromStr;

use packcast_protocol::UnixTime;

const DAY_S: i64 = 24 * 3600;

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days of the week on which waves open, at least one, written such as `mon-fri` or `tue,thu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekdays([bool; 7]);

/// Text that names no days of the week.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} names no days: write days such as mon-fri or tue,thu")]
pub struct WeekdaysError {
    given: String,
}

impl Default for Weekdays {
    /// Returns Monday to Friday.
    fn default() -> Self {
        Self([true, true, true, true, true, false, false])
    }
}

impl Weekdays {
    /// Returns a time on one of the days: the time itself, or the same time of day on the next of
    /// these days. `offset_s` is the offset of the local time from UTC, in seconds.
    pub fn on_or_after(self, time: UnixTime, offset_s: i32) -> UnixTime {
        let next_days = (0..7).map(|days| time.plus(days * DAY_S.unsigned_abs()));
        let mut allowed = next_days.filter(|time| self.0[day_of(*time, offset_s)]);
        allowed.next().unwrap_or(time)
    }
}

/// Returns the day of the week at a time, from 0 for Monday.
fn day_of(time: UnixTime, offset_s: i32) -> usize {
    let local = i64::try_from(time.0)
        .unwrap_or(i64::MAX)
        .saturating_add(offset_s.into());
    // 1970 began on a Thursday.
    let day = (local.div_euclid(DAY_S) + 3).rem_euclid(7);
    usize::try_from(day).expect("a remainder of 7 is small")
}

impl FromStr for Weekdays {
    type Err = WeekdaysError;

    fn from_str(text: &str) -> Result<Self, WeekdaysError> {
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let position = |name: &str| NAMES.iter().position(|it| it.eq_ignore_ascii_case(name));
            let (Some(first), Some(last)) = (position(first), position(last)) else {
                let given = text.chars().take(80).collect();
                return Err(WeekdaysError { given });
            };
            // A range can reach over the end of the week, such as `fri-mon`.
            for day in first..=(last + if last < first { 7 } else { 0 }) {
                days[day % 7] = true;
            }
        }
        Ok(Self(days))
    }
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let included = NAMES.iter().zip(self.0).filter(|(_, is_in)| *is_in);
        let names: Vec<&str> = included.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Thursday, 12:26:40 in UTC.
    const THURSDAY: UnixTime = UnixTime(1_794_486_400);

    fn days(text: &str) -> Weekdays {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_names_and_ranges() {
        for (text, shown) in [
            ("mon-fri", "mon,tue,wed,thu,fri"),
            ("Tue,thu", "tue,thu"),
            ("fri-mon", "mon,fri,sat,sun"),
            ("sun", "sun"),
        ] {
            assert_eq!(days(text).to_string(), shown);
            assert_eq!(days(shown), days(text));
        }
        assert_eq!(days("mon-fri"), Weekdays::default());
        for bad in ["", "mon-", "monday", "mon,,tue", "-"] {
            assert!(bad.parse::<Weekdays>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_move_to_the_next_of_the_days() {
        let after = |text: &str, offset_s| {
            let time = days(text).on_or_after(THURSDAY, offset_s);
            time.since(THURSDAY) / DAY_S.unsigned_abs()
        };
        assert_eq!(after("thu", 0), 0);
        assert_eq!(after("wed", 0), 6);
        assert_eq!(after("sat,mon", 0), 2);
        // Twelve hours later it is Friday.
        assert_eq!(after("fri", 12 * 3600), 0);
        assert_eq!(after("wed", -13 * 3600), 0);
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("monday".parse::<Weekdays>().unwrap_err(), @r#""monday" names no days: write days such as mon-fri or tue,thu"#);
    }
}
