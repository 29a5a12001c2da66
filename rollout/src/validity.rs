//! Validity of signed assignments: revisions, and the times of issue and expiry.

use packcast_protocol::UnixTime;
use packcast_protocol::manifest::DEFAULT_VALIDITY_S;
use serde::{Deserialize, Serialize};

const DAY_S: u64 = 24 * 3600;

/// How long assignments are good for, in seconds: as long as manifests.
pub const VALIDITY_S: u64 = DEFAULT_VALIDITY_S;

/// Assignments that are good for less than this are signed again, in seconds: so a monthly
/// round leaves none that end within 60 days.
pub const RENEWED_BEFORE_S: u64 = 90 * DAY_S;

/// Assignments that are good for less than this are warned of, in seconds.
pub const WARNED_BEFORE_S: u64 = 30 * DAY_S;

/// Tells whether assignments are to be signed again.
pub fn is_due(expires: UnixTime, now: UnixTime) -> bool {
    expires.since(now) < RENEWED_BEFORE_S
}

/// Returns the revision that a change leads to, after `before` (0 if there was none).
///
/// It is at least the time in seconds: when a table is restored to an earlier day, what changes
/// then is later than all that devices have heard of the days that are lost.
pub fn next_revision(before: u64, now: UnixTime) -> u64 {
    before.saturating_add(1).max(now.0)
}

/// From when and until when assignments are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl Validity {
    /// Returns the term of what is signed now.
    pub fn from(now: UnixTime) -> Self {
        Self {
            issued: now,
            expires: now.plus(VALIDITY_S),
        }
    }

    /// Returns the term of a change: whatever the clock says, it is not issued before what it
    /// changes.
    pub fn following(issued: Option<UnixTime>, now: UnixTime) -> Self {
        Self {
            issued: issued.map_or(now, |issued| now.max(issued)),
            ..Self::from(now)
        }
    }

    /// Returns the term of what follows a state that the publisher has not signed, given what he
    /// knows to be signed: it is later than both.
    ///
    /// A time on record that lies more than a day ahead may have been put there, so that nothing
    /// would ever be later.
    pub fn following_unsigned(
        recorded: Option<UnixTime>,
        known: Option<UnixTime>,
        now: UnixTime,
    ) -> Self {
        let recorded = recorded.filter(|issued| *issued <= now.plus(DAY_S));
        let latest = recorded.max(known);
        latest.map_or_else(|| Self::from(now), |issued| Self::renewing(issued, now))
    }

    /// Returns the term of a renewal: whatever the clock says, it is issued later than before.
    pub fn renewing(issued: UnixTime, now: UnixTime) -> Self {
        Self {
            issued: now.max(issued.plus(1)),
            ..Self::from(now)
        }
    }
}

/// A signature over a group's state, with what the signed document says beside the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSignature {
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// In minisign format.
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_time_far_ahead_that_nobody_has_signed_is_not_followed() {
        let check = |recorded: u64, known: Option<u64>, issued: u64| {
            let known = known.map(UnixTime);
            let term = Validity::following_unsigned(Some(UnixTime(recorded)), known, NOW);
            let expected = (UnixTime(issued), NOW.plus(VALIDITY_S));
            assert_eq!((term.issued, term.expires), expected);
        };
        check(NOW.0 - 9, None, NOW.0);
        check(NOW.0 + 3600, None, NOW.0 + 3601);
        check(NOW.0 + DAY_S + 1, None, NOW.0);
        check(u64::MAX, None, NOW.0);
        // What the publisher knows counts, wherever its clock was.
        check(0, Some(NOW.0 + 2 * DAY_S), NOW.0 + 2 * DAY_S + 1);
    }
}
