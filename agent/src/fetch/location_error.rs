//! What went wrong at a package's locations, and what follows from all of it.

use std::fmt;

use packcast_protocol::signature::SignatureError;
use packcast_protocol::{Location, Sha256Digest};
use reqwest::StatusCode;

use crate::fetch::rate::LOWEST_RATE;
use crate::transport_error::TransportError;

/// How much is told of one location, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Why one location did not give a file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum LocationError {
    /// Object stores say 403 of what is not there, too.
    #[error("{} (status {status})", if *status == 403 { "it is not there, or not public" } else { "it is not there" })]
    Absent { status: u16 },
    #[error("it has more than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("{arrived} of {bytes} bytes with SHA-256 {actual}")]
    Fragment {
        arrived: u64,
        bytes: u64,
        actual: Sha256Digest,
    },
    #[error("its SHA-256 is {actual}, announced was {announced}")]
    Digest {
        actual: Sha256Digest,
        announced: Sha256Digest,
    },
    #[error("the manifest's signature was refused: {0}")]
    Signature(SignatureError),
    #[error("status {status}")]
    Status { status: StatusCode },
    #[error("too slow: {arrived} bytes in {seconds} s, at least {LOWEST_RATE} bytes/s are wanted")]
    TooSlow { arrived: u64, seconds: u64 },
    #[error("{0}")]
    Interrupted(TransportError),
}

/// A file that no location gave: what each of them did instead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NotFetched {
    name: String,
    misses: Vec<(Location, LocationError)>,
}

/// What follows if no location gave a file; the greatest of what follows from each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No location has it.
    Absent,
    /// Where it is, it is not what was published.
    Wrong,
    /// A location may give it later.
    Later,
}

impl LocationError {
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Absent { .. } => Verdict::Absent,
            Self::TooLong { .. }
            | Self::Fragment { .. }
            | Self::Digest { .. }
            | Self::Signature(_) => Verdict::Wrong,
            Self::Status { .. } | Self::TooSlow { .. } | Self::Interrupted(_) => Verdict::Later,
        }
    }
}

impl NotFetched {
    pub(crate) const fn new(name: String, misses: Vec<(Location, LocationError)>) -> Self {
        Self { name, misses }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let each = self.misses.iter().map(|(_, miss)| miss.verdict());
        each.max().unwrap_or(Verdict::Absent)
    }
}

impl std::error::Error for NotFetched {}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.verdict() {
            _ if self.errors.is_empty() => {
                return write!(f, "{name} cannot be had: the package has no location");
            }
            Verdict::Absent => write!(
                f,
                "{name} cannot be had, publish and activate the package again: "
            ),
            Verdict::Wrong => write!(f, "{name} is not what was published: "),
            Verdict::Later => write!(f, "{name} cannot be had now: "),
        }?;
        for (n, (location, miss)) in self.misses.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let reason: String = miss.to_string().chars().take(MAX_REASON_CHARS).collect();
            write!(f, "{separator}{location}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: LocationError = LocationError::Absent { status: 404 };

    const WRONG: LocationError = LocationError::TooLong { limit: 9 };
    const UNAVAILABLE: LocationError = LocationError::Status {
        status: StatusCode::SERVICE_UNAVAILABLE,
    };

    fn not_fetched(misses: &[LocationError]) -> NotFetched {
        let misses = misses.iter().enumerate().map(|(n, miss)| {
            let location = format!("cdn{n}.example.net/p").parse().unwrap();
            (location, miss.clone())
        });
        NotFetched::new("1795000000-2".to_owned(), misses.collect())
    }

    #[test]
    fn what_may_pass_outweighs_what_will_not() {
        let check = |misses: &[LocationError], expected| {
            assert_eq!(not_fetched(misses).verdict(), expected, "{misses:?}");
        };
        check(&[], Verdict::Absent);
        check(&[ABSENT, ABSENT], Verdict::Absent);
        check(&[WRONG, ABSENT], Verdict::Wrong);
        check(&[ABSENT, WRONG], Verdict::Wrong);
        check(&[UNAVAILABLE, WRONG, ABSENT], Verdict::Later);
    }

    #[test]
    fn each_location_is_named_with_its_reason() {
        let check = |misses: &[LocationError], expected: &str| {
            assert_eq!(not_fetched(misses).to_string(), expected);
        };
        check(
            &[],
            "1795000000-2 cannot be had: the package has no location",
        );
        check(
            &[ABSENT],
            "1795000000-2 cannot be had, publish and activate the package again: \
             cdn0.example.net/p: it is not there (status 404)",
        );
        check(
            &[WRONG, ABSENT],
            "1795000000-2 is not what was published: cdn0.example.net/p: it has more than 9 bytes; \
             cdn1.example.net/p: it is not there (status 404)",
        );
        check(
            &[ABSENT, UNAVAILABLE],
            "1795000000-2 cannot be had now: cdn0.example.net/p: it is not there (status 404); \
             cdn1.example.net/p: status 503 Service Unavailable",
        );
    }

    #[test]
    fn no_location_takes_up_the_whole_report() {
        let long = LocationError::Interrupted(TransportError::Other("x".repeat(5000)));
        let told = not_fetched(&[long, ABSENT]).to_string();
        assert!(
            told.len() < 400 && told.contains("cdn1.example.net"),
            "{told}"
        );
    }
}
