//! Validity of signed assignments: revisions, and the times of issue and expiry.

use packcast_protocol::UnixTime;
use packcast_protocol::manifest::DEFAULT_VALIDITY_S;
use serde::{Deserialize, Serialize};

const DAY_S: u64 = 24 * 3600;

/// Validity of assignments, in seconds: the same as the validity of manifests.
pub const VALIDITY_S: u64 = DEFAULT_VALIDITY_S;

/// Remaining validity below which assignments are signed again, in seconds.
///
/// With this limit, a publisher who signs once a month has no assignments that expire within
/// 60 days.
pub const SIGN_AGAIN_BEFORE_S: u64 = 90 * DAY_S;

/// Remaining validity below which a publisher is warned, in seconds.
pub const WARNED_BEFORE_S: u64 = 30 * DAY_S;

/// Returns true if assignments that expire at this time must be signed again now.
pub fn expires_soon(expires: UnixTime, now: UnixTime) -> bool {
    expires.since(now) < SIGN_AGAIN_BEFORE_S
}

/// Returns the revision of the next change, after revision `before` (0 if there was none).
///
/// The revision is at least the time in seconds. So if a table is restored to an earlier day,
/// changes after the restore have higher revisions than the lost changes, which devices may have
/// received.
pub fn next_revision(before: u64, now: UnixTime) -> u64 {
    before.saturating_add(1).max(now.0)
}

/// Times between which assignments are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl Validity {
    /// Returns the validity of a document that is signed now.
    pub fn from(now: UnixTime) -> Self {
        Self {
            issued: now,
            expires: now.plus(VALIDITY_S),
        }
    }

    /// Returns the validity of a document that replaces a document issued at `issued`.
    ///
    /// The new time of issue is never before the old one, even if the clock is slow.
    pub fn following(issued: Option<UnixTime>, now: UnixTime) -> Self {
        Self {
            issued: issued.map_or(now, |issued| now.max(issued)),
            ..Self::from(now)
        }
    }

    /// Returns the validity of a document that follows a state which the publisher has not signed.
    ///
    /// `known` is the latest time of issue in the publisher's memory. The result is issued later
    /// than the recorded state and later than `known`.
    ///
    /// A recorded time more than a day in the future is ignored: an attacker may have written it to
    /// prevent any later document.
    pub fn following_unsigned(
        recorded: Option<UnixTime>,
        known: Option<UnixTime>,
        now: UnixTime,
    ) -> Self {
        let recorded = recorded.filter(|issued| *issued <= now.plus(DAY_S));
        let latest = recorded.max(known);
        latest.map_or_else(
            || Self::from(now),
            |issued| Self::signing_again(issued, now),
        )
    }

    /// Returns the validity of a document that is signed again without a change.
    ///
    /// The new time of issue is later than the old one, even if the clock is slow.
    pub fn signing_again(issued: UnixTime, now: UnixTime) -> Self {
        Self {
            issued: now.max(issued.plus(1)),
            ..Self::from(now)
        }
    }
}

/// A signature over a group's state, with the validity in the signed document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSignature {
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// The signature in minisign format.
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn an_unsigned_time_far_ahead_is_ignored() {
        let check = |recorded: u64, known: Option<u64>, issued: u64| {
            let known = known.map(UnixTime);
            let validity = Validity::following_unsigned(Some(UnixTime(recorded)), known, NOW);
            let expected = (UnixTime(issued), NOW.plus(VALIDITY_S));
            assert_eq!((validity.issued, validity.expires), expected);
        };
        check(NOW.0 - 9, None, NOW.0);
        check(NOW.0 + 3600, None, NOW.0 + 3601);
        check(NOW.0 + DAY_S + 1, None, NOW.0);
        check(u64::MAX, None, NOW.0);
        // A time in the publisher's memory is never ignored, even if the clock was fast.
        check(0, Some(NOW.0 + 2 * DAY_S), NOW.0 + 2 * DAY_S + 1);
    }
}
