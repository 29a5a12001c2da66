//! The only place of this crate that reads the clock.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// Returns the current time.
pub fn now() -> UnixTime {
    SystemTime::now().into()
}
