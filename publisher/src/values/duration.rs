//! Durations as an administrator types them, such as `30 min`.

use jiff::{Span, SpanRelativeTo};

pub const MINUTE_S: u64 = 60;
pub const HOUR_S: u64 = 60 * MINUTE_S;
pub const DAY_S: u64 = 24 * HOUR_S;

/// Errors for a text that is not a duration within the limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("expected a number with its unit, such as 90s, 30min, 2h or 14d")]
    Form,
    #[error("expected a time from {least} to {most}, in whole {unit}s")]
    Outside {
        least: String,
        most: String,
        unit: &'static str,
    },
}

/// The durations that an option accepts, in seconds.
#[derive(Clone, Copy, Debug)]
struct Limits {
    least: u64,
    most: u64,
    unit: u64,
}

/// Returns a parser of an option whose value is a number of seconds between two limits.
pub fn seconds(
    least_s: u64,
    most_s: u64,
) -> impl Fn(&str) -> Result<u64, DurationError> + Clone + Send + Sync {
    let limits = Limits {
        least: least_s,
        most: most_s,
        unit: 1,
    };
    move |text| limits.parse(text)
}

/// Returns a parser of an option whose value is a number of whole days between two limits. Its
/// result is in seconds.
pub fn days(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<u64, DurationError> + Clone + Send + Sync {
    let limits = Limits {
        least: least * DAY_S,
        most: most * DAY_S,
        unit: DAY_S,
    };
    move |text| limits.parse(text)
}

/// Reads a duration as a number of units, from 1 to `most`.
pub fn count(text: &str, unit_s: u64, most: u16) -> Result<u16, DurationError> {
    let limits = Limits {
        least: unit_s,
        most: u64::from(most) * unit_s,
        unit: unit_s,
    };
    let count = limits.parse(text)? / unit_s;
    u16::try_from(count).map_err(|_| limits.outside())
}

impl Limits {
    fn parse(self, text: &str) -> Result<u64, DurationError> {
        let seconds = parse(text)?;
        let is_within = (self.least..=self.most).contains(&seconds);
        if is_within && seconds.is_multiple_of(self.unit) {
            Ok(seconds)
        } else {
            Err(self.outside())
        }
    }

    fn outside(self) -> DurationError {
        let unit = match self.unit {
            DAY_S => "day",
            HOUR_S => "hour",
            MINUTE_S => "minute",
            _ => "second",
        };
        DurationError::Outside {
            least: short(self.least, self.unit),
            most: short(self.most, self.unit),
            unit,
        }
    }
}

/// Reads a duration, and returns its whole seconds.
///
/// A number without a unit is refused, except for 0: nobody could tell seconds from days.
fn parse(text: &str) -> Result<u64, DurationError> {
    let text = text.trim().to_ascii_lowercase();
    if text == "0" {
        return Ok(0);
    }
    let seconds = || {
        let span: Span = text.parse().ok()?;
        let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let seconds = u64::try_from(time.as_secs()).ok();
        seconds.filter(|_| time.subsec_nanos() == 0)
    };
    seconds().ok_or(DurationError::Form)
}

/// Writes a limit in the unit of its option, or in the largest whole unit if the option counts
/// seconds, such as `7d`.
fn short(seconds: u64, unit_of_option_s: u64) -> String {
    let units = [(DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")];
    // A limit of 168 hours stays in hours if the option counts hours.
    let fits = |(unit_s, _): &(u64, &str)| {
        *unit_s == unit_of_option_s || (unit_of_option_s == 1 && seconds >= *unit_s)
    };
    let is_whole = |(unit_s, _): &(u64, &str)| seconds.is_multiple_of(*unit_s);
    match units.into_iter().find(|unit| fits(unit) && is_whole(unit)) {
        Some((size, name)) => format!("{}{name}", seconds / size),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn durations_may_be_written_in_several_forms() {
        for (text, expected) in [
            ("2s", 2),
            ("90 seconds", 90),
            ("30 min", 1_800),
            ("30min", 1_800),
            ("1m 30s", 90),
            ("2h", 7_200),
            ("2H", 7_200),
            ("2 hours", 7_200),
            ("PT2H", 7_200),
            ("1h30m", 5_400),
            ("1:30:00", 5_400),
            ("90d", 90 * DAY_S),
            ("2 weeks", 14 * DAY_S),
            ("P14D", 14 * DAY_S),
            (" 1d ", DAY_S),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_form() {
        for bad in ["", "2", "7200", "-2s", "1.5s", "1 month", "soon", "2 h 3"] {
            assert_eq!(parse(bad), Err(DurationError::Form), "{bad:?}");
        }
        assert_snapshot!(DurationError::Form, @"expected a number with its unit, such as 90s, 30min, 2h or 14d");
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(seconds(1, 7 * DAY_S)("2h"), Ok(7_200));
        assert_eq!(days(1, 90)("2 weeks"), Ok(14 * DAY_S));
        assert_eq!(count("1m 30s", 1, 3_600), Ok(90));
        assert_eq!(count("2d", HOUR_S, 168), Ok(48));
        let errors = [
            seconds(1, 7 * DAY_S)("0s").unwrap_err(),
            seconds(0, 65_535)("2d").unwrap_err(),
            days(1, 90)("36h").unwrap_err(),
            days(1, 3_650)("3651d").unwrap_err(),
            count("90m", HOUR_S, 168).unwrap_err(),
            count("2h", 1, 3_600).unwrap_err(),
        ];
        assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        expected a time from 1s to 7d, in whole seconds
        expected a time from 0s to 65535s, in whole seconds
        expected a time from 1d to 90d, in whole days
        expected a time from 1d to 3650d, in whole days
        expected a time from 1h to 168h, in whole hours
        expected a time from 1s to 1h, in whole seconds
        ");
    }
}
