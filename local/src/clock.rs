//! The one place that asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packcast_protocol::UnixTime;

/// Returns the time now; a clock before 1970 reads as 1970.
pub(crate) fn now() -> UnixTime {
    UnixTime(since_epoch().as_secs())
}

/// Returns the milliseconds since 1970-01-01T00:00:00Z.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
