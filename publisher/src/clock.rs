//! The one place that asks what time it is.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// Returns the time now.
pub fn now() -> UnixTime {
    SystemTime::now().into()
}
