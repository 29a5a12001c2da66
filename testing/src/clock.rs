//! The time of the tests.

use packcast_protocol::UnixTime;

/// Time of all events, unless a test sets another.
pub const NOW: UnixTime = UnixTime(1_795_000_000);
