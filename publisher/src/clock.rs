//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use packcast_protocol::UnixTime;

/// Returns the time now; a clock before 1970 reads as 1970.
pub(crate) fn now() -> UnixTime {
    UnixTime(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    )
}
