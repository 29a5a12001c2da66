//! The time of the tests.

use packcast_protocol::UnixTime;

/// When everything happens, unless a test says otherwise.
pub const NOW: UnixTime = UnixTime(1_795_000_000);
