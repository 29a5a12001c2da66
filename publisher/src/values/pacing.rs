//! Settings of the pacing as an administrator types them, such as `2s`.

use packcast_rollout::pacing::{CheckInHours, PauseS, TimeoutDays, UpTo};

use super::duration::{self, DAY_S, DurationError, HOUR_S};

/// Reads a pause in whole seconds.
pub fn seconds(text: &str) -> Result<PauseS, DurationError> {
    whole(text, 1)
}

/// Reads a time between check-ins, in whole hours.
pub fn hours(text: &str) -> Result<CheckInHours, DurationError> {
    whole(text, HOUR_S)
}

/// Reads a number of days, at most ten years.
pub fn days(text: &str) -> Result<TimeoutDays, DurationError> {
    whole(text, DAY_S)
}

/// Reads a duration as a number of units.
fn whole<const MOST: u16>(text: &str, unit_s: u64) -> Result<UpTo<MOST>, DurationError> {
    let count = duration::count(text, unit_s, MOST)?;
    UpTo::new(count).ok_or(DurationError::Form)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn limits_are_those_of_the_wire_form() {
        assert_eq!(seconds("1m 30s").map(UpTo::get), Ok(90));
        assert_eq!(hours("1d").map(UpTo::get), Ok(24));
        assert_eq!(days("30d").map(UpTo::get), Ok(30));
        let errors = [
            seconds("2h").unwrap_err(),
            hours("90m").unwrap_err(),
            days("0d").unwrap_err(),
        ];
        assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        expected a time from 1s to 1h, in whole seconds
        expected a time from 1h to 168h, in whole hours
        expected a time from 1d to 3650d, in whole days
        ");
    }
}
