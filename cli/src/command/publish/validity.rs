//! The value of `--expires-in`.

use std::str::FromStr;

use jiff::{Span, SpanRelativeTo};

const HOUR_S: u64 = 3600;
const MOST_S: u64 = 10 * 365 * 24 * HOUR_S;

/// The time in which a package can be deployed, in seconds: one hour to ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValidityS(u64);

/// Error for a text that is not a time within the limits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time from 1h to 3650d, such as 90d or 12h")]
pub(super) struct ValidityError;

impl ValidityS {
    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ValidityS {
    type Err = ValidityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = || {
            let span: Span = text.parse().ok()?;
            let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            u64::try_from(time.as_secs()).ok()
        };
        seconds()
            .filter(|seconds| (HOUR_S..=MOST_S).contains(seconds))
            .map(Self)
            .ok_or(ValidityError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_is_a_time_from_an_hour_to_ten_years() {
        let seconds = |text: &str| text.parse().map(ValidityS::get);
        assert_eq!(seconds("1h"), Ok(3600));
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("2w"), Ok(14 * 86_400));
        assert_eq!(seconds("3650d"), Ok(3650 * 86_400));
        for bad in ["", "30", "59m", "3651d", "-90d", "never"] {
            assert_eq!(seconds(bad), Err(ValidityError), "{bad:?}");
        }
        insta::assert_snapshot!(ValidityError, @"expected a time from 1h to 3650d, such as 90d or 12h");
    }
}
