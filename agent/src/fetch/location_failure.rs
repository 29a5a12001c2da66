//! Errors of single locations, and the verdict on a file from the errors of all its locations.

use std::fmt;

use packcast_https::TransportError;
use packcast_protocol::{Location, Sha256Digest};
use reqwest::StatusCode;

use crate::fetch::rate::LOWEST_RATE;

/// The length limit of the reason for one location, in characters.
const MAX_REASON_CHARS: usize = 200;

/// The reason why one location did not send a correct file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum LocationFailure {
    /// Object stores also answer 403 for missing objects.
    #[error("{} (status {status})", if *status == 403 { "not found, or not public" } else { "not found" })]
    Absent { status: u16 },
    #[error("larger than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("wrong content: {arrived} of {bytes} bytes, SHA-256 {actual}")]
    Fragment {
        arrived: u64,
        bytes: u64,
        actual: Sha256Digest,
    },
    #[error("SHA-256 mismatch: expected {announced}, found {actual}")]
    Digest {
        actual: Sha256Digest,
        announced: Sha256Digest,
    },
    #[error("status {status}")]
    Status { status: StatusCode },
    #[error("too slow: {arrived} bytes in {seconds} s, the minimum is {LOWEST_RATE} bytes/s")]
    TooSlow { arrived: u64, seconds: u64 },
    #[error("{0}")]
    Transport(TransportError),
}

/// A file that no location sent correctly, with the reason of each location.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NotFetched {
    name: String,
    errors: Vec<(Location, LocationFailure)>,
}

/// A verdict on a failed fetch. The verdict on a file is the greatest of its locations' verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No location has the file.
    Absent,
    /// A location has content that differs from the published content.
    Wrong,
    /// A location may send the file later.
    Later,
}

impl LocationFailure {
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Absent { .. } => Verdict::Absent,
            Self::TooLong { .. } | Self::Fragment { .. } | Self::Digest { .. } => Verdict::Wrong,
            Self::Status { .. } | Self::TooSlow { .. } | Self::Transport(_) => Verdict::Later,
        }
    }
}

impl NotFetched {
    pub(crate) const fn new(name: String, errors: Vec<(Location, LocationFailure)>) -> Self {
        Self { name, errors }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let each = self.errors.iter().map(|(_, error)| error.verdict());
        each.max().unwrap_or(Verdict::Absent)
    }
}

impl std::error::Error for NotFetched {}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.verdict() {
            _ if self.errors.is_empty() => {
                return write!(f, "cannot fetch {name}: the package has no location");
            }
            Verdict::Absent => write!(
                f,
                "cannot fetch {name}, check the package with 'packcast verify': "
            ),
            Verdict::Wrong => write!(f, "wrong content of {name}: "),
            Verdict::Later => write!(f, "cannot fetch {name} now: "),
        }?;
        for (n, (location, error)) in self.errors.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let reason: String = error.to_string().chars().take(MAX_REASON_CHARS).collect();
            write!(f, "{separator}{location}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: LocationFailure = LocationFailure::Absent { status: 404 };

    const WRONG: LocationFailure = LocationFailure::TooLong { limit: 9 };
    const UNAVAILABLE: LocationFailure = LocationFailure::Status {
        status: StatusCode::SERVICE_UNAVAILABLE,
    };

    fn not_fetched(errors: &[LocationFailure]) -> NotFetched {
        let errors = errors.iter().enumerate().map(|(n, error)| {
            let location = format!("cdn{n}.example.net/p").parse().unwrap();
            (location, error.clone())
        });
        NotFetched::new("1795000000-2".to_owned(), errors.collect())
    }

    #[test]
    fn a_transient_error_outweighs_permanent_ones() {
        let check = |errors: &[LocationFailure], expected| {
            assert_eq!(not_fetched(errors).verdict(), expected, "{errors:?}");
        };
        check(&[], Verdict::Absent);
        check(&[ABSENT, ABSENT], Verdict::Absent);
        check(&[WRONG, ABSENT], Verdict::Wrong);
        check(&[ABSENT, WRONG], Verdict::Wrong);
        check(&[UNAVAILABLE, WRONG, ABSENT], Verdict::Later);
    }

    #[test]
    fn each_location_is_named_with_its_reason() {
        let check = |errors: &[LocationFailure], expected: &str| {
            assert_eq!(not_fetched(errors).to_string(), expected);
        };
        check(
            &[],
            "cannot fetch 1795000000-2: the package has no location",
        );
        check(
            &[ABSENT],
            "cannot fetch 1795000000-2, check the package with 'packcast verify': \
             cdn0.example.net/p: not found (status 404)",
        );
        check(
            &[WRONG, ABSENT],
            "wrong content of 1795000000-2: cdn0.example.net/p: larger than 9 bytes; \
             cdn1.example.net/p: not found (status 404)",
        );
        check(
            &[ABSENT, UNAVAILABLE],
            "cannot fetch 1795000000-2 now: cdn0.example.net/p: not found (status 404); \
             cdn1.example.net/p: status 503 Service Unavailable",
        );
    }

    #[test]
    fn long_reasons_of_a_location_are_shortened() {
        let long = LocationFailure::Transport(TransportError::Other("x".repeat(5000)));
        let text = not_fetched(&[long, ABSENT]).to_string();
        assert!(
            text.len() < 400 && text.contains("cdn1.example.net"),
            "{text}"
        );
    }

    #[test]
    fn messages_name_the_cause() {
        let errors = [
            LocationFailure::Absent { status: 404 },
            LocationFailure::Absent { status: 403 },
            LocationFailure::TooLong { limit: 9 },
            LocationFailure::Fragment {
                arrived: 5,
                bytes: 1024,
                actual: Sha256Digest::of(b"1"),
            },
            LocationFailure::Digest {
                actual: Sha256Digest::of(b"1"),
                announced: Sha256Digest::of(b"2"),
            },
            UNAVAILABLE,
            LocationFailure::TooSlow {
                arrived: 100,
                seconds: 30,
            },
            LocationFailure::Transport(TransportError::Refused),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        not found (status 404)
        not found, or not public (status 403)
        larger than 9 bytes
        wrong content: 5 of 1024 bytes, SHA-256 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
        SHA-256 mismatch: expected d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35, found 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
        status 503 Service Unavailable
        too slow: 100 bytes in 30 s, the minimum is 512 bytes/s
        connection refused
        ");
    }
}
