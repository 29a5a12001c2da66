//! The only place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use packcast_protocol::UnixTime;

/// Returns the current time.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// Returns the current time in milliseconds since 1970-01-01T00:00:00Z.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
