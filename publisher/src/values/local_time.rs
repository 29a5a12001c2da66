//! Times by the clock of a device, as an administrator types them, such as `2026-12-01 22:00`.

use jiff::civil::DateTime;
use packcast_protocol::windows::Schedule;

/// Errors for a text that is not a time by the clock of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalTimeError {
    #[error("expected a date and time such as 2026-12-01 22:00, or a date such as 2026-12-01")]
    Form,
    #[error(
        "expected a time by the clock of each device, such as 2026-12-01 22:00: leave out the time zone"
    )]
    Zone,
    #[error("expected a time in whole minutes, such as 2026-12-01 22:00")]
    Seconds,
}

/// Reads a minute by the clock of a device. A date alone is the midnight before its day.
///
/// Accepts ISO 8601 and RFC 3339 without a time zone, and slashes instead of hyphens, as OCS
/// Inventory writes dates.
pub fn parse(text: &str) -> Result<Schedule, LocalTimeError> {
    let text = text.trim().replace('/', "-");
    let has_zone = || {
        let (_, time) = text.split_once([' ', 'T', 't'])?;
        time.contains(['Z', 'z', '+', '-', '[']).then_some(())
    };
    if has_zone().is_some() {
        return Err(LocalTimeError::Zone);
    }
    let time: DateTime = text.parse().map_err(|_| LocalTimeError::Form)?;
    if time.second() != 0 || time.subsec_nanosecond() != 0 {
        return Err(LocalTimeError::Seconds);
    }
    let form = time.strftime("%Y/%m/%d %H:%M").to_string();
    form.parse().map_err(|_| LocalTimeError::Form)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn iso_dates_and_times_are_read() {
        for (text, expected) in [
            ("2026-12-01 22:00", "2026/12/01 22:00"),
            ("2026-12-01T22:00", "2026/12/01 22:00"),
            ("2026-12-01t22:00:00", "2026/12/01 22:00"),
            ("20261201T2200", "2026/12/01 22:00"),
            ("2026/12/01 22:00", "2026/12/01 22:00"),
            ("2026-12-01", "2026/12/01 00:00"),
            (" 2026-12-01 22:00 ", "2026/12/01 22:00"),
        ] {
            let schedule = parse(text).map(|at| at.to_string());
            assert_eq!(schedule.as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for bad in [
            "",
            "now",
            "tomorrow",
            "2026-02-30 10:00",
            "2026-12-01 24:00",
            "01/12/2026 22:00",
            "-2026-12-01",
        ] {
            assert_eq!(parse(bad), Err(LocalTimeError::Form), "{bad:?}");
        }
        for zone in [
            "2026-12-01T22:00Z",
            "2026-12-01T22:00+01:00",
            "2026-12-01 22:00-0500",
            "2026-12-01T22:00[Europe/Berlin]",
        ] {
            assert_eq!(parse(zone), Err(LocalTimeError::Zone), "{zone:?}");
        }
        assert_eq!(parse("2026-12-01 22:00:30"), Err(LocalTimeError::Seconds));
        let errors = [
            LocalTimeError::Form,
            LocalTimeError::Zone,
            LocalTimeError::Seconds,
        ];
        assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        expected a date and time such as 2026-12-01 22:00, or a date such as 2026-12-01
        expected a time by the clock of each device, such as 2026-12-01 22:00: leave out the time zone
        expected a time in whole minutes, such as 2026-12-01 22:00
        ");
    }
}
