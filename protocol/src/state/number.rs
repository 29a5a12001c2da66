//! Limits of the numbers in a state: of commits, key lists, entries and revisions.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::time::UnixTime;

/// Largest number of a commit and serial number of a key list: 2^40.
///
/// Every JSON reader keeps such numbers exactly. As a time in seconds the limit is far in the
/// future.
pub const MAX_NUMBER: u64 = 1 << 40;

/// Largest distance of a commit's number from its time, in seconds: one day.
///
/// The limit keeps a thief of a key from using up the numbers.
pub const MAX_NUMBER_AHEAD_S: u64 = 86_400;

/// Returns whether a number is more than a day ahead of the time at which its document was issued.
pub(super) const fn is_ahead(number: u64, issued: UnixTime) -> bool {
    number > issued.0.saturating_add(MAX_NUMBER_AHEAD_S)
}

/// Reads the number of a commit in a document.
pub(super) fn read_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number <= MAX_NUMBER {
        Ok(number)
    } else {
        Err(D::Error::custom(format!(
            "expected a number of at most {MAX_NUMBER}, found {number}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_at_most_a_day_ahead_of_its_document() {
        let issued = UnixTime(1_795_000_000);
        assert!(!is_ahead(0, issued));
        assert!(!is_ahead(issued.0 + MAX_NUMBER_AHEAD_S, issued));
        assert!(is_ahead(issued.0 + MAX_NUMBER_AHEAD_S + 1, issued));
        assert!(!is_ahead(u64::MAX, UnixTime(u64::MAX)));
    }

    #[test]
    fn numbers_above_the_limit_are_not_read() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            read_number(&mut json).map_err(|error| error.to_string())
        };
        assert_eq!(read("1099511627776"), Ok(MAX_NUMBER));
        insta::assert_snapshot!(read("1099511627777").unwrap_err(), @"expected a number of at most 1099511627776, found 1099511627777");
        assert!(read("-1").is_err() && read("1.0").is_err());
    }
}
